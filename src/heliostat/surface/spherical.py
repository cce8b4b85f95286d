r"""Response of a passive surface to spherical waves, for users in its near field.

The exact distances of each element :math:`q_i` to the base station b and to the user p are used,
relative to those of the panel's center c. With the wavenumber :math:`\kappa`,

.. math:: s_k = \delta\sum_i e^{j\vartheta_{k,i}}\,
                e^{j\kappa(\|q_i - b\| - \|c - b\|)}\,e^{j\kappa(\|q_i - p\| - \|c - p\|)}.

For distant b and p this is the response in `surface.passive` up to a phase, because phases are
referred to the first element there. The amplitude at the center is used for all elements; the true
amplitudes differ noticeably only within a few panel widths.
"""

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from heliostat.geometry.arrays import PlanarArray
from heliostat.geometry.frames import Scalar, Vector
from heliostat.surface.passive import Configurations, Focused, Phased


def excess_length(offsets: Float[Array, "element xyz"], end: Vector) -> Float[Array, "element"]:
    """Distance of each element from a position minus that of the panel's center. [m]

    Args:
        offsets: Positions of the elements relative to the center. [m]
        end: The position relative to the center. [m]
    """
    # Dividing the difference of squares by the sum of distances avoids cancellation at a distance.
    far = jnp.linalg.norm(end)
    squares = jnp.sum(offsets * (offsets - 2 * end[None, :]), axis=1)
    return squares / (jnp.linalg.norm(offsets - end[None, :], axis=1) + far)


def focused_phases(
    array: PlanarArray, wavelength: Scalar, start: Vector, focused: Focused, center: Vector
) -> Float[Array, "config element"]:
    """Phases of each element for focused configurations, not wrapped. [rad]

    Args:
        array: Array of the panel.
        wavelength: Wavelength. [m]
        start: Position of the base station. [m]
        focused: The configurations.
        center: Position of the panel's center. [m]
    """
    offsets = array.element_offsets(wavelength)
    length = excess_length(offsets, start - center) + excess_length(offsets, focused.focus - center)
    return _steering(array, wavelength, focused) - 2 * jnp.pi / wavelength * length[None, :]


def _steering(
    array: PlanarArray, wavelength: Scalar, focused: Focused
) -> Float[Array, "config element"]:
    """Phases of the offsets from the focus. [rad]"""
    offsets = array.element_offsets(wavelength)
    across, up = offsets @ array.horizontal, offsets @ array.vertical
    steered = focused.offset[:, :1] * across[None, :] + focused.offset[:, 1:] * up[None, :]
    return 2 * jnp.pi / wavelength * steered


def spherical_response(
    array: PlanarArray,
    reflection: Scalar,
    configurations: Configurations,
    wavelength: Scalar,
    start: Vector,
    center: Vector,
    end: Vector,
) -> tuple[Complex[Array, "config"], Complex[Array, "config xyz"]]:
    r"""Response of each configuration, and its derivatives with respect to the user's position.

    The cost is O(N) for each configuration.

    Args:
        array: Array of the panel.
        reflection: Reflection amplitude, :math:`\delta`. [1]
        configurations: Configurations of the surface, focused or given by phases.
        wavelength: Wavelength. [m]
        start: Position of the base station, b. [m]
        center: Position of the panel's center, c. [m]
        end: Position of the user, p. [m]

    Returns:
        :math:`s` [1] and :math:`\partial s/\partial p` [1/m].

    Raises:
        TypeError: The configurations are steered by plane waves.
    """
    wavenumber = 2 * jnp.pi / wavelength
    offsets = array.element_offsets(wavelength)
    excess = excess_length(offsets, end - center)
    # The phase of a focused surface is split into two terms, so that the sum over the elements is a
    # single matrix product for many foci.
    if isinstance(configurations, Focused):
        phase = _steering(array, wavelength, configurations)
        excess = excess - excess_length(offsets, configurations.focus - center)
    elif isinstance(configurations, Phased):
        incident = wavenumber * excess_length(offsets, start - center)
        phase = configurations.phase + incident[None, :]
    else:
        raise TypeError("a surface with spherical waves is focused or set by phases, not steered")
    coefficient = reflection * jnp.exp(1j * phase)
    outgoing = jnp.exp(1j * wavenumber * excess)
    ray = (end - center)[None, :] - offsets
    direction = ray / jnp.linalg.norm(ray, axis=1, keepdims=True)
    mean_direction = (end - center) / jnp.linalg.norm(end - center)
    slope = 1j * wavenumber * (direction - mean_direction[None, :])
    columns = outgoing[:, None] * jnp.concatenate([jnp.ones_like(slope[:, :1]), slope], axis=1)
    both = coefficient @ columns
    return both[:, 0], both[:, 1:]


def separable_response(
    array: PlanarArray,
    reflection: Scalar,
    focused: Focused,
    wavelength: Scalar,
    center: Vector,
    end: Vector,
) -> Complex[Array, "config"]:
    r"""Approximate response of focused configurations, from sums over one row and one column.

    The distances of the elements are expanded to second order in their coordinates x and y on the
    panel, :math:`\|q - p\| - \|c - p\| \approx -xu_h - yu_v + (x^2(1 - u_h^2) + y^2(1 -
    u_v^2))/2d`, without the product xy. The cost is that of one row and one column. A search for
    the user needs no more accuracy; everything else uses `spherical_response`.

    Args:
        array: Array of the panel.
        reflection: Reflection amplitude, :math:`\delta`. [1]
        focused: The configurations.
        wavelength: Wavelength. [m]
        center: Position of the panel's center, c. [m]
        end: Position of the user, p. [m]
    """

    def terms(position: Vector) -> tuple[Float[Array, "side"], Float[Array, "side"]]:
        """Direction cosines, and second derivatives of the distance."""
        distance = jnp.linalg.norm(position - center)
        cosines = array.direction_cosines((position - center) / distance)
        return cosines, (1 - cosines**2) / distance

    (cosine, curvature), (focus, focus_curvature) = terms(end), terms(focused.focus)
    steered, sums = focused.offset + focus[None, :], []
    for side, elements in enumerate((array.columns, array.rows)):
        at = (jnp.arange(elements) - (elements - 1) / 2) * array.spacing[side] * wavelength
        # The factors of the configurations are the same for all positions of the user.
        path = curvature[side] * at**2 / 2 - cosine[side] * at
        bend = focus_curvature[side] * at**2 / 2
        surface = steered[:, side][:, None] * at[None, :] - bend[None, :]
        wave, surface = (jnp.exp(2j * jnp.pi / wavelength * each) for each in (path, surface))
        sums.append(surface @ wave)
    return reflection * sums[0] * sums[1]
