"""Random motion of a user from period to period."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from heliostat.geometry.frames import Scalar, Vector
from heliostat.geometry.obstacles import Obstacle, blocked
from heliostat.protocol.errors import in_disc
from heliostat.scene.localization import LocalizationScene


def random_walk(
    scene: LocalizationScene, mobility: Scalar, periods: int, max_range: Scalar, key: PRNGKeyArray
) -> Float[Array, "period xyz"]:
    """Positions of a user that moves within a disc from period to period, paper eq. (1). [m]

    A step that would lead behind the surface or beyond the largest distance is reversed; if the
    reversed step does too, the user stays.

    Args:
        scene: The scene with the user at its first position.
        mobility: Radius of the disc. [m]
        periods: Number of periods.
        max_range: Largest distance from the surface. [m]
        key: Key of all steps.
    """
    surface = scene.surface

    def reachable(position: Vector) -> Bool[Array, ""]:
        offset = position - surface.position
        ahead = jnp.dot(offset, surface.array.normal) > 0.05 * jnp.linalg.norm(offset)
        return ahead & (jnp.linalg.norm(offset) < max_range)

    def move(position: Vector, key: PRNGKeyArray) -> tuple[Vector, Vector]:
        step = jnp.append(in_disc(key, mobility), 0.0)
        back = jnp.where(reachable(position - step), position - step, position)
        moved = jnp.where(reachable(position + step), position + step, back)
        return moved, position

    return jax.lax.scan(move, scene.user.position, jax.random.split(key, periods))[1]


def walk_among_obstacles(
    scene: LocalizationScene,
    obstacles: Sequence[Obstacle],
    mobility: float,
    periods: int,
    max_range: float,
    key: PRNGKeyArray,
) -> Float[np.ndarray, "period xyz"]:
    """Positions of a user as from `random_walk`, for several surfaces and obstacles. [m]

    A step through an obstacle, behind all surfaces if there is no direct path, or beyond the
    largest distance from the first surface is reversed; if the reversed step is impossible too, the
    user stays.

    Args:
        scene: The scene with the user at its first position.
        obstacles: The obstacles.
        mobility: Radius of the disc of one step. [m]
        periods: Number of periods.
        max_range: Largest distance from the first surface. [m]
        key: Key of all steps.
    """
    keys = jax.random.split(key, periods)
    steps = np.asarray(jax.vmap(lambda each: in_disc(each, jnp.asarray(mobility)))(keys))
    places = np.array([surface.position for surface in scene.surfaces])
    normals = np.array([surface.array.normal for surface in scene.surfaces])

    def possible(start: np.ndarray, end: np.ndarray) -> bool:
        offset = end - places
        served = scene.direct is not None or bool(np.any(np.sum(offset * normals, axis=1) > 0))
        near = float(np.linalg.norm(offset[0])) < max_range
        return served and near and not blocked(start[None], end[None], obstacles)[0]

    position, found = np.asarray(scene.user.position, dtype=float), []
    for step in steps:
        found.append(position)
        ends = (position + np.append(sign * step, 0.0) for sign in (1.0, -1.0))
        position = next((end for end in ends if possible(position, end)), position)
    return np.array(found)
