"""The public function that runs the working process over many periods."""

import csv
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from heliostat._version import __version__
from heliostat.api.localization import NotIdentifiableError, allocate_time, build, chosen_antennas
from heliostat.estimation.pose import place_grid
from heliostat.observation.pilots import band_bins
from heliostat.protocol.errors import ErrorLevels
from heliostat.protocol.tracking import PeriodRecord, Weighing, believed, discs, run_loop
from heliostat.scenario import AnyScenario, LocalizationScenario, of_system
from heliostat.scenario.random_keys import purpose_key
from heliostat.scene.localization import LocalizationScene
from heliostat.surface.passive import Steered
from heliostat.units import SPEED_OF_LIGHT, quote

WEIGHT = 1e-10
"""What a bit/s is worth where nobody says: the weight of the paper's figures. [(m + rad) s/bit]"""
FARTHEST = 1e4
"""A user further from the surface than this is refused: nothing is heard there. [m]"""
UNITS = {
    "x": "m",
    "y": "m",
    "heading": "rad",
    "x_estimate": "m",
    "y_estimate": "m",
    "heading_estimate": "rad",
    "position_error": "m",
    "heading_error": "rad",
    "covariance": "m²",
    "bound_covariance": "m²",
    "peb": "m",
    "reb": "rad",
    "snr": "1",
    "reduced_chi2": "1",
    "eadr": "bit/s",
    "active_antennas": "1",
    "time_ratio": "1",
    "detected": "1",
}


class TrackError(ValueError):
    """A user cannot be followed; the message tells what to do instead."""


