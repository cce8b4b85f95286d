"""Coarse search for the user's place: a grid over bearing and distance, then local refinement."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from heliostat.estimation.gauss_newton import (
    Factors,
    Likelihood,
    Maximum,
    Moves,
    levenberg_marquardt,
    likelihood,
)
from heliostat.estimation.matched_pilots import (
    MatchedPilots,
    PoseUnknowns,
    largest_arrival,
    position_at,
    unit_channel,
)
from heliostat.estimation.peak_search import peaks
from heliostat.geometry.frames import Scalar, travel
from heliostat.observation.pilots import over_frequencies, over_receive_beams, pilot_factors
from heliostat.scene.localization import LocalizationScene
from heliostat.units import SPEED_OF_LIGHT

OVERSAMPLING = 8
"""Grid points per resolution cell of the arrays and of the band."""
PEAKS, BLOCK = 64, 4
"""Number of peaks of the grid, and also of blocks, from which the place is refined; number of grid
points along each side of a block."""
FIRST_STEPS, KEPT, REFINEMENT_STEPS = 4, 24, 8
"""Number of evaluations from each starting point, number of distinct places that are refined
further, and number of evaluations for each of these."""
CANDIDATES = 12
"""Number of refined peaks that are returned."""
DUPLICATE = 0.02
"""Distance below which two refined peaks are the same. [beamwidths and band resolutions]"""
ZOOM = 65
"""Points of the fine search over arrival cosine and delay around their grid maximum."""


class PlaceGrid(eqx.Module):
    """Grid of the coarse search in polar coordinates around the surface, in front of it."""

    bearing: Float[Array, "bearing"]  # from the x axis, anticlockwise [rad]
    distance: Float[Array, "distance"]  # from the surface [m]


def place_grid(
    scene: LocalizationScene,
    bins: int,
    max_range: float | None = None,
    oversampling: int = OVERSAMPLING,
) -> PlaceGrid:
    """Grid of places that resolves the surface's beams and the band.

    Args:
        scene: Surface, height of the user, bandwidth.
        bins: Number of frequencies; delays are unambiguous up to bins/bandwidth.
        max_range: Largest distance of the user from the surface; default is the largest
            unambiguous one. [m]
        oversampling: Grid points per resolution cell.

    Raises:
        ValueError: ``max_range`` is not larger than the difference in height, or exceeds the
            unambiguous distance.
    """
    surface, array = scene.surface, scene.surface.array
    nearest = abs(float(surface.position[2] - scene.user.position[2]))
    resolution = SPEED_OF_LIGHT / float(scene.link.bandwidth)
    unambiguous = nearest + bins * resolution
    if max_range is None:
        max_range = unambiguous
    if not nearest < max_range <= unambiguous * (1 + 1e-9):
        raise ValueError(
            f"max_range is {max_range:g} m; with {bins} bins it must be between {nearest:g} m, the "
            f"difference in height, and {unambiguous:g} m; more bins allow a larger range."
        )
    side = float(np.max(np.asarray(array.spacing) * np.array([array.columns, array.rows])))
    around = max(64, math.ceil(2 * math.pi * oversampling * side))
    bearing = np.linspace(-np.pi, np.pi, around, endpoint=False)
    radius = np.array([[0.0], [math.sqrt(max_range**2 - nearest**2)]])
    normal = np.asarray(array.normal)
    toward = normal[0] * np.cos(bearing) + normal[1] * np.sin(bearing)
    drop = float(scene.user.position[2] - surface.position[2])
    in_front = (radius * toward + drop * normal[2] > 0).any(axis=0)
    # The steps in distance resolve the band, and the surface's beams that a change of distance
    # crosses: the elevation at the surface is arcsin(nearest/distance).
    distance = np.linspace(nearest, max_range, 4096)
    elevation = np.arcsin(nearest / distance) if nearest > 0 else np.zeros(distance.size)
    cells = (distance - nearest) / resolution + side * (elevation[0] - elevation)
    steps = max(2, math.ceil(cells[-1] * oversampling))
    return PlaceGrid(
        jnp.asarray(bearing[in_front]),
        jnp.asarray(np.interp((np.arange(steps) + 0.5) / steps * cells[-1], cells, distance)),
    )


def block_maxima(
    value: Float[Array, "row column"],
) -> tuple[Float[Array, "down across"], Int[Array, "down across"], Int[Array, "down across"]]:
    """Maximum of each block of a table, its row and its column."""
    down, across = (-(-size // BLOCK) for size in value.shape)
    padding = ((0, down * BLOCK - value.shape[0]), (0, across * BLOCK - value.shape[1]))
    blocks = jnp.pad(value, padding, constant_values=-jnp.inf)
    blocks = blocks.reshape(down, BLOCK, across, BLOCK).transpose(0, 2, 1, 3)
    blocks = blocks.reshape(down, across, BLOCK**2)
    inside = jnp.argmax(blocks, axis=-1)
    row = jnp.arange(down)[:, None] * BLOCK + inside // BLOCK
    column = jnp.arange(across)[None, :] * BLOCK + inside % BLOCK
    return (
        jnp.max(blocks, axis=-1),
        jnp.minimum(row, value.shape[0] - 1),
        jnp.minimum(column, value.shape[1] - 1),
    )


def height_above_plane(scene: LocalizationScene, place: Float[Array, "2"]) -> Scalar:
    """Distance of a place from the plane of the surface, positive in front of it. [m]"""
    offset = position_at(scene, place) - scene.surface.position
    return jnp.dot(offset, scene.surface.array.normal)


def within_reach(
    scene: LocalizationScene, place: Float[Array, "2"], grid: PlaceGrid
) -> Bool[Array, ""]:
    """Whether a place is in front of the surface and at most one cell beyond the grid."""
    distance = jnp.linalg.norm(position_at(scene, place) - scene.surface.position)
    max_range = grid.distance[-1] + SPEED_OF_LIGHT / scene.link.bandwidth
    return (height_above_plane(scene, place) > 0) & (distance < max_range)


def beam_coordinates(scene: LocalizationScene, place: Float[Array, "2"]) -> Float[Array, "3"]:
    """Direction cosines at the surface in beamwidths; distance in resolutions of the band, or zero
    if the clock is unknown. [1]
    """
    array = scene.surface.array
    widths = array.spacing * jnp.array([array.columns, array.rows], dtype=float)
    position = position_at(scene, place)
    distance = jnp.linalg.norm(position - scene.surface.position)
    cells = distance * scene.link.bandwidth / SPEED_OF_LIGHT * scene.link.clock_known
    return jnp.append(scene.departure(position) * widths, cells)


def coarse_search(
    scene: LocalizationScene,
    matched: MatchedPilots,
    frequency: Float[Array, "bin"],
    grid: PlaceGrid,
) -> tuple[PoseUnknowns, Float[Array, "candidate"]]:
    """Distinct maxima of the likelihood over the place, and their log-likelihoods.

    Arrival cosine and, if the clock is unknown, delay are fixed at their noncoherent estimates, the
    maximum of the energy summed over the configurations.

    Args:
        scene: Scene as known to the receiver.
        matched: Matched pilots.
        frequency: Frequencies of the bins. [Hz]
        grid: Places to search.

    Returns:
        Candidates in descending order. Their log-likelihood is ``-inf`` where there are fewer.
    """
    user, clock_known = scene.user, scene.link.clock_known
    _, bs_to_irs = travel(scene.base_station.position, scene.surface.position)

    over_rx = functools.partial(over_receive_beams, user)

    def over_band(distance: Scalar) -> Array:
        return over_frequencies(frequency, bs_to_irs + distance)

    spread = jnp.minimum(1.0, 0.5 / user.spacing)
    arrivals = spread * jnp.linspace(-1.0, 1.0, OVERSAMPLING // 2 * user.antennas + 1)
    step = arrivals[1] - arrivals[0]
    rx, band = jax.vmap(over_rx)(arrivals), jax.vmap(over_band)(grid.distance)
    correlation = jnp.einsum(
        "kmf,am,df->kad", matched.samples, jnp.conj(rx), jnp.conj(band), optimize=True
    )
    strength = jnp.sum(jnp.abs(correlation) ** 2, axis=0)
    best_arrival, best_delay = jnp.unravel_index(jnp.argmax(strength), strength.shape)
    around = jnp.linspace(-1.0, 1.0, ZOOM)

    delay = grid.distance[best_delay]
    cosines = jnp.clip(arrivals[best_arrival] + step * around, -spread, spread)
    at_delay = matched.samples @ jnp.conj(over_band(delay))
    energy = jnp.sum(jnp.abs(at_delay @ jnp.conj(jax.vmap(over_rx)(cosines)).T) ** 2, axis=0)
    arrival = cosines[jnp.argmax(energy)]
    length = math.sqrt(user.antennas)  # of every receive factor: it is a steering vector, rotated
    received = jnp.einsum("kmf,m->kf", matched.samples, jnp.conj(over_rx(arrival)) / length)
    if not clock_known:
        delays = delay + (grid.distance[1] - grid.distance[0]) * around
        energy = jnp.sum(jnp.abs(received @ jnp.conj(jax.vmap(over_band)(delays)).T) ** 2, axis=0)
        delay = delays[jnp.argmax(energy)]
    resolution = SPEED_OF_LIGHT / scene.link.bandwidth
    known_gain = scene.surface.gain if scene.link.gain_known else None

    def lag(place: Float[Array, "2"]) -> Scalar:
        distance = jnp.linalg.norm(position_at(scene, place) - scene.surface.position)
        return jnp.zeros(()) if clock_known else delay - distance

    def factors(moves: Moves) -> Factors:
        place = moves * resolution
        parts = pilot_factors(
            scene, unit_channel(scene, PoseUnknowns(place, arrival, lag(place))), 1, frequency
        )
        response = parts.amplitude * matched.level * length * parts.response
        return response, jnp.ones(1, dtype=complex), parts.over_band

    noise_density = scene.link.noise_density

    def objective(moves: Moves) -> Likelihood:
        current = likelihood(received[:, None, :], factors, moves, noise_density, known_gain)
        ahead = height_above_plane(scene, moves * resolution) > 0
        return current._replace(value=jnp.where(ahead, current.value, -jnp.inf))

    profile = jnp.conj(jax.vmap(over_band)(grid.distance)) @ received.T  # [distance config]
    if not clock_known:
        profile = jnp.broadcast_to(received @ jnp.conj(over_band(delay)), profile.shape)

    def place_at(bearing: Scalar, distance: Scalar) -> Float[Array, "2"]:
        height = scene.surface.position[2] - user.position[2]
        radius = jnp.sqrt(jnp.maximum(distance**2 - height**2, 0.0))
        return scene.surface.position[:2] + radius * jnp.stack([jnp.cos(bearing), jnp.sin(bearing)])

    def unit_response(bearing: Scalar, distance: Scalar) -> Complex[Array, "config"]:
        at = PoseUnknowns(place_at(bearing, distance), jnp.zeros(()), jnp.zeros(()))
        parts = pilot_factors(scene, unit_channel(scene, at), 1, frequency)
        return parts.amplitude * matched.level * length * parts.response

    def values_at(each: tuple[Scalar, Complex[Array, "config"]]) -> Float[Array, "bearing"]:
        distance, seen = each
        places = jax.vmap(lambda bearing: place_at(bearing, distance))(grid.bearing)
        possible = jax.vmap(lambda place: within_reach(scene, place, grid))(places)
        largest = jax.vmap(lambda place: largest_arrival(scene, place))(places)
        possible &= jnp.abs(arrival) <= largest + step
        # The response does not depend on the samples. The barrier keeps XLA from fusing it with
        # what does, so that `vmap` over trials computes it once.
        unit = jax.vmap(lambda bearing: unit_response(bearing, distance))(grid.bearing)
        energy = frequency.size * jnp.sum(jnp.abs(unit) ** 2, axis=1)
        unit, energy = jax.lax.optimization_barrier((unit, energy))  # type: ignore[no-untyped-call]
        overlap = jnp.conj(unit) @ seen
        if known_gain is not None:
            value = 2 * jnp.real(jnp.conj(known_gain) * overlap) - jnp.abs(known_gain) ** 2 * energy
        else:
            value = jnp.abs(overlap) ** 2 / jnp.where(energy > 0, energy, 1.0)
        return jnp.where(possible, value, -jnp.inf)

    value = jax.lax.map(values_at, (grid.distance, profile), batch_size=64)  # [distance bearing]
    # A search for the highest points among blocks instead of grid points costs a tenth. Two maxima
    # on a narrow ridge may be a single peak of the grid, so that the highest blocks are used as
    # well as those higher than their neighbors.
    highest, rows, columns = block_maxima(value)
    count = min(PEAKS, highest.size)
    first = peaks(highest, wrap_columns=True, count=count)
    height, index = jax.lax.top_k(highest.ravel(), count)
    second = (*jnp.unravel_index(index, highest.shape), height)
    down, across, height = map(jnp.concatenate, zip(first, second, strict=True))
    row, column = rows[down, across], columns[down, across]
    places = jax.vmap(place_at)(grid.bearing[column], grid.distance[row])

    def refine(
        starts: Float[Array, "start 2"], enabled: Bool[Array, "start"], steps: int
    ) -> Maximum:
        def refine_one(start: Float[Array, "2"], enabled: Bool[Array, ""]) -> Maximum:
            return levenberg_marquardt(objective, start, enabled, steps)

        return jax.vmap(refine_one)(starts, enabled)

    def distinct(
        refined: Maximum, count: int
    ) -> tuple[Float[Array, "kept 2"], Float[Array, "kept"]]:
        """The highest of several maxima without duplicates: places and values."""
        places = refined.moves * resolution
        possible = jax.vmap(lambda place: within_reach(scene, place, grid))(places)
        height = jnp.where(possible, refined.value, -jnp.inf)
        order = jnp.argsort(-height)
        places, height = places[order], height[order]
        where = jax.vmap(lambda place: beam_coordinates(scene, place))(places)
        close = jnp.max(jnp.abs(where[:, None] - where[None, :]), axis=-1) < DUPLICATE
        duplicate = jnp.any(jnp.tril(close, -1), axis=1)
        height = jnp.where(duplicate, -jnp.inf, height)
        height, chosen = jax.lax.top_k(height, min(count, height.size))
        return places[chosen], height

    refined = refine(places / resolution, height > -jnp.inf, FIRST_STEPS)
    places, height = distinct(refined, KEPT)
    refined = refine(places / resolution, height > -jnp.inf, REFINEMENT_STEPS)
    places, height = distinct(refined, CANDIDATES)
    return PoseUnknowns(places, jnp.full_like(height, arrival), jax.vmap(lag)(places)), height
