"""The public function that looks for a target over many dwells."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from numpy.typing import ArrayLike

from heliostat._version import __version__
from heliostat.protocol.search_region import Region, Scans, region_ahead
from heliostat.protocol.target_search import Course, find
from heliostat.scenario import AnyScenario, SensingScenario, of_system
from heliostat.scenario.random_keys import purpose_key
from heliostat.scene.sensing import SensingScene

AXES = ["x", "y", "z"]
UNITS = {
    "kind": "1",
    "x_estimate": "m",
    "y_estimate": "m",
    "z_estimate": "m",
    "position_error": "m",
    "position_std": "m",
    "bound": "m",
    "known_target_bound": "m",
    "cost_of_ignorance": "dB",
    "worst_crb": "rad²",
    "kept": "1",
    "found": "1",
    "confirmed": "1",
    "covariance": "m²",
    "snr": "1",
    "reduced_chi2": "1",
    "detected": "1",
}


class SearchError(ValueError):
    """A target cannot be looked for; the message tells what to do instead."""


def snapshots_of(scenario: SensingScenario) -> int:
    """Whole symbols that each surface has for each of its patterns.

    Args:
        scenario: A loaded scenario.
    """
    return scenario.dwell.symbols // (len(scenario.surfaces) * scenario.dwell.patterns)


def whole_dwell(scenario: SensingScenario, scene: SensingScene) -> SensingScene:
    """The scene with a dwell of whole symbols in every pattern of every surface.

    Args:
        scenario: What it was built from.
        scene: The scene.
    """
    shares = len(scenario.surfaces) * scenario.dwell.patterns
    symbols = jnp.asarray(float(snapshots_of(scenario) * shares))
    return eqx.tree_at(lambda s: s.symbols, scene, symbols)


def find_target(
    scenario: AnyScenario,
    dwells: int = 12,
    *,
    accuracy: float | None = None,
    region: ArrayLike | None = None,
    key: PRNGKeyArray | None = None,
) -> xr.Dataset:
    """Look for a target that may be anywhere in a region, until it is known well enough.

    The first dwell scans the region. After each, the position is estimated from the echoes of all
    dwells together; while it is believed, the next dwell is designed for it, else the region is
    scanned again. It ends when a place that was aimed at has answered as it should and the believed
    standard deviation is small enough. The scenario's ``target`` makes the echoes and the bounds
    that errors are held against; the receiver does not use it.

    Args:
        scenario: A loaded sensing scenario of two surfaces or more; its ``dwell.patterns`` and
            ``dwell.min_snr`` hold for each dwell, the latter as far as it can be kept.
        dwells: At most so many.
        accuracy: Standard deviation of the position, all coordinates together, at which to end; 0
            to go on to the last dwell. Default the bound of a single dwell that is designed for
            the target's true place. [m]
        region: Where the target may be, lowest and highest x, y and z, [3, 2]; default a box before
            the surfaces, as large as their distance to the base station. [m]
        key: Of the noise; default ``link.seed``.

    Returns:
        One entry a dwell: what was done, estimate, error, believed deviation, the bound by all that
        was sent so far and the one that dwells designed for the true place would have. Where there
        is no estimate the region's middle stands, with an infinite deviation. Units are in the
        attributes, with what it came to: ``dwells_needed`` (0 if the accuracy was not met),
        ``dwells_known_target`` for the same accuracy, ``wrong_beliefs``, ``lost_dwells``.

    Raises:
        TypeError: The scenario is not one of sensing.
        SearchError: An argument is out of range, the scenario has one surface only, or it cannot
            tell where its target is at all.
    """
    scenario = of_system(scenario, SensingScenario, "find_target")
    if isinstance(dwells, bool) or not float(dwells).is_integer() or not 1 <= dwells <= 1000:
        raise SearchError(f"dwells is {dwells}; it takes a whole number from 1 to 1000.")
    if accuracy is not None and not 0 <= accuracy < math.inf:
        raise SearchError(f"accuracy is {accuracy}; it takes a finite length, 0 or more.")
    if len(scenario.surfaces) < 2:
        raise SearchError(f"{scenario.name} has 1 surface; lines of sight meet from 2 on.")
    scene = whole_dwell(scenario, scenario.build())
    box = region_ahead(scene) if region is None else _box(region)
    try:
        course = find(
            scene,
            Scans(scene, box, scenario.dwell.patterns),
            int(dwells),
            snapshots_of(scenario),
            scenario.dwell.least_snr,
            accuracy,
            purpose_key(scenario.link.seed if key is None else key, "noise"),
        )
    except ValueError as error:
        raise SearchError(f"{scenario.name}: {error}.") from None
    return _dataset(scenario, scene, box, course)


def _box(given: ArrayLike) -> Region:
    ends = np.asarray(given, dtype=float)
    if ends.shape != (3, 2):
        raise SearchError(
            f"region has the shape {ends.shape}; it takes (3, 2): lowest and highest x, y and z."
        )
    if not np.isfinite(ends).all():
        raise SearchError("region holds numbers that are not finite.")
    for name, (low, high) in zip(AXES, ends, strict=True):
        if not low < high:
            raise SearchError(
                f"region goes from {low:g} to {high:g} in {name}; the second has to be larger."
            )
    return Region(jnp.asarray(ends[:, 0]), jnp.asarray(ends[:, 1]))


def _dataset(
    scenario: SensingScenario, scene: SensingScene, box: Region, course: Course
) -> xr.Dataset:
    records = course.records
    truth = np.asarray(scene.target.position)
    place = np.stack([np.asarray(r.fix.position) for r in records])
    deviation = np.array([float(r.fix.std) for r in records])
    error = np.linalg.norm(place - truth, axis=1)
    bound = np.array([r.bound for r in records])
    count = np.arange(1, len(records) + 1)
    known = course.known_bound / np.sqrt(count)
    columns: dict[str, Any] = {
        "kind": ["aim" if r.aimed else "scan" for r in records],
        **{f"{axis}_estimate": place[:, i] for i, axis in enumerate(AXES)},
        "position_error": np.where(np.isfinite(deviation), error, math.inf),
        "position_std": deviation,
        "bound": bound,
        "known_target_bound": known,
        "cost_of_ignorance": 20 * np.log10(bound / known),
        "worst_crb": [r.worst_crb for r in records],
        "kept": [r.kept for r in records],
        "found": [r.found for r in records],
        "confirmed": [r.confirmed for r in records],
    }
    variables: dict[str, Any] = {
        name: ("dwell", np.asarray(values), {"units": UNITS[name]})
        for name, values in columns.items()
    }
    each = {
        "snr": [r.snr for r in records],
        "reduced_chi2": [np.asarray(r.fix.reduced_chi2) for r in records],
        "detected": [np.asarray(r.fix.detected) for r in records],
    }
    variables |= {
        name: (("dwell", "surface"), np.stack(values), {"units": UNITS[name]})
        for name, values in each.items()
    }
    covariance = np.stack([np.asarray(r.fix.covariance) for r in records])
    variables["covariance"] = (("dwell", "axis", "axis_too"), covariance, {"units": "m²"})
    aimed = np.array([r.aimed for r in records])
    found = np.array([r.found for r in records])
    goal = course.accuracy
    enough = math.ceil((course.known_bound / goal) ** 2 * (1 - 1e-12)) if goal > 0 else 0
    return xr.Dataset(
        variables,
        {
            "dwell": ("dwell", count, {"units": "1"}),
            "surface": np.arange(scene.n_surfaces),
            "axis": AXES,
            "axis_too": AXES,
        },
        {
            "scenario": scenario.name,
            "scenario_text": scenario.dump(),
            "heliostat_version": __version__,
            "target": truth,
            "region_low": np.asarray(box.low),
            "region_high": np.asarray(box.high),
            "target_in_region": int(bool(box.holds(scene.target.position))),
            "accuracy": goal,
            "dwells_needed": len(records) if course.met else 0,
            "dwells_known_target": max(enough, 1) if goal > 0 else 0,
            "wrong_beliefs": int(np.sum(aimed & ~found)),
            "lost_dwells": int(np.sum(~found)),
        },
    )
