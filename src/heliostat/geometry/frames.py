"""Directions between positions, as direction cosines and as the papers' angles.

All directions are *travel* directions: the unit vector along which the wave moves. A direction
cosine is the dot product of that vector with a unit vector of an array. Unlike the papers' angles,
cosines require no inverse trigonometric functions and no choice of a branch.
"""

from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

Scalar: TypeAlias = Float[Array, ""]
Vector: TypeAlias = Float[Array, "xyz"]


def travel(start: Vector, end: Vector) -> tuple[Vector, Scalar]:
    r"""Unit vector from one position to another, and their distance.

    Args:
        start: Position from which the wave travels. [m]
        end: Position at which it arrives, different from ``start``. [m]

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
    """Angle modulo a full turn, in [-pi, pi). [rad]

    Args:
        angle: Any angle. [rad]
    """
    return jnp.mod(angle + jnp.pi, 2 * jnp.pi) - jnp.pi


def headings_from(direction: Vector, arrival: Scalar) -> Float[Array, "2"]:
    """The two headings for which a wave has an arrival cosine at the user's array. [rad]

    Args:
        direction: Direction of travel of the wave. [1]
        arrival: The cosine; one that no heading gives is replaced by the nearest one. [1]
    """
    largest = jnp.hypot(direction[0], direction[1])
    turn = jnp.arccos(jnp.clip(arrival / jnp.maximum(largest, 1e-300), -1.0, 1.0))
    bearing = jnp.arctan2(direction[1], direction[0])
    return jnp.stack([wrapped_angle(turn - bearing), wrapped_angle(-turn - bearing)])
