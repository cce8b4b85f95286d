r"""Which configurations a surface should go through while a user aligns and localizes itself.

With an unknown gain a surface that never changes tells no direction; what it is changed to
decides how well the user's place is seen, and where the user is, is not known beforehand. So the
offsets :math:`o_k` of K steered configurations are chosen for a region of places q,

.. math:: \min_{o_1..o_K}\ \max_q\ \mathrm{PEB}_q\quad\text{or}\quad
          \min_{o_1..o_K}\ \tfrac1Q\textstyle\sum_q\mathrm{PEB}_q^2,

by a descent on the logarithm from several starts, in beamwidths of the panel. The paper has one
configuration, focused on the user as if its place were known; random and DFT sweeps are what one
would try first.
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
"""How closely the smooth largest PEB follows the true one, step by step."""
STEPS = 150


class SweepDesign(eqx.Module):
    """Configurations for a region."""

    sweep: Steered  # focus and offsets, direction cosines [1]
    peb: Float[Array, "position"]  # at every place of the region [m]
    value: Scalar  # worst PEB, or root of its mean square [m]


def with_sweep(scene: LocalizationScene, sweep: Configurations) -> LocalizationScene:
    """The same scene with another alignment stage.

    Args:
        scene: The scene.
        sweep: What the surface goes through.
    """
    return eqx.tree_at(lambda s: s.surface.alignment, scene, sweep, is_leaf=lambda x: x is None)


@eqx.filter_jit
def region_peb(
    scene: LocalizationScene,
    positions: Float[Array, "position xyz"],
    active_antennas: int | Scalar,
) -> Float[Array, "position"]:
    """PEB at every place, the heading being the scene's. [m]

    Args:
        scene: With the alignment stage to be judged.
        positions: In front of the surface. [m]
        active_antennas: :math:`N_B`.
    """

    def at(position: Array) -> Scalar:
        there = scene.with_user(position, scene.user.heading)
        return error_bounds(pose_information(there, active_antennas))[0]

    return jax.vmap(at)(positions)


def region_value(peb: Float[Array, "position"], criterion: Criterion) -> Scalar:
    """What a region's bounds come to. [m]

    Args:
        peb: At every place. [m]
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
        # Where no bound exists the descent finds a number that is large enough to leave.
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
    """Steered configurations of least worst, or least mean square, PEB over a region.

    Args:
        scene: The scene; where its user is has no influence, how it is turned has.
        positions: Places where the user may be, in front of the surface. [m]
        configurations: How many, K.
        active_antennas: :math:`N_B`.
        criterion: Of the two.
        starts: Random starts.
        seed: Of the starts.

    Raises:
        ValueError: No configurations were found with which every place has a bound.
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
            f"no {configurations} configurations were found with which every place of the region "
            "has a bound: allow more of them, or a smaller region"
        )
    return best
