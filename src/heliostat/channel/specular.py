r"""Channels between all elements of two arrays from the specular paths between two points.

A ray tracer is fast if it traces one path between the centers of two arrays instead of one between
each pair of elements. Such a path consists of reflections at planes, so that the paths between all
other pairs of elements have known lengths: the mirror image of the transmitting array at these
planes, in the order in which they are met, radiates to the receiving array along straight lines.
With the distance :math:`d_{nm}` from the image of element :math:`m` to element :math:`n`,

.. math:: H_{nm} = \sum_p \Gamma_p\,\frac{\lambda}{4\pi d_{p,nm}}\,e^{-j2\pi d_{p,nm}/\lambda}.

The phases are exact, the curvature of the wavefront included. Two approximations remain, both small
if the arrays are small compared with the distances: the reflection coefficient :math:`\Gamma_p` is
that of the path between the centers, and every element has the same paths, although the point of
reflection moves with the element and may leave the wall. Phases decrease along the path, as for
the time dependence :math:`e^{+j\omega t}`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float


class Plane(NamedTuple):
    """A reflecting plane."""

    point: Float[np.ndarray, "3"]  # any point of the plane [m]
    normal: Float[np.ndarray, "3"]  # unit normal of either side [1]


class SpecularPath(NamedTuple):
    """A path between two points with any number of reflections at planes."""

    reflection: complex
    r"""Product of the reflection coefficients, :math:`\Gamma`; 1 for the direct path. It includes
    the projection of the polarization, but no free-space loss and no phase of propagation. [1]"""
    planes: Sequence[Plane]  # in the order in which the wave meets them; none for the direct path


def plane_through(corners: Float[np.ndarray, "3 xyz"]) -> Plane:
    """Return the plane of a triangle.

    Args:
        corners: Corners of the triangle, not on one line. [m]
    """
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    return Plane(corners[0], normal / np.linalg.norm(normal))


def mirror_image(
    positions: Float[np.ndarray, "element xyz"], planes: Sequence[Plane]
) -> Float[np.ndarray, "element xyz"]:
    r"""Reflect positions at planes, one after the other: :math:`x - 2n\,n^T(x - p)`.

    Args:
        positions: Positions of the elements of the transmitting array, :math:`x`. [m]
        planes: Planes with points :math:`p` and normals :math:`n`, in the order of the path.
    """
    for point, normal in planes:
        positions = positions - 2 * ((positions - point) @ normal)[:, None] * normal
    return positions


def specular_channel(
    paths: Sequence[SpecularPath],
    sources: Float[np.ndarray, "source xyz"],
    receivers: Float[np.ndarray, "receiver xyz"],
    wavelength: float,
) -> Complex[np.ndarray, "receiver source"]:
    """Channel between isotropic elements, the sum over all paths. [1]

    Args:
        paths: Paths between the centers of both arrays.
        sources: Elements of the transmitting array. [m]
        receivers: Elements of the receiving array. [m]
        wavelength: Wavelength. [m]
    """
    channel = np.zeros((len(receivers), len(sources)), dtype=complex)
    for reflection, planes in paths:
        images = mirror_image(sources, planes)
        distance = np.linalg.norm(receivers[:, None, :] - images[None, :, :], axis=-1)
        phase = np.exp(-2j * np.pi * (distance / wavelength))
        channel += reflection * wavelength / (4 * np.pi * distance) * phase
    return channel