def read_track(file: str | Path) -> np.ndarray:
    """A recorded walk: x and y in metres and, if the file has it, ``heading_deg``; a row a period.

    Args:
        file: CSV with a header.

    Returns:
        [period, 3]: x [m], y [m], heading [rad], NaN where the file has none.

    Raises:
        TrackError: The file cannot be read, lacks a column, or holds something else than numbers;
            the line is named.
    """
    name = str(file)
    try:
        with Path(file).open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened, skipinitialspace=True)
            if not {"x", "y"} <= set(reader.fieldnames or ()):
                raise TrackError(
                    f"{name}: has no columns x and y; its first line names the columns, e.g. "
                    "x,y,heading_deg."
                )
            track = [_place(row, f"{name}:{reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is not CSV text"
        raise TrackError(f"{name}: cannot be read ({reason}); give a CSV file.") from None
    if not track:
        raise TrackError(f"{name}: has no places; write one in each line below the first.")
    return np.asarray(track)


def _place(row: dict[str, str | None], line: str) -> list[float]:
    """x, y [m] and heading [rad] of one line."""
    place = []
    for column in ("x", "y", "heading_deg"):
        told = row.get(column)
        if column == "heading_deg" and told in (None, ""):
            place.append(math.nan)
            continue
        try:
            value = float(told or "")
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            unit = "degrees" if column == "heading_deg" else "metres"
            said = "nothing" if told is None else quote(told)
            raise TrackError(f"{line}: {column} is {said}; write a number, in {unit}.")
        place.append(math.radians(value) if column == "heading_deg" else value)
    return place


def run_protocol(
    scenario: AnyScenario,
    periods: int = 50,
    *,
    mobility: float | None = None,
    track: ArrayLike | None = None,
    weight: float | None = None,
    balance: float | None = None,
    invented_errors: bool = False,
    bins: int | None = None,
    key: PRNGKeyArray | None = None,
) -> xr.Dataset:
    r"""The working process, localization paper Fig. 3, on what is really estimated.

    In each period the surface sweeps around where the user is expected, the user estimates its pose
    from noisy pilots, data flow with the surface focused on the estimate, and the next period's
    time is shared by what is believed. Where the pilots do not stand out of the noise, do not tell
    one place from another, or the data have another SNR than the estimate promised, the user is
    lost and searched for.

    Args:
        scenario: A loaded localization scenario with designed phases. Its user is where the walk
            begins, and known to be there.
        periods: How many; with a track at most its length.
        mobility: The user jumps anywhere within a disc of this radius from period to period, paper
            eq. (1); default ``errors.mobility``. [m]
        track: Where the user is instead, see `read_track`. [period, 2 or 3]
        weight: The paper's :math:`\xi`, as for `allocate_time`; default `WEIGHT` unless ``balance``
            is given.
        balance: Instead of a weight, as for `allocate_time`.
        invented_errors: Put the papers' uniform errors, the scenario's ``errors``, in place of
            estimates.
        bins: Frequencies of the pilots; default 16, or as many more as it takes to tell distances
            apart up to twice the user's.
        key: Of jumps and noise; default ``link.seed``.

    Returns:
        One entry a period: truth, estimate, errors, bounds, SNR, rate, allocation, whether the user
        was found. Units are in the attributes. ``lost_periods`` counts those without.

    Raises:
        TypeError: The scenario is not one of localization.
        TrackError: Phases are not designed, an argument is out of range, or the user is behind the
            surface or out of reach.
    """
    scenario = of_system(scenario, LocalizationScenario, "run_protocol")
    if isinstance(periods, bool) or not float(periods).is_integer() or periods < 1:
        raise TrackError(f"periods is {periods}; it takes a whole number from 1 on.")
    if mobility is not None and track is not None:
        raise TrackError("mobility and track are both given; leave one out.")
    if mobility is not None and not 0 <= mobility < math.inf:
        raise TrackError(f"mobility is {mobility}; it takes a finite radius, 0 or more.")
    scene = build(scenario)
    if not isinstance(scene.surface.alignment, Steered):
        raise TrackError(
            "surface.phases or surface.bits of this scenario set the surface for one place; the "
            "process steers it, so leave phases designed and bits out."
        )
    root = scenario.link.seed if key is None else key
    errors = scenario.errors
    walk = np.asarray([scenario.user.position[:2]]) if track is None else np.asarray(track)
    positions, headings = _walk(scene, walk[: int(periods)].astype(float))
    offset = np.asarray(positions) - np.asarray(scene.surface.position)
    distance = float(np.linalg.norm(offset, axis=1).max())
    bins = _bins(scene, distance) if bins is None else bins
    grid = place_grid(scene, bins)
    farthest = float(grid.distance[-1])
    if distance > farthest:
        raise TrackError(
            f"The user is up to {distance:.4g} m from the surface, {bins} bins tell distances "
            f"apart up to {farthest:.4g} m; give more bins."
        )
    if track is None:
        motion = purpose_key(root, "motion")
        radius = jnp.asarray(errors.mobility if mobility is None else float(mobility))
        positions = discs(scene, radius, int(periods), jnp.asarray(farthest), motion)
        headings = jnp.full(len(positions), scene.user.heading)
    if weight is None and balance is None:
        weight = WEIGHT
    first = scene.with_user(positions[0], headings[0])
    antennas = _first_antennas(scenario, weight, balance)
    start = believed(positions[0], headings[0], antennas)
    value = jnp.asarray(weight if balance is None else balance, dtype=float)
    levels = None
    if invented_errors:
        sizes = (errors.position, errors.heading, 0.0, errors.gain_variance)
        levels = ErrorLevels(*(jnp.asarray(float(size)) for size in sizes))
    record = run_loop(
        first,
        start,
        positions,
        headings,
        band_bins(scene.link.bandwidth, bins),
        grid,
        Weighing(value, balance is not None),
        purpose_key(root, "noise"),
        levels,
    )
    return _dataset(scenario, record)


def _first_antennas(
    scenario: LocalizationScenario, weight: float | None, balance: float | None
) -> int:
    """For the first period, by the scenario itself; a few where that has no bound."""
    try:
        return allocate_time(scenario, weight, balance=balance).active_antennas
    except NotIdentifiableError:
        return min(4, int(chosen_antennas(scenario, None)))


def _bins(scene: LocalizationScene, distance: float) -> int:
    """So many that delays tell distances apart to twice the farthest, and at least 16."""
    resolution = SPEED_OF_LIGHT / float(scene.link.bandwidth)
    return max(16, math.ceil(2 * distance / resolution))


def _walk(scene: LocalizationScene, track: np.ndarray) -> tuple[Array, Array]:
    """Positions and headings, all in front of the surface."""
    if track.ndim != 2 or track.shape[1] not in (2, 3) or not len(track):
        raise TrackError(
            f"track has the shape {track.shape}; it takes (periods, 2) or (periods, 3)."
        )
    if not np.isfinite(track[:, :2]).all() or np.isinf(track[:, 2:]).any():
        raise TrackError("track holds numbers that are not finite.")
    height = float(scene.user.position[2])
    positions = np.column_stack([track[:, :2], np.full(len(track), height)])
    offset = positions - np.asarray(scene.surface.position)
    distance = np.hypot(np.hypot(offset[:, 0], offset[:, 1]), offset[:, 2])
    behind = offset @ np.asarray(scene.surface.array.normal) <= 1e-3 * distance
    for trouble, why in (
        (behind, "is behind the surface"),
        (distance > FARTHEST, f"is over {FARTHEST:g} m from the surface"),
    ):
        if trouble.any():
            at = int(np.argmax(trouble))
            x, y = track[at, :2]
            raise TrackError(f"track: place {at + 1}, ({x:g}, {y:g}), {why}; leave it out.")
    headings = np.full(len(track), float(scene.user.heading))
    if track.shape[1] == 3:
        headings = np.where(np.isnan(track[:, 2]), headings, track[:, 2])
    return jnp.asarray(positions), jnp.asarray(headings)


def _dataset(scenario: LocalizationScenario, record: PeriodRecord) -> xr.Dataset:
    estimate = record.estimate
    position, found = np.asarray(record.position), np.asarray(estimate.position)
    turned = np.asarray(estimate.heading - record.heading)
    columns = {
        "x": position[:, 0],
        "y": position[:, 1],
        "heading": record.heading,
        "x_estimate": found[:, 0],
        "y_estimate": found[:, 1],
        "heading_estimate": estimate.heading,
        "position_error": np.linalg.norm(found - position, axis=1),
        "heading_error": (turned + np.pi) % (2 * np.pi) - np.pi,
        "peb": record.peb,
        "reb": record.reb,
        "snr": record.snr,
        "reduced_chi2": estimate.reduced_chi2,
        "eadr": record.eadr,
        "active_antennas": record.active_antennas,
        "time_ratio": record.time_ratio,
        "detected": record.detected,
    }
    variables: dict[str, Any] = {
        name: ("period", np.asarray(values), {"units": UNITS[name]})
        for name, values in columns.items()
    }
    matrices = {"covariance": estimate.covariance, "bound_covariance": record.bound}
    variables |= {
        name: (
            ("period", "axis", "axis_too"),
            np.asarray(matrix)[:, :2, :2],
            {"units": UNITS[name]},
        )
        for name, matrix in matrices.items()
    }
    detected = np.asarray(record.detected)
    return xr.Dataset(
        variables,
        {
            "period": ("period", np.arange(len(position)), {"units": "1"}),
            "axis": ["x", "y"],
            "axis_too": ["x", "y"],
        },
        {
            "scenario": scenario.name,
            "scenario_text": scenario.dump(),
            "heliostat_version": __version__,
            "lost_periods": int(np.sum(~detected)),
        },
    )
