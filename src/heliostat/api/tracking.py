"""Tracking of a user over many periods: `run_protocol`, and recorded tracks."""

import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from numpy.typing import ArrayLike

from heliostat.api.arguments import checked_count, described, is_finite, public
from heliostat.api.localization import allocate_time, build, chosen_antennas, require_single_path
from heliostat.api.localization_results import NotIdentifiableError
from heliostat.api.map_quantities import with_one_wavefront
from heliostat.api.pose_estimation import MOST_BINS
from heliostat.estimation.path_search import search_grids
from heliostat.estimation.place_search import place_grid
from heliostat.observation.pilots import band_bins
from heliostat.protocol.errors import ErrorLevels
from heliostat.protocol.motion import random_walk
from heliostat.protocol.next_period import TradeOffObjective
from heliostat.protocol.tracking import Grid, PeriodRecord, initial_state, max_range, run_periods
from heliostat.scenario import LocalizationScenario, provenance_of
from heliostat.scenario.csv_reader import CsvLine, read_positions
from heliostat.scenario.localization.visibility import visible_paths
from heliostat.scenario.random_keys import purpose_key
from heliostat.scene.localization import LocalizationScene
from heliostat.surface.passive import Phased
from heliostat.units import SPEED_OF_LIGHT

MAX_RANGE = 1e4
"""Largest accepted distance of the user from the surface. [m]"""
MARGIN = 1.2
"""Distance that is searched with several paths over the largest one of the user."""


class TrackError(ValueError):
    """Raised if a user cannot be tracked; the message contains a remedy."""


def read_track(file: str | Path) -> np.ndarray:
    """Read a recorded track, with one row for each period.

    Args:
        file: CSV file with a header and the columns ``x`` and ``y`` in meters and optionally
            ``heading_deg``.

    Returns:
        [period, 3]: x [m], y [m], heading [rad]; NaN for a heading that the file does not contain.

    Raises:
        TrackError: The file cannot be read, lacks a column, or holds a value that is not a finite
            number; the message names the line.
    """
    try:
        return np.asarray([_place(line) for line in read_positions(Path(file))])
    except ValueError as error:
        raise TrackError(f"{file}: {error}") from None


def _place(line: CsvLine) -> list[float]:
    """Coordinates x and y [m] and heading [rad] of one line."""
    given = line.cells.get("heading_deg") not in (None, "")
    heading = math.radians(line.value("heading_deg", "degrees")) if given else math.nan
    return [line.value("x"), line.value("y"), heading]


