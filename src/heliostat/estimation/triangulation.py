r"""Position of a target from its directions at two or more surfaces.

`stansfield` is the linear method that the sensing paper names (`gavish1992`), extended to three
dimensions. It minimizes the distances of the target from the lines of sight, each divided by the
range, which approximates the angular errors. `iterated_least_squares` minimizes the angular errors
weighted by the inverse of their covariances, which is maximum likelihood for Gaussian angles.
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
"""Passes of the linear method; the first uses equal ranges, the others those of the last result."""
PARALLEL = 1e-3
"""Sine of the angle between lines of sight below which they count as parallel. [1]"""


class PositionEstimate(eqx.Module):
    """Estimate of the target's position."""

    position: Vector  # [m]
    covariance: Float[Array, "xyz xyz"]  # propagated from the angles; inf where not identifiable
    behind: Bool[Array, "surface"]  # the estimate is behind this panel: the lines diverge
    converged: Bool[Array, ""]


class _Sight(eqx.Module):
    """Line of sight in the coordinates of the scene."""

    direction: Vector  # unit vector towards the target [1]
    up: Vector  # derivative of the direction with respect to elevation [1]
    across: Vector  # derivative with respect to azimuth; its length is the sine of elevation [1]


def _sights(scene: SensingScene, angles: Float[Array, "surface 2"]) -> list[_Sight]:
    sights = []
    for surface, (elevation, azimuth) in zip(scene.surfaces, angles, strict=True):
        array = surface.array
        flat = jnp.cos(azimuth) * array.horizontal + jnp.sin(azimuth) * array.normal
        turned = -jnp.sin(azimuth) * array.horizontal + jnp.cos(azimuth) * array.normal
        sights.append(
            _Sight(
                jnp.sin(elevation) * flat + jnp.cos(elevation) * array.vertical,
                jnp.cos(elevation) * flat - jnp.sin(elevation) * array.vertical,
                jnp.sin(elevation) * turned,
            )
        )
    return sights


def largest_sine(scene: SensingScene, angles: Float[Array, "surface 2"]) -> Scalar:
    """Largest sine of the angle between two lines of sight. [1]

    Below `PARALLEL`, the lines are parallel or the target is on the line through the surfaces, and
    they do not intersect in a point.

    Args:
        scene: Scene with the surfaces.
        angles: Elevation and azimuth at each surface. [rad]
    """
    directions = jnp.stack([sight.direction for sight in _sights(scene, angles)])
    crossed = jnp.cross(directions[:, None, :], directions[None, :, :])
    return jnp.max(jnp.linalg.norm(crossed, axis=-1))


def stansfield(
    scene: SensingScene,
    angles: Float[Array, "surface 2"],
    covariance: Float[Array, "surface 2 2"],
) -> PositionEstimate:
    r"""Position by weighted linear least squares on the distances from the lines of sight.

    With the unit vectors :math:`e_\theta, e_\varphi` across line l and the range :math:`r_l`,
    angular errors :math:`(\delta\theta, \delta\varphi)` move the line at the target by
    :math:`r_l(\delta\theta\,e_\theta + \sin\theta\,\delta\varphi\,e_\varphi)`. For given
    ranges, the weighted sum of squared errors is quadratic in the position. The ranges start equal
    and are updated in `PASSES` passes.

    Args:
        scene: Scene with the surfaces.
        angles: Elevation and azimuth at each surface. [rad]
        covariance: Covariance of both angles at each surface. [rad²]
    """
    sights = _sights(scene, angles)
    anchors = jnp.stack([surface.position for surface in scene.surfaces])
    weight = jax.vmap(jnp.linalg.inv)(covariance)
    # Rows that map an offset of the position to errors of elevation and azimuth, times the range.
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
    return _position_estimate(scene, position, covariance, jnp.all(jnp.isfinite(position)))


def iterated_least_squares(
    scene: SensingScene,
    angles: Float[Array, "surface 2"],
    covariance: Float[Array, "surface 2 2"],
) -> PositionEstimate:
    r"""Position by weighted nonlinear least squares on the angles.

    .. math:: \arg\min_p\sum_l\delta_l(p)^TC_l^{-1}\delta_l(p)

    with the angular errors :math:`\delta_l` and their covariances :math:`C_l`, by
    Levenberg-Marquardt from the result of `stansfield`.

    Args:
        scene: Scene with the surfaces.
        angles: Elevation and azimuth at each surface. [rad]
        covariance: Covariance of both angles at each surface. [rad²]
    """
    begun = stansfield(scene, angles, covariance)
    start = begun.position
    lower = jax.vmap(jnp.linalg.cholesky)(covariance)
    reach = jnp.linalg.norm(start - scene.surfaces[0].position)

    def residual(moved: Vector, _: None) -> Float[Array, "angle"]:
        position = start + reach * moved
        error = wrapped_angle(scene.angles(position) - angles)
        white = jax.vmap(partial(jax.scipy.linalg.solve_triangular, lower=True))(lower, error)
        return jnp.ravel(white)

    solver: Any = optx.LevenbergMarquardt(rtol=TOLERANCE, atol=TOLERANCE)
    solution: Any = optx.least_squares(
        residual, solver, jnp.zeros(3), max_steps=MAX_STEPS, throw=False
    )
    found = _position_estimate(
        scene,
        start + reach * solution.value,
        covariance,
        solution.result == optx.RESULTS.successful,
    )
    # From lines that diverge the search leads far away, to either side.
    behind = found.behind | (begun.behind & ~found.converged)
    return eqx.tree_at(lambda estimate: estimate.behind, found, behind)


def _position_estimate(
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
