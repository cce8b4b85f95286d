"""Search for a target over several dwells: `find_target`."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from numpy.typing import ArrayLike

from heliostat.api.arguments import checked_count, described, is_finite, public
from heliostat.protocol.search_region import Region, Scans, default_region
from heliostat.protocol.target_search import SearchRecord, find
from heliostat.scenario import SensingScenario, provenance_of
from heliostat.scenario.random_keys import purpose_key
from heliostat.scene.sensing import SensingScene

AXES = ["x", "y", "z"]


class SearchError(ValueError):
    """Raised if a search is not possible; the message contains a remedy."""


def snapshots_of(scenario: SensingScenario) -> int:
    """Return the number of whole symbols in each pattern of a surface."""
    return scenario.dwell.symbols // (len(scenario.surfaces) * scenario.dwell.patterns)


def whole_dwell(scenario: SensingScenario, scene: SensingScene) -> SensingScene:
    """Return the scene with a dwell of whole symbols in every pattern of every surface."""
    shares = len(scenario.surfaces) * scenario.dwell.patterns
    symbols = jnp.asarray(float(snapshots_of(scenario) * shares))
    return eqx.tree_at(lambda s: s.symbols, scene, symbols)


@public(SensingScenario)
def find_target(
    scenario: SensingScenario,
    dwells: int = 12,
    *,
    accuracy: float | None = None,
    region: ArrayLike | None = None,
    key: PRNGKeyArray | None = None,
) -> xr.Dataset:
    """Search a region for a target until its position is known to a given accuracy.

    The first dwell scans the region. After each dwell the position is estimated from all echoes
    together. If the estimate is accepted, the next dwell is focused, that is, designed for the
    estimate; otherwise the region is scanned again. The search ends when a focused dwell has
    confirmed the estimate and its standard deviation is small enough. The scenario's ``target`` is
    used only to simulate the echoes and to compute bounds and errors.

    Args:
        scenario: A sensing scenario with two surfaces or more. ``dwell.patterns`` and
            ``dwell.min_snr`` apply to each dwell; a minimum SNR that cannot be reached is lowered.
        dwells: Maximum number of dwells.
        accuracy: Standard deviation of the position (square root of the sum of the variances of x,
            y and z) at which the search ends; 0 to use all dwells. Default the bound of one dwell
            designed for the target's true position. [m]
        region: Search region: lowest and highest x, y and z, [3, 2]; default a box in front of the
            surfaces, whose size is their distance to the base station. [m]
        key: Key of the noise; default ``link.seed``.

    Returns:
        One entry for each dwell, with units in the attributes:

        - ``kind``: "scan" or "focused";
        - ``x_estimate``, ``y_estimate``, ``z_estimate``, ``position_error``, and the estimated
          ``position_std`` and ``covariance``; without an estimate, the center of the region with an
          infinite standard deviation;
        - ``energy_consistent``: whether the echoes had the predicted energy; ``found``: whether the
          estimate is accepted; ``confirmed``: whether it is accepted after a focused dwell;
        - ``bound``: position error bound of all dwells so far; ``known_target_bound``: that of as
          many dwells designed for the true position; ``excess_db``: the ratio of their squares;
        - ``worst_crb`` and ``snr`` of this dwell alone at the true position; ``reduced_chi2``,
          ``second_echo_p_value`` and ``detected`` of the estimate at each surface.

        Attributes: ``dwells_needed``, the number of dwells until the accuracy was reached (0 if it
        was not); ``dwells_known_target``, the number for a known target position; ``lost_dwells``,
        the number of dwells without an accepted estimate; and ``inconsistent_dwells``, the number
        of focused dwells among these.

    Raises:
        TypeError: The scenario is not a sensing scenario.
        SearchError: An argument is out of range, the scenario has one surface only, or the
            target's position is not identifiable.
    """
    dwells = checked_count("dwells", dwells, most=1000, error=SearchError)
    if accuracy is not None and not (is_finite(accuracy) and accuracy >= 0):
        raise SearchError(
            f"accuracy is {described(accuracy)}; it must be a finite length, 0 or more."
        )
    if len(scenario.surfaces) < 2:
        raise SearchError(f"{scenario.name} has 1 surface; a position needs 2 or more.")
    scene = whole_dwell(scenario, scenario.build())
    box = default_region(scene) if region is None else _box(region)
    try:
        search = find(
            scene,
            Scans(scene, box, scenario.dwell.patterns),
            dwells,
            snapshots_of(scenario),
            scenario.dwell.required_snr,
            accuracy,
            purpose_key(scenario.link.seed if key is None else key, "noise"),
        )
    except ValueError as error:
        raise SearchError(f"{scenario.name}: {error}.") from None
    return _dataset(scenario, scene, box, search)


def _box(given: ArrayLike) -> Region:
    ends = np.asarray(given, dtype=float)
    if ends.shape != (3, 2):
        raise SearchError(
            f"region has the shape {ends.shape}; it needs (3, 2): lowest and highest x, y and z."
        )
    if not np.isfinite(ends).all():
        raise SearchError("region contains numbers that are not finite.")
    for name, (low, high) in zip(AXES, ends, strict=True):
        if not low < high:
            raise SearchError(
                f"region goes from {low:g} to {high:g} in {name}; the second must be larger."
            )
    return Region(jnp.asarray(ends[:, 0]), jnp.asarray(ends[:, 1]))


def _dataset(
    scenario: SensingScenario, scene: SensingScene, box: Region, search: SearchRecord
) -> xr.Dataset:
    records = search.records
    truth = np.asarray(scene.target.position)
    place = np.stack([np.asarray(r.fix.position) for r in records])
    deviation = np.array([float(r.fix.std) for r in records])
    error = np.linalg.norm(place - truth, axis=1)
    bound = np.array([r.bound for r in records])
    count = np.arange(1, len(records) + 1)
    known = search.known_bound / np.sqrt(count)
    columns: dict[str, Any] = {
        "kind": (["focused" if r.focused else "scan" for r in records], "1"),
        **{f"{axis}_estimate": (place[:, i], "m") for i, axis in enumerate(AXES)},
        "position_error": (np.where(np.isfinite(deviation), error, math.inf), "m"),
        "position_std": (deviation, "m"),
        "bound": (bound, "m"),
        "known_target_bound": (known, "m"),
        "excess_db": (20 * np.log10(bound / known), "dB"),
        "worst_crb": ([r.worst_crb for r in records], "rad²"),
        "energy_consistent": ([r.energy_consistent for r in records], "1"),
        "found": ([r.found for r in records], "1"),
        "confirmed": ([r.confirmed for r in records], "1"),
    }
    variables: dict[str, Any] = {
        name: ("dwell", np.asarray(values), {"units": unit})
        for name, (values, unit) in columns.items()
    }
    each = {
        "snr": ([r.snr for r in records], "1"),
        "reduced_chi2": ([np.asarray(r.fix.reduced_chi2) for r in records], "1"),
        "second_echo_p_value": ([np.asarray(r.fix.second_echo_p_value) for r in records], "1"),
        "detected": ([np.asarray(r.fix.detected) for r in records], "1"),
    }
    variables |= {
        name: (("dwell", "surface"), np.stack(values), {"units": unit})
        for name, (values, unit) in each.items()
    }
    covariance = np.stack([np.asarray(r.fix.covariance) for r in records])
    variables["covariance"] = (("dwell", "axis", "axis_too"), covariance, {"units": "m²"})
    focused = np.array([r.focused for r in records])
    found = np.array([r.found for r in records])
    goal = search.accuracy
    enough = math.ceil((search.known_bound / goal) ** 2 * (1 - 1e-12)) if goal > 0 else 0
    return xr.Dataset(
        variables,
        {
            "dwell": ("dwell", count, {"units": "1"}),
            "surface": np.arange(scene.n_surfaces),
            "axis": AXES,
            "axis_too": AXES,
        },
        {
            **provenance_of(scenario),
            "target": truth,
            "region_low": np.asarray(box.low),
            "region_high": np.asarray(box.high),
            "target_in_region": int(bool(box.contains(scene.target.position))),
            "accuracy": goal,
            "dwells_needed": len(records) if search.met else 0,
            "dwells_known_target": max(enough, 1) if goal > 0 else 0,
            "inconsistent_dwells": int(np.sum(focused & ~found)),
            "lost_dwells": int(np.sum(~found)),
        },
    )
