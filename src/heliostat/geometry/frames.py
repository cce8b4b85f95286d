"""Directions between positions, as direction cosines and as the papers' angles.

All directions are *travel* directions: the unit vector along which the wave moves. A direction
cosine is the dot product of that vector with a unit vector of an array. Cosines need no inverse
trigonometry and no choice of branch, which the papers' angles do.
"""

from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

Scalar: TypeAlias = Float[Array, ""]
Vector: TypeAlias = Float[Array, "xyz"]


def travel(start: Vector, end: Vector) -> tuple[Vector, Scalar]:
    r"""Unit vector from one position to another, and their distance.

    Args:
        start: Where the wave leaves. [m]
        end: Where it arrives; must differ from ``start``. [m]

    Returns:
        :math:`(e - s)/\|e - s\|` [1] and :math:`\|e - s\|` [m].
    """
    offset = end - start
    distance = jnp.linalg.norm(offset)
    return offset / distance, distance


def user_axis(heading: Scalar) -> Vector:
    r"""Axis of the user's linear array, :math:`(\cos\alpha, -\sin\alpha, 0)`.

    This is the paper's (12): the heading turns the array clockwise seen from above, and at
    heading 0 the array lies along x.

    Args:
        heading: :math:`\alpha`. [rad]
    """
    return jnp.stack([jnp.cos(heading), -jnp.sin(heading), jnp.zeros_like(heading)])


def wrapped_angle(angle: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """The same angle in [-pi, pi). [rad]

    Args:
        angle: [rad]
    """
    return jnp.mod(angle + jnp.pi, 2 * jnp.pi) - jnp.pi
