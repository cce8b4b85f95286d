r"""A target's position from its directions at several surfaces.

`stansfield` is the linear method that the sensing paper names (`gavish1992`), in three
dimensions: it makes the target's distances from the lines of sight small, each divided by how far
away the target is, so that they count as angles. `iterated_least_squares` makes the angles' own
errors small, weighed by the inverse of their full covariances: maximum likelihood for Gaussian
angles. Either takes any number of surfaces from two on.
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Bool, Float

from heliostat.bounds.fisher import covariance_bound
from heliostat.estimation.peak_search import MAX_STEPS, TOLERANCE
from heliostat.geometry.frames import Scalar, Vector, wrapped_angle
from heliostat.scene.sensing import SensingScene, target_angles

PASSES = 3
"""Of the linear method: its first ranges are all alike, each pass finds better ones."""
PARALLEL = 1e-3
"""Largest sine of the angle between lines of sight that count as one direction. [1]"""


class PositionEstimate(eqx.Module):
    """Where the lines of sight meet."""

    position: Vector  # [m]
    covariance: Float[Array, "xyz xyz"]  # by the angles' covariances; inf where they do not meet
    behind: Bool[Array, "surface"]  # the estimate is behind this panel: the lines diverge
    converged: Bool[Array, ""]


class _Sight(eqx.Module):
    """A line of sight in the coordinates of the scene."""

    direction: Vector  # towards the target [1]
    up: Vector  # along growing elevation [1]
    across: Vector  # along growing azimuth; as long as the sine of the elevation [1]


def _sights(scene: SensingScene, angles: Float[Array, "surface 2"]) -> list[_Sight]:
    found = []
    for surface, (elevation, azimuth) in zip(scene.surfaces, angles, strict=True):
        array = surface.array
        flat = jnp.cos(azimuth) * array.horizontal + jnp.sin(azimuth) * array.normal
        turned = -jnp.sin(azimuth) * array.horizontal + jnp.cos(azimuth) * array.normal
        found.append(
            _Sight(
                jnp.sin(elevation) * flat + jnp.cos(elevation) * array.vertical,
                jnp.cos(elevation) * flat - jnp.sin(elevation) * array.vertical,
                jnp.sin(elevation) * turned,
            )
        )
    return found


def largest_sine(scene: SensingScene, angles: Float[Array, "surface 2"]) -> Scalar:
    """Sine of the largest angle between two lines of sight. [1]

    Below `PARALLEL` they are parallel, or the target is on the line through the surfaces: either
    way they do not meet in a point.

    Args:
        scene: The surfaces.
        angles: Elevation and azimuth at each. [rad]
    """
    directions = jnp.stack([sight.direction for sight in _sights(scene, angles)])
    crossed = jnp.cross(directions[:, None, :], directions[None, :, :])
    return jnp.max(jnp.linalg.norm(crossed, axis=-1))


def stansfield(
    scene: SensingScene,
    angles: Float[Array, "surface 2"],
    covariance: Float[Array, "surface 2 2"],
) -> PositionEstimate:
    r"""Linear least squares on distances from the lines of sight, over their ranges.

    With the unit vectors :math:`e_\theta, e_\varphi` across line l and the range :math:`r_l`, an
    error of the angles by :math:`(\delta\theta, \delta\varphi)` moves the line at the target by
    :math:`r_l(\delta\theta\,e_\theta + \sin\theta\,\delta\varphi\,e_\varphi)`. What is to be
    made small is quadratic in the position once the ranges are given: three passes, the first
    with equal ranges.

    Args:
        scene: The surfaces.
        angles: Elevation and azimuth at each. [rad]
        covariance: Of both angles at each. [rad²]
    """
    sights = _sights(scene, angles)
    anchors = jnp.stack([surface.position for surface in scene.surfaces])
    weight = jax.vmap(jnp.linalg.inv)(covariance)
    # Rows that turn an offset into errors of elevation and azimuth, times the range.
    rows = jnp.stack(
        [jnp.stack([s.up, s.across / jnp.maximum(jnp.sum(s.across**2), 1e-300)]) for s in sights]
    )
    weighed = jnp.einsum("lai,lab,lbj->lij", rows, weight, rows)

    def towards(ranges: Float[Array, "surface"]) -> Vector:
        normal = jnp.einsum("l,lij->ij", 1 / ranges**2, weighed)
        target = jnp.einsum("l,lij,lj->i", 1 / ranges**2, weighed, anchors)
        scale = 1 / jnp.sqrt(jnp.trace(normal))
        return jnp.linalg.solve(normal * scale**2, target * scale**2)

    position = towards(jnp.ones(len(sights)))
    for _ in range(PASSES - 1):
        position = towards(jnp.maximum(jnp.linalg.norm(position[None, :] - anchors, axis=1), 1e-6))
    return _told(scene, position, covariance, jnp.all(jnp.isfinite(position)))


def iterated_least_squares(
    scene: SensingScene,
    angles: Float[Array, "surface 2"],
    covariance: Float[Array, "surface 2 2"],
) -> PositionEstimate:
    r""":math:`\arg\min_p\sum_l\delta_l^TC_l^{-1}\delta_l`, :math:`\delta_l` the angles' errors.

    Levenberg-Marquardt from `stansfield`. Arguments as there.
    """
    start = stansfield(scene, angles, covariance).position
    lower = jax.vmap(jnp.linalg.cholesky)(covariance)
    reach = jnp.linalg.norm(start - scene.surfaces[0].position)

    def residual(moved: Vector, _: None) -> Float[Array, "angle"]:
        position = start + reach * moved
        error = wrapped_angle(scene.angles(position) - angles)
        white = jax.vmap(partial(jax.scipy.linalg.solve_triangular, lower=True))(lower, error)
        return jnp.ravel(white)

    solver: Any = optx.LevenbergMarquardt(rtol=TOLERANCE, atol=TOLERANCE)
    found: Any = optx.least_squares(
        residual, solver, jnp.zeros(3), max_steps=MAX_STEPS, throw=False
    )
    position = start + reach * found.value
    return _told(scene, position, covariance, found.result == optx.RESULTS.successful)


def _told(
    scene: SensingScene,
    position: Vector,
    covariance: Float[Array, "surface 2 2"],
    converged: Bool[Array, ""],
) -> PositionEstimate:
    information = jnp.zeros((3, 3))
    behind = []
    for surface, own in zip(scene.surfaces, covariance, strict=True):
        slope = jax.jacfwd(lambda at, s=surface: target_angles(at, s.position, s.array))(position)
        information += slope.T @ jnp.linalg.inv(own) @ slope
        behind.append(jnp.dot(position - surface.position, surface.array.normal) <= 0)
    bound = covariance_bound(information, jnp.trace(information) * jnp.eye(3))
    seen = jnp.all(jnp.isfinite(bound))
    return PositionEstimate(position, bound, jnp.stack(behind), converged & seen)