@public(LocalizationScenario)
def run_protocol(
    scenario: LocalizationScenario,
    periods: int = 50,
    *,
    mobility: float | None = None,
    track: ArrayLike | None = None,
    weight: float | None = None,
    balance: float | None = None,
    assumed_errors: bool = False,
    bins: int | None = None,
    key: PRNGKeyArray | None = None,
) -> xr.Dataset:
    r"""Track a user over many periods with simulated estimates, localization paper Fig. 3.

    In each period all surfaces sweep around the expected position of the user, the user estimates
    its pose from noisy pilots, data are sent with the surfaces focused on the estimate, and the
    time of the next period is allocated for the estimated pose. The receiver does not know which
    paths obstacles block. If the pilots are not detected or do not fit the model, the estimate is
    ambiguous, or the SNR of the data is far from the prediction, the user counts as lost, and the
    next periods search for it.

    Args:
        scenario: A localization scenario with designed phases. The pose of its user is known before
            the first period.
        periods: Number of periods; with a track at most its length.
        mobility: Radius of the disc in which the user moves from period to period, paper eq. (1);
            default ``errors.mobility``. [m]
        track: Position and optionally heading of the user in each period, in place of the random
            motion, see `read_track`. [period, 2 or 3]
        weight: The paper's :math:`\xi`, as for `allocate_time`; default 1e-10 unless ``balance`` is
            given.
        balance: Alternative to the weight, as for `allocate_time`.
        assumed_errors: Use the true pose plus random errors of the sizes in the scenario's
            ``errors`` instead of estimates, as in the localization paper; for one path only.
        bins: Number of pilot frequencies; default 16, or as many as are necessary for unambiguous
            distances up to twice that of the user.
        key: Key of motion and noise; default ``link.seed``.

    Returns:
        One entry for each period: true and estimated pose, errors, bounds, SNR, rate, time
        allocation, whether the user was found (``found``), which paths reach the user
        (``visible``), the SNR of the data over each path (``path_snr``), and the path with the
        largest one (``serving``, an index into ``path``, -1 if the user was lost). Units are in the
        attributes. The attribute ``lost_periods`` is the number of periods in which the user was
        not found, ``unreached_periods`` of those in which no path reached it, and ``handovers`` of
        changes of the serving path.

    Raises:
        TypeError: The scenario is not a localization scenario.
        ValueError: The weight or the balance is out of range, or both are given.
        TrackError: Phases are not designed, an argument is out of range, or the user is behind the
            surface or out of reach.
    """
    if assumed_errors:
        require_single_path(scenario, "assumed_errors")
    periods = checked_count("periods", periods, error=TrackError)
    if bins is not None:
        bins = checked_count("bins", bins, 2, MOST_BINS, TrackError)
    if mobility is not None and track is not None:
        raise TrackError("mobility and track are both given; leave one of them out.")
    if mobility is not None and not (is_finite(mobility) and mobility >= 0):
        raise TrackError(
            f"mobility is {described(mobility)}; it must be a finite radius, 0 or more."
        )
    objective = TradeOffObjective(weight, balance)
    scene = build(scenario.without_obstacles())
    for key_, surface in zip(scenario.panel_keys, scene.surfaces, strict=True):
        if isinstance(surface.alignment, Phased):
            raise TrackError(
                f"{key_}.phases or {key_}.bits of this scenario give a fixed surface "
                "configuration, but tracking steers the surface; set phases: designed and remove "
                "bits."
            )
    root = scenario.link.seed if key is None else key
    errors = scenario.errors
    walk = np.asarray([scenario.user.position[:2]]) if track is None else np.asarray(track)
    positions, headings = _walk(scenario, walk[:periods].astype(float))
    distance = _largest_distance(scenario, positions)
    bins = _bins(scene, distance) if bins is None else bins
    grid = _grid(scene, bins, distance)
    farthest = float(max_range(grid))
    if distance > farthest:
        raise TrackError(
            f"The user is up to {distance:.4g} m from the surface; with {bins} bins distances are "
            f"unambiguous up to {farthest:.4g} m; give more bins."
        )
    if track is None:
        radius = errors.mobility if mobility is None else float(mobility)
        prisms = [obstacle.prism for obstacle in scenario.obstacles]
        motion = purpose_key(root, "motion")
        positions = random_walk(scene, prisms, radius, periods, farthest, motion)
        headings = np.full(len(positions), float(scene.user.heading))
    uniform = with_one_wavefront(scenario, positions)
    if uniform is not scenario:
        scene = build(uniform.without_obstacles())
        grid = _grid(scene, bins, distance)
    start = initial_state(
        jnp.asarray(positions[0]), jnp.asarray(headings[0]), _first_antennas(scenario, objective)
    )
    levels = None
    if assumed_errors:
        sizes = (errors.position, errors.heading, 0.0, errors.gain_variance)
        levels = ErrorLevels(*(jnp.asarray(float(size)) for size in sizes))
    record = run_periods(
        scene.with_user(start.position, start.heading),
        start,
        positions,
        headings,
        np.asarray(visible_paths(scenario, positions), dtype=float),
        band_bins(scene.link.bandwidth, bins),
        grid,
        objective,
        purpose_key(root, "noise"),
        levels,
    )
    return _dataset(scenario, record)


def _first_antennas(scenario: LocalizationScenario, objective: TradeOffObjective) -> int:
    """Active antennas in the first period: optimal for the scenario; at most 4 without a bound."""
    weight, balance = objective.numbers()
    try:
        return allocate_time(scenario, weight, balance=balance).active_antennas
    except NotIdentifiableError:
        return min(4, int(chosen_antennas(scenario, None)))


def _grid(scene: LocalizationScene, bins: int, distance: float) -> Grid:
    if scene.single_path:
        return place_grid(scene, bins)
    unambiguous = bins * SPEED_OF_LIGHT / float(scene.link.bandwidth)
    return search_grids(scene, bins, min(MARGIN * distance, unambiguous))


def _largest_distance(scenario: LocalizationScenario, positions: np.ndarray) -> float:
    """Largest distance of the user from a surface, or from the base station. [m]"""
    origins = [panel.position for panel in scenario.panels]
    if scenario.direct != "blocked":
        origins.append(scenario.base_station.position)
    return max(float(np.linalg.norm(positions - origin, axis=1).max()) for origin in origins)


