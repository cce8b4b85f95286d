"""Random motion of a user from period to period."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from heliostat.geometry.obstacles import Obstacle, blocked
from heliostat.protocol.errors import in_disc
from heliostat.scene.localization import LocalizationScene

LEAST_COSINE = 0.05
"""Least cosine between the normal of a surface and the direction to a user that it serves."""


def random_walk(
    scene: LocalizationScene,
    obstacles: Sequence[Obstacle],
    mobility: float,
    periods: int,
    max_range: float,
    key: PRNGKeyArray,
) -> Float[np.ndarray, "period xyz"]:
    """Positions of a user that moves within a disc from period to period, paper eq. (1). [m]

    A step through an obstacle, beyond the largest distance from the first surface, or, if there is
    no direct path, to a place that is not clearly in front of a surface is reversed; if the
    reversed step is impossible too, the user stays.

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
        distance = np.linalg.norm(offset, axis=1)
        ahead = np.sum(offset * normals, axis=1) > LEAST_COSINE * distance
        served = scene.direct is not None or bool(ahead.any())
        near = float(distance[0]) < max_range
        return served and near and not blocked(start[None], end[None], obstacles)[0]

    position, found = np.asarray(scene.user.position, dtype=float), []
    for step in steps:
        found.append(position)
        ends = (position + np.append(sign * step, 0.0) for sign in (1.0, -1.0))
        position = next((end for end in ends if possible(position, end)), position)
    return np.array(found)
