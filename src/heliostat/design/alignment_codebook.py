r"""Surface configurations of the alignment stage, designed for a region of user positions.

With an unknown gain, a surface with a single configuration gives no information about directions.
The bounds depend on the configurations, and the position of the user is not known beforehand. The
offsets :math:`o_k` of K steered configurations are therefore designed for several positions q,

.. math:: \min_{o_1..o_K}\ \max_q\ \mathrm{PEB}_q\quad\text{or}\quad
          \min_{o_1..o_K}\ \tfrac1Q\textstyle\sum_q\mathrm{PEB}_q^2,

by descents on the logarithm from several starts, with offsets in units of the panel's beamwidth.
The paper has one configuration, focused on the user as if its position were known.
"""

from functools import partial
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.design.parametrization import descend
from heliostat.geometry.frames import Scalar
from heliostat.scene.localization import LocalizationScene
from heliostat.surface.passive import Configurations, Steered

Criterion: TypeAlias = Literal["worst", "mean"]

SHARPNESS = (10.0, 60.0)
"""Sharpness of the smooth maximum of the PEB in successive descents."""
STEPS = 150


class SweepDesign(eqx.Module):
    """Configurations designed for a region, and the PEB with them."""

    sweep: Steered  # focus and offsets, direction cosines [1]
    peb: Float[Array, "position"]  # at each position of the region [m]
    value: Scalar  # criterion: worst or root mean square PEB [m]


def with_sweep(scene: LocalizationScene, sweep: Configurations) -> LocalizationScene:
    """The scene with other configurations in the alignment stage.

    Args:
        scene: The scene.
        sweep: Configurations of the surface.
    """
    return eqx.tree_at(lambda s: s.surface.alignment, scene, sweep, is_leaf=lambda x: x is None)


@eqx.filter_jit
def region_peb(
    scene: LocalizationScene,
    positions: Float[Array, "position xyz"],
    active_antennas: int | Scalar,
) -> Float[Array, "position"]:
    """PEB at each position, for the heading of the scene's user. [m]

    Args:
        scene: The scene with the configurations of the alignment stage.
        positions: Positions in front of the surface. [m]
        active_antennas: :math:`N_B`.
    """

    def at(position: Array) -> Scalar:
        there = scene.with_user(position, scene.user.heading)
        return error_bounds(pose_information(there, active_antennas))[0]

    return jax.vmap(at)(positions)


def region_value(peb: Float[Array, "position"], criterion: Criterion) -> Scalar:
    """Worst PEB over a region, or its root mean square. [m]

    Args:
        peb: PEB at each position. [m]
        criterion: "worst", or "mean" for the root mean square.
    """
    return jnp.max(peb) if criterion == "worst" else jnp.sqrt(jnp.mean(peb**2))


@partial(jax.jit, static_argnames="criterion")
def _value_and_slope(
    flat: Float[Array, "unknown"],
    scene: LocalizationScene,
    focus: Float[Array, "2"],
    positions: Float[Array, "position xyz"],
    active_antennas: Scalar,
    sharpness: Scalar,
    criterion: Criterion,
) -> tuple[Scalar, Array]:
    def objective(x: Array) -> Scalar:
        swept = with_sweep(scene, _steered(scene, focus, x))
        log_peb = jnp.log(region_peb(swept, positions, active_antennas))
        # Where no bound exists, a large finite number lets the descent move away.
        log_peb = jnp.where(jnp.isfinite(log_peb), log_peb, 50.0)
        if criterion == "worst":
            return jax.nn.logsumexp(sharpness * log_peb) / sharpness
        return jax.nn.logsumexp(2 * log_peb) / 2

    return jax.value_and_grad(objective)(flat)


def _steered(scene: LocalizationScene, focus: Float[Array, "2"], flat: Array) -> Steered:
    array = scene.surface.array
    beamwidth = 1 / (2 * array.spacing * jnp.array([array.columns, array.rows], dtype=float))
    return Steered(focus, flat.reshape(-1, 2) * beamwidth[None, :])


def design_sweep(
    scene: LocalizationScene,
    positions: Float[Array, "position xyz"],
    configurations: int,
    *,
    active_antennas: int,
    criterion: Criterion = "worst",
    starts: int = 8,
    seed: int = 0,
) -> SweepDesign:
    """Steered configurations with the smallest worst or mean square PEB over a region.

    Args:
        scene: The scene; of its user only the heading, the height and the array are used.
        positions: Possible positions of the user, in front of the surface. [m]
        configurations: Number of configurations, K.
        active_antennas: :math:`N_B`.
        criterion: "worst" or "mean".
        starts: Number of random starts.
        seed: Seed of the starts.

    Raises:
        ValueError: No configurations were found for which every position has a bound.
    """
    rng = np.random.default_rng(seed)
    seen = np.asarray(jax.vmap(scene.departure)(positions))
    focus = jnp.asarray((seen.min(axis=0) + seen.max(axis=0)) / 2)
    beamwidths = np.asarray(_steered(scene, focus, jnp.ones(2)).offset[0])
    # Beams over the whole region, and about one beamwidth beyond it.
    reach = 1 + (seen.max(axis=0) - seen.min(axis=0)) / 2 / beamwidths
    antennas = jnp.asarray(float(active_antennas))

    def run(start: np.ndarray, sharpness: float) -> tuple[np.ndarray, float]:
        weight = jnp.asarray(sharpness)
        return descend(
            lambda x: _value_and_slope(x, scene, focus, positions, antennas, weight, criterion),
            start,
            steps=STEPS,
        )

    tried = []
    for _ in range(starts):
        flat = (rng.uniform(-1, 1, size=(configurations, 2)) * reach).ravel()
        for sharpness in SHARPNESS if criterion == "worst" else SHARPNESS[:1]:
            flat, _ = run(flat, sharpness)
        sweep = _steered(scene, focus, jnp.asarray(flat))
        peb = region_peb(with_sweep(scene, sweep), positions, antennas)
        tried.append(SweepDesign(sweep, peb, region_value(peb, criterion)))
    best = min(tried, key=lambda design: float(design.value))
    if not np.isfinite(float(best.value)):
        raise ValueError(
            f"no {configurations} configurations were found with which every position of the "
            "region has a bound: use more configurations, or a smaller region"
        )
    return best