def _bins(scene: LocalizationScene, distance: float) -> int:
    """Number of bins for unambiguous distances up to twice the given one, at least 16."""
    resolution = SPEED_OF_LIGHT / float(scene.link.bandwidth)
    return max(16, math.ceil(2 * distance / resolution))


def _walk(scenario: LocalizationScenario, track: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions and headings of a track, checked to be where a user can be."""
    if track.ndim != 2 or track.shape[1] not in (2, 3) or not len(track):
        raise TrackError(
            f"track has the shape {track.shape}; it needs (periods, 2) or (periods, 3)."
        )
    if not np.isfinite(track[:, :2]).all() or np.isinf(track[:, 2:]).any():
        raise TrackError("track contains numbers that are not finite.")
    height = float(scenario.user.position[2])
    positions = np.column_stack([track[:, :2], np.full(len(track), height)])
    offset = positions - np.asarray(scenario.panel.position)
    distance = np.hypot(np.hypot(offset[:, 0], offset[:, 1]), offset[:, 2])
    behind = offset @ np.asarray(scenario.panel.facing) <= 1e-3 * distance
    only = len(scenario.panels) == 1 and scenario.direct == "blocked"
    refusals = [
        (behind & only, "is behind the surface"),
        (distance > MAX_RANGE, f"is over {MAX_RANGE:g} m from the surface"),
    ]
    refusals += [
        (each.contains(positions), f"is inside {each.name}") for each in scenario.obstacles
    ]
    for refused, why in refusals:
        if refused.any():
            at = int(np.argmax(refused))
            x, y = track[at, :2]
            raise TrackError(f"track: position {at + 1}, ({x:g}, {y:g}), {why}; leave it out.")
    headings = np.full(len(track), float(scenario.user.heading))
    if track.shape[1] == 3:
        headings = np.where(np.isnan(track[:, 2]), headings, track[:, 2])
    return positions, headings


def _dataset(scenario: LocalizationScenario, record: PeriodRecord) -> xr.Dataset:
    estimate = record.estimate
    position, estimated = np.asarray(record.position), np.asarray(estimate.position)
    turned = np.asarray(estimate.heading - record.heading)
    found, visible = np.asarray(record.found), np.asarray(record.visible)
    path_snr = np.asarray(record.path_snr)
    serving = np.where(found, np.argmax(path_snr, axis=1), -1)
    served = serving[serving >= 0]
    columns = {
        "x": (position[:, 0], "m"),
        "y": (position[:, 1], "m"),
        "heading": (record.heading, "rad"),
        "x_estimate": (estimated[:, 0], "m"),
        "y_estimate": (estimated[:, 1], "m"),
        "heading_estimate": (estimate.heading, "rad"),
        "position_error": (np.linalg.norm(estimated - position, axis=1), "m"),
        "heading_error": ((turned + np.pi) % (2 * np.pi) - np.pi, "rad"),
        "peb": (record.peb, "m"),
        "reb": (record.reb, "rad"),
        "snr": (record.snr, "1"),
        "reduced_chi2": (estimate.reduced_chi2, "1"),
        "eadr": (record.eadr, "bit/s"),
        "active_antennas": (record.active_antennas, "1"),
        "time_ratio": (record.time_ratio, "1"),
        "found": (found, "1"),
        "serving": (serving, "1"),
    }
    variables: dict[str, Any] = {
        name: ("period", np.asarray(values), {"units": unit})
        for name, (values, unit) in columns.items()
    }
    matrices = {"covariance": estimate.covariance, "bound_covariance": record.bound}
    variables |= {
        name: (("period", "axis", "axis_too"), np.asarray(matrix)[:, :2, :2], {"units": "m²"})
        for name, matrix in matrices.items()
    }
    for name, values in (("path_snr", path_snr), ("visible", visible)):
        variables[name] = (("period", "path"), values, {"units": "1"})
    return xr.Dataset(
        variables,
        {
            "period": ("period", np.arange(len(position)), {"units": "1"}),
            "axis": ["x", "y"],
            "axis_too": ["x", "y"],
            "path": [name.removeprefix("the ") for name in scenario.path_names],
        },
        {
            **provenance_of(scenario),
            "lost_periods": int(np.sum(~found)),
            "unreached_periods": int(np.sum(~visible.any(axis=1))),
            "handovers": int(np.sum(served[1:] != served[:-1])),
        },
    )
