r"""Coarse search for the pose of a user from pilots over several paths.

1. The samples of each path are correlated with the receive factor for a grid of arrival cosines and
   with the band factor for a grid of delays. The path with the largest energy gives estimates of
   its arrival cosine and of its delay.
2. For each place of a polar grid around each surface and the base station, the arrival cosine gives
   two headings, and the delay gives the clock offset if it is unknown. For each heading the energy
   in the direction of the mean of each path is read from the tables and added up. The interference
   between the paths is neglected here.
3. The highest peaks are returned.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from heliostat.estimation.path_likelihood import (
    PathSamples,
    first_factor,
    sample_scale,
    surface_index,
)
from heliostat.estimation.peak_search import peaks
from heliostat.estimation.place_search import PlaceGrid, block_maxima, place_grid
from heliostat.geometry.arrays import linear_steering
from heliostat.geometry.frames import Scalar, Vector, headings_from, travel, user_axis
from heliostat.observation.paths import Path, paths
from heliostat.scene.localization import LocalizationScene
from heliostat.surface.passive import Focused
from heliostat.surface.spherical import separable_response
from heliostat.units import SPEED_OF_LIGHT

OVERSAMPLING = 8
"""Grid points per resolution cell of the tables over arrival cosine and delay."""
PLACES = 4
"""Places per resolution cell of a surface, of the base station and of the band."""
SATURATION = 0.7
"""Share of a path's largest energy above which differences of it count only by their logarithm: the
grids lower the energy by up to the rest. Without this limit the errors of the grid in a strong path
would hide the differences in weak paths."""
BATCH = 4096
"""Number of places that are evaluated at once."""
ZOOM = 33
"""Points of the fine search over arrival cosine and delay around their grid maximum."""
HEADINGS = 4
"""Headings of each place: two for the arrival cosine, and two for one that cannot be distinguished
from it, near end-fire or for antennas more than half a wavelength apart."""
PEAKS = 8
"""Number of peaks, and also of highest blocks, of each grid and heading."""
STARTS = 64
"""Number of starting points that are returned."""


class SearchGrid(eqx.Module):
    """Places to search: polar coordinates around one end of the last hop of a path."""

    origin: Vector  # position of the surface or of the base station [m]
    polar: PlaceGrid

    @property
    def size(self) -> int:
        """Number of places."""
        return self.polar.bearing.size * self.polar.distance.size

    def places(self, height: Scalar) -> Float[Array, "distance bearing 2"]:
        """X and y of each place. [m]

        Args:
            height: Height of the user. [m]
        """
        rise = self.origin[2] - height
        radius = jnp.sqrt(jnp.maximum(self.polar.distance**2 - rise**2, 0.0))
        bearing = self.polar.bearing
        toward = jnp.stack([jnp.cos(bearing), jnp.sin(bearing)], axis=1)
        return self.origin[None, None, :2] + radius[:, None, None] * toward[None, :, :]


class Starts(NamedTuple):
    """Starting points of the refinement."""

    pose: Float[Array, "start 4"]  # x [m], y [m], heading [rad], clock offset [m]
    value: Float[Array, "start"]  # log-likelihood without interference, -inf if unused [1]
    present: Float[Array, "start path"]  # 1 for paths of the model, 0 for blocked ones [1]


def search_grids(
    scene: LocalizationScene, bins: int, max_range: float | None = None
) -> tuple[SearchGrid, ...]:
    """Polar grids around all surfaces, and around the base station if there is a direct path.

    Args:
        scene: Surfaces, base station, height of the user, bandwidth.
        bins: Number of frequencies; delays are unambiguous up to bins/bandwidth.
        max_range: Largest distance of the user from each of them; default is the largest
            unambiguous one. [m]

    Raises:
        ValueError: As for `place_grid`.
    """
    grids = [
        SearchGrid(surface.position, place_grid(scene.through(i), bins, max_range, PLACES))
        for i, surface in enumerate(scene.surfaces)
    ]
    if scene.direct is not None:
        grids.append(SearchGrid(scene.base_station.position, _circle(scene, bins, max_range)))
    return tuple(grids)


def _circle(scene: LocalizationScene, bins: int, max_range: float | None) -> PlaceGrid:
    """Places all around the base station, which resolve its beams and the band."""
    station, resolution = scene.base_station, SPEED_OF_LIGHT / float(scene.link.bandwidth)
    nearest = abs(float(station.position[2] - scene.user.position[2]))
    farthest = max(nearest, max_range or 0.0) + (0 if max_range else bins * resolution)
    side = float(station.array.spacing) * station.array.elements
    around = max(64, math.ceil(2 * math.pi * PLACES * side))
    steps = max(2, math.ceil((farthest - nearest) / resolution * PLACES))
    distance = nearest + (np.arange(steps) + 0.5) / steps * (farthest - nearest)
    bearing = np.linspace(-np.pi, np.pi, around, endpoint=False)
    return PlaceGrid(jnp.asarray(bearing), jnp.asarray(distance))


class _Table(NamedTuple):
    """Samples of one path, correlated with arrival cosines and delays."""

    value: Complex[Array, "arrival delay first"]  # first axis as in `PathSamples`, or beams
    strongest: Scalar  # largest energy over the noise density [1]
    arrival: Scalar  # arrival cosine of it
    delay: Scalar  # delay of it, as a distance [m]


class _Axes(NamedTuple):
    arrival: Float[Array, "arrival"]  # cosines
    delay: Float[Array, "delay"]  # over one period of ambiguity, as a distance [m]

    def nearest(self, arrival: Scalar, delay: Scalar) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """Indices of the nearest grid points; the delay repeats with the period of the grid."""
        step = self.arrival[1] - self.arrival[0]
        row = jnp.round((arrival - self.arrival[0]) / step).astype(int)
        column = jnp.round(delay / self.delay[1]).astype(int)
        return jnp.clip(row, 0, self.arrival.size - 1), jnp.mod(column, self.delay.size)


def _axes(scene: LocalizationScene, frequency: Float[Array, "bin"]) -> _Axes:
    user = scene.user
    spread = jnp.minimum(1.0, 0.5 / user.spacing)
    cosines = spread * jnp.linspace(-1.0, 1.0, OVERSAMPLING // 2 * user.antennas + 1)
    period = SPEED_OF_LIGHT / (frequency[1] - frequency[0])
    count = OVERSAMPLING * frequency.size
    return _Axes(cosines, jnp.arange(count) * period / count)


def _tables(
    scene: LocalizationScene,
    samples: PathSamples,
    frequency: Float[Array, "bin"],
    active_antennas: int | Scalar,
    axes: _Axes,
) -> list[_Table]:
    user, spread = scene.user, jnp.minimum(1.0, 0.5 / scene.user.spacing)
    around = jnp.linspace(-1.0, 1.0, ZOOM)
    tables = []
    for i, (each, path) in enumerate(zip(samples.each, paths(scene, active_antennas), strict=True)):

        def correlated(at: _Axes, each: Array = each) -> Complex[Array, "arrival delay first"]:
            rx = jax.vmap(lambda x: linear_steering(user.antennas, user.spacing, x))(at.arrival)
            turn = jnp.outer(at.delay, frequency) / SPEED_OF_LIGHT
            band = jnp.exp(2j * jnp.pi * turn)
            return jnp.einsum("xmf,am,df->adx", each, jnp.conj(rx), band, optimize=True)

        def best(at: _Axes, i: int = i, path: Path = path) -> tuple[Scalar, Scalar, Scalar]:
            energy = _energies(correlated(at), scene, i, path)
            row, column = jnp.unravel_index(jnp.argmax(energy), energy.shape)
            return energy[row, column], at.arrival[row], at.delay[column]

        _, arrival, delay = best(axes)
        steps = axes.arrival[1] - axes.arrival[0], axes.delay[1] - axes.delay[0]
        arrivals = jnp.clip(arrival + steps[0] * around, -spread, spread)
        energy, arrival, delay = best(_Axes(arrivals, delay + steps[1] * around))
        strongest = energy / (user.antennas * frequency.size * scene.link.noise_density)
        table = correlated(axes)
        if surface_index(scene, i) is None:
            table = _over_beams(table, PLACES)
        tables.append(_Table(table, strongest, arrival, delay))
    return tables


def _energies(
    value: Complex[Array, "arrival delay first"], scene: LocalizationScene, index: int, path: Path
) -> Float[Array, "arrival delay"]:
    """Energy over the first axis, over the squared norm of the factors that are known. [J]"""
    power = jnp.sum(jnp.abs(path.tx[0]) ** 2)
    i = surface_index(scene, index)
    if i is not None:
        return jnp.sum(jnp.abs(value) ** 2, axis=2) / (scene.surfaces[i].code.size * power)
    # The departure cosine of the direct path is unknown, so that the best beam counts.
    power = path.config.shape[1] * power
    return jnp.max(jnp.abs(_over_beams(value, 2)) ** 2, axis=2) / power


def _over_beams(
    value: Complex[Array, "arrival delay tx"], oversampling: int
) -> Complex[Array, "arrival delay beam"]:
    """Samples over antennas, correlated with equally spaced departure cosines."""
    count = oversampling * value.shape[2]
    return count * jnp.fft.ifft(value, count, axis=2)


def last_hops(scene: LocalizationScene) -> Float[Array, "path xyz"]:
    """Position from which the last hop of each path starts. [m]

    Args:
        scene: The scene.
    """
    starts = [] if scene.direct is None else [scene.base_station.position]
    surfaces = [scene.through(i).reflection_point() for i in range(len(scene.surfaces))]
    return jnp.stack(starts + surfaces)


def coarse_search(
    scene: LocalizationScene,
    samples: PathSamples,
    frequency: Float[Array, "bin"],
    active_antennas: int | Scalar,
    grids: tuple[SearchGrid, ...],
) -> Starts:
    """Peaks of the approximate likelihood over place and heading.

    Args:
        scene: Scene as known to the receiver, with unknown gains of one.
        samples: Samples, see `match_paths`.
        frequency: Frequencies of the bins. [Hz]
        active_antennas: :math:`N_B`; may be traced.
        grids: Places to search.
    """
    axes = _axes(scene, frequency)
    tables = _tables(scene, samples, frequency, active_antennas, axes)
    reference = jnp.argmax(jnp.stack([table.strongest for table in tables]))
    arrival = jnp.stack([table.arrival for table in tables])[reference]
    delay = jnp.stack([table.delay for table in tables])[reference]
    # Arrival cosines that differ by the inverse of the spacing have the same receive factor.
    arrivals = jnp.stack([arrival, arrival - jnp.sign(arrival) / scene.user.spacing])
    origins = last_hops(scene)
    noise = scene.link.noise_density
    scale = sample_scale(scene, frequency.size)
    step = axes.arrival[1] - axes.arrival[0]
    array = scene.base_station.array
    active = jnp.asarray(active_antennas, dtype=float)
    beams = active * scene.user.antennas * frequency.size * scene.surface.code.size

    def clock_at(lengths: Float[Array, "path"]) -> Scalar:
        return jnp.zeros(()) if scene.link.clock_known else delay - lengths[reference]

    def at_place(place: Float[Array, "2"]) -> Starts:
        """All headings at a place, and the log-likelihood that each path alone adds there."""
        position = jnp.append(place, scene.user.position[2])
        found = paths(scene.with_user(position, jnp.zeros(())), active_antennas)
        directions = jax.vmap(lambda origin: travel(origin, position)[0])(origins)
        lengths = jnp.stack([path.length for path in found])
        clock = clock_at(lengths)
        headings = jax.vmap(lambda cosine: headings_from(directions[reference], cosine))(arrivals)
        headings = headings.ravel()
        # Neither the factors nor their energies depend on the samples. The barrier keeps XLA from
        # fusing them with what does, so that `vmap` over trials computes them once.
        factors = [_quick_response(scene, i, path, position) for i, path in enumerate(found)]
        energies = [
            beams * jnp.abs(scale * path.gain) ** 2 * jnp.sum(jnp.abs(factor) ** 2)
            for path, factor in zip(found, factors, strict=True)
        ]
        factors, energies = jax.lax.optimization_barrier(  # type: ignore[no-untyped-call]
            (factors, energies)
        )
        beam = jnp.dot(directions[0], array.axis) * array.spacing * PLACES * array.elements
        beam = jnp.mod(jnp.round(beam).astype(int), PLACES * array.elements)

        def of_heading(heading: Scalar) -> Float[Array, "path"]:
            cosines, each = directions @ user_axis(heading), []
            for i, path in enumerate(found):
                row, column = axes.nearest(cosines[i], lengths[i] + clock)
                if surface_index(scene, i) is None:
                    overlap = tables[i].value[row, column, beam]
                else:
                    overlap = jnp.vdot(factors[i], tables[i].value[row, column])
                overlap, energy = jnp.conj(path.gain) * scale * overlap, energies[i]
                if scene.link.gain_known:
                    each.append(jnp.maximum(2 * jnp.real(overlap) - energy, 0.0))
                else:
                    each.append(jnp.abs(overlap) ** 2 / jnp.where(energy > 0, energy, 1.0))
            limits = jnp.stack([SATURATION * table.strongest for table in tables])
            value = jnp.stack(each) / noise
            return jnp.minimum(value, limits) + jnp.log1p(jnp.maximum(value - limits, 0.0))

        each = jax.vmap(of_heading)(headings)
        present = (each > 0.0) | (not scene.link.gain_known)
        horizontal = jnp.hypot(directions[reference, 0], directions[reference, 1])
        possible = jnp.repeat(jnp.abs(arrivals) <= horizontal + step, 2)
        possible &= jnp.stack([path.gain != 0 for path in found])[reference]
        rest = jnp.broadcast_to(jnp.append(place, clock), (HEADINGS, 3))
        return Starts(
            jnp.stack([rest[:, 0], rest[:, 1], headings, rest[:, 2]], axis=1),
            jnp.where(possible, jnp.sum(each, axis=1), -jnp.inf),
            present.astype(float),
        )

    places = [grid.places(scene.user.position[2]) for grid in grids]
    flat = jnp.concatenate([each.reshape(-1, 2) for each in places])
    every = jax.lax.map(at_place, flat, batch_size=BATCH)
    chosen, begun = [], 0
    for each in places:
        down, across, _ = each.shape
        table = every.value[begun : begun + down * across].reshape(down, across, HEADINGS)
        row, column = jax.vmap(_highest, in_axes=2)(table)
        chosen.append(HEADINGS * (begun + row * across + column) + jnp.arange(HEADINGS)[:, None])
        begun += down * across
    index = jnp.concatenate([each.ravel() for each in chosen])
    value = every.value[index // HEADINGS, index % HEADINGS]
    # The same place and heading may be among the peaks and among the blocks.
    repeated = jnp.any(jnp.tril(index[:, None] == index[None, :], -1), axis=1)
    _, highest = jax.lax.top_k(jnp.where(repeated, -jnp.inf, value), min(STARTS, index.size))
    index = index[highest]
    return jax.tree.map(lambda each: each[index // HEADINGS, index % HEADINGS], every)


def _quick_response(
    scene: LocalizationScene, index: int, path: Path, position: Vector
) -> Complex[Array, "config"]:
    """Response of a path's surface, approximate if it is focused; ones for the direct path."""
    i = surface_index(scene, index)
    if i is None:
        return jnp.ones(scene.surface.alignment.count, dtype=complex)
    alignment = scene.surfaces[i].alignment
    if not isinstance(alignment, Focused):
        return first_factor(scene, index, path)[0]
    through = scene.through(i)
    array, reflection = through.surface.array, through.surface.reflection
    center, wavelength = through.reflection_point(), scene.link.wavelength
    return separable_response(array, reflection, alignment, wavelength, center, position)


def _highest(
    value: Float[Array, "distance bearing"],
) -> tuple[Int[Array, "start"], Int[Array, "start"]]:
    """Rows and columns of the highest blocks, and of those higher than their neighbors."""
    highest, rows, columns = block_maxima(value)
    count = min(PEAKS, highest.size)
    down, across, _ = peaks(highest, wrap_columns=True, count=count)
    _, index = jax.lax.top_k(highest.ravel(), count)
    others = jnp.unravel_index(index, highest.shape)
    down, across = jnp.concatenate([down, others[0]]), jnp.concatenate([across, others[1]])
    return rows[down, across], columns[down, across]
