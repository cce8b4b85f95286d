"""Sweeps of the alignment stage: around the expected position, or in search of a lost user."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from heliostat.estimation.pose import PoseEstimate
from heliostat.geometry.frames import Scalar, Vector
from heliostat.scene.localization import LocalizationScene
from heliostat.surface.passive import Focused, Steered


class TrackState(eqx.Module):
    """State passed from one period to the next."""

    position: Vector  # last known position of the user [m]
    heading: Scalar  # [rad]
    active_antennas: Int[Array, ""]
    lost: Int[Array, ""]  # periods since the user was last found
    candidate: Vector  # estimate of a lost period whose pilots were detected [m]
    has_candidate: Bool[Array, ""]  # the next sweep is steered at the candidate
    searched: Int[Array, ""]  # sweeps of the search since the user was last found


def search_beams(
    scene: LocalizationScene, state: TrackState, max_range: Scalar
) -> Float[Array, "config 2"]:
    """Direction cosines of the beams of the next sweep of a search. [1]

    The beams are one beamwidth apart and cover all directions of a user of this height, in rings of
    increasing size around the last known position. When all are done the search starts again,
    shifted by half a beamwidth.

    Args:
        scene: The scene with one steered surface.
        state: State after the previous period.
        max_range: Largest distance of the user from the surface. [m]
    """
    array, count = scene.surface.array, scene.surface.alignment.count
    width = 1 / (array.spacing * jnp.array([array.columns, array.rows], dtype=float))
    here = scene.departure(state.position)
    across, up = jnp.meshgrid(
        jnp.arange(-2 * array.columns, 2 * array.columns) + 0.5,
        jnp.arange(-2 * array.rows, 2 * array.rows) + 0.5,
    )
    # The last known position is a common corner of four cells.
    cell = jnp.stack([across.ravel(), up.ravel()], axis=1)
    beam = here[None, :] + width[None, :] * cell

    height = scene.user.position[2] - scene.surface.position[2]
    ahead = jnp.sqrt(jnp.maximum(1 - jnp.sum(beam**2, axis=1), 0.0))
    rise = beam[:, 0] * array.horizontal[2] + beam[:, 1] * array.vertical[2]
    rise = (rise + ahead * array.normal[2]) * jnp.sign(height)
    half = jnp.linalg.norm(width) / 2
    visible = jnp.linalg.norm(beam, axis=1) < 1 + half
    visible = visible & (rise > jnp.abs(height) / max_range - half)
    ring = jnp.ceil(jnp.max(jnp.abs(cell), axis=1))
    turn = (jnp.arctan2(cell[:, 1], cell[:, 0]) + jnp.pi) / 7  # below one
    order = jnp.argsort(jnp.where(visible, ring + turn, jnp.inf))
    number = state.searched * count + jnp.arange(count)
    round_number, rank = jnp.divmod(number, jnp.maximum(jnp.sum(visible), 1))
    return beam[order[rank]] + (round_number % 2)[:, None] * width[None, :] / 2


def with_sweep(scene: LocalizationScene, state: TrackState, max_range: Scalar) -> LocalizationScene:
    """Return the scene with sweeps around the expected position, or with those of the search.

    Args:
        scene: The scene with steered surfaces.
        state: State after the previous period.
        max_range: Largest distance of the user from a surface. [m]
    """
    expected = jnp.where(state.has_candidate, state.candidate, state.position)
    searching = (state.lost > 0) & ~state.has_candidate
    surfaces = []
    for i, surface in enumerate(scene.surfaces):
        through = scene.through(i)
        pointed = through.pointed(surface.alignment, expected)
        assert isinstance(pointed, Steered | Focused)
        beams = search_beams(through, state, max_range) - through.departure(expected)[None, :]
        swept = eqx.tree_at(
            lambda s: s.offset, pointed, jnp.where(searching, beams, pointed.offset)
        )
        surfaces.append(eqx.tree_at(lambda s: s.alignment, surface, swept))
    return eqx.tree_at(lambda s: s.surfaces, scene, tuple(surfaces))


def near_expected(
    scene: LocalizationScene, state: TrackState, estimate: PoseEstimate
) -> Bool[Array, ""]:
    """Whether the user was not lost and the estimate is within a beamwidth of all sweeps' beams.

    Args:
        scene: The scene with this period's sweeps.
        state: State after the previous period.
        estimate: Estimate of this period.
    """
    near = state.lost == 0
    for i, surface in enumerate(scene.surfaces):
        through, array, steered = scene.through(i), surface.array, surface.alignment
        assert isinstance(steered, Steered | Focused)
        width = 1 / (array.spacing * jnp.array([array.columns, array.rows], dtype=float))
        expected = through.departure(state.position)
        aside = jnp.abs(through.departure(estimate.position) - expected)
        near &= jnp.all(aside <= jnp.max(jnp.abs(steered.offset), axis=0) + width)
    return near
