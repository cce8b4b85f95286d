r"""A target looked for, dwell after dwell: scan, estimate, aim, until it is known well enough.

The designs of `design.cooperative` are for a place, and the place is what is to be found. Each
dwell is therefore one of two kinds:

* a *scan* serves a region in which the target may be: a design for a few places of it, others in
  every scan, so that what one leaves in the dark another lights;
* an *aim* is the design for the place that is believed, with the gains that were estimated there.

After each dwell the position is estimated anew from all echoes together (`hearing`). It is believed
where lines of sight of two surfaces or more meet within their errors, inside the region. An aim
promises an echo of known energy. Where it falls short the belief was wrong, a side lobe or a
ghost; it is dropped and the next dwell scans. Such dwells are counted, not hidden. A place counts
as confirmed once an aim at it has kept its promise, and nothing ends before.

With n dwells that are all designed for the true place the bound falls with :math:`1/\sqrt n`; by
how much the bound of what was really sent lies above that is what ignorance costs.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from heliostat.design.joint_descent import descend_jointly
from heliostat.estimation.peak_search import FALSE_ALARM
from heliostat.geometry.frames import Vector
from heliostat.protocol.multi_dwell import (
    PositionFix,
    Reception,
    dwell_bounds,
    locate,
    matched_energy,
    simulate_dwell,
    transmission_of,
)
from heliostat.protocol.search_region import DwellDesign, Scans, design_of, region_grids
from heliostat.scene.sensing import SensingScene

STARTS = 2
"""Random starts of an aim, for each surface; a complete design has more, and a certificate."""
SNR_SHARES = (1.0, 0.25, 0.0625, 0.0)
"""Shares of the least SNR that an aim tries to keep, the first that can be."""
MIN_ENERGY_SHARE = 0.25
"""Share of the promised energy that an echo must have."""
REUSE_FACTOR = 1.02
"""A design is reused while its bound at what is now believed is no more than so many times that at
what it was made for."""


class DwellRecord(NamedTuple):
    """What happened in one dwell, and what is believed after it."""

    focused: bool  # else it scanned
    fix: PositionFix
    energy_consistent: bool  # what an aim promised was heard; True for scans
    found: bool  # the estimate is believed
    confirmed: bool  # and an aim at the place before it was consistent
    bound: float  # on the position's error, by all that was sent so far [m]
    worst_crb: float  # of this dwell alone, at the true place [rad²]
    snr: np.ndarray  # of this dwell's echoes at the true place, by surface [1]


class SearchRecord(NamedTuple):
    """All dwells, and what they are measured against."""

    records: list[DwellRecord]
    known_bound: float  # position bound of one dwell that is designed for the true place [m]
    accuracy: float  # that was asked for [m]

    @property
    def met(self) -> bool:
        """Whether the accuracy was reached."""
        return bool(self.records) and _reached(self.records[-1], self.accuracy)


def _reached(record: DwellRecord, accuracy: float) -> bool:
    return record.confirmed and float(record.fix.std) <= accuracy


# What is done ------------------------------------------------------------------------------------


def design_dwell(scene: SensingScene, patterns: int, min_snr: float, seed: int) -> DwellDesign:
    """The design for the place and the gains of a scene, by few starts and without a certificate.

    Where the least SNR cannot be met, as much of it as can (`SNR_SHARES`).

    Args:
        scene: The scene, its target where it is believed.
        patterns: How many each surface goes through.
        min_snr: Least SNR of every echo. [1]
        seed: Of the starts.

    Raises:
        ValueError: No design tells both angles at every surface.
    """
    best = None
    for share in SNR_SHARES:
        course = descend_jointly(
            (scene,),
            patterns=patterns,
            mean=False,
            min_snr=share * min_snr,
            starts=STARTS,
            seed=seed,
        )
        best = course.best
        if best is not None or min_snr == 0:
            break
    return design_of(best)


# The loop ----------------------------------------------------------------------------------------


def estimated_scene(scene: SensingScene, fix: PositionFix) -> SensingScene:
    """The scene as it is believed to be, with the gains that were estimated.

    A surface that heard nothing is given the gain that the loudest one's distance tells.

    Args:
        scene: Its fixed parts.
        fix: What is believed.
    """
    anchors = jnp.stack([s.position for s in scene.surfaces])
    square = jnp.sum((anchors - fix.position[None, :]) ** 2, axis=1)
    echo = jnp.max(jnp.where(fix.detected, jnp.abs(fix.target_gain) * square, 0.0))
    return scene.with_target(
        fix.position, jnp.where(fix.detected, fix.target_gain, (echo / square).astype(complex))
    )


class _FocusedDesign(NamedTuple):
    """A design and the belief that it was made for."""

    design: DwellDesign
    place: Vector


def _focused_design(
    scene: SensingScene, last: _FocusedDesign | None, patterns: int, min_snr: float, snapshots: int
) -> _FocusedDesign:
    """The design for what is believed; the last one while it is as good here as where it was made.

    Args:
        scene: As it is believed to be.
        last: The last design.
        patterns: How many each surface goes through.
        min_snr: Least SNR. [1]
        snapshots: In each pattern.
    """
    here = scene.target.position
    if last is not None:
        bounds = [
            float(dwell_bounds(at, [transmission_of(last.design, snapshots)]).bound)
            for at in (scene, scene.with_target(last.place, scene.target_gain))
        ]
        if bounds[0] <= REUSE_FACTOR * bounds[1]:
            return last
    return _FocusedDesign(design_dwell(scene, patterns, min_snr, seed=0), here)


def known_target_bound(scene: SensingScene, patterns: int, min_snr: float, snapshots: int) -> float:
    """Position bound of one dwell that is designed for the true place, as the loop designs. [m]

    Args:
        scene: As it is.
        patterns: How many each surface goes through.
        min_snr: Least SNR. [1]
        snapshots: In each pattern.

    Raises:
        ValueError: As `design_dwell`.
    """
    design = design_dwell(scene, patterns, min_snr, seed=0)
    return float(dwell_bounds(scene, [transmission_of(design, snapshots)]).bound)


def find(
    scene: SensingScene,
    scans: Scans,
    dwells: int,
    snapshots: int,
    min_snr: float,
    accuracy: float | None,
    key: PRNGKeyArray,
) -> SearchRecord:
    """Dwells until the position is known, by what is believed, to an accuracy.

    Args:
        scene: As it is; nothing but its fixed parts is used other than to make echoes and bounds.
            Its symbols are as many as the snapshots of all surfaces and patterns.
        scans: What serves the region while nothing is believed.
        dwells: At most so many.
        snapshots: In each pattern.
        min_snr: Least SNR that aims keep. [1]
        accuracy: Standard deviation of the position, all three coordinates together, at which to
            end; 0 never does. Default the bound of one dwell designed for the true place. [m]
        key: Of all noise.

    Raises:
        ValueError: As `design_dwell` and `sample_positions`; or not even a design for the true place
            tells where the target is.
    """
    grids = region_grids(scene, scans.region)
    known = known_target_bound(scene, scans.patterns, min_snr, snapshots)
    if not math.isfinite(known):
        raise ValueError(
            "whatever is sent tells nothing of the target's position: it is in line with the "
            "surfaces, or they cannot tell both angles; move a surface, or use more patterns"
        )
    goal = known if accuracy is None else accuracy
    heard: list[Reception] = []
    records: list[DwellRecord] = []
    belief: PositionFix | None = None
    last: _FocusedDesign | None = None
    scanned = 0
    for number in range(dwells):
        promised = None
        if belief is None:
            sent, scanned = transmission_of(scans[scanned], snapshots), scanned + 1
        else:
            there = estimated_scene(scene, belief)
            last = _focused_design(there, last, scans.patterns, min_snr, snapshots)
            sent = transmission_of(last.design, snapshots)
            promised = np.asarray(dwell_bounds(there, [sent]).snr)
        heard.append(simulate_dwell(scene, sent, jax.random.fold_in(key, number)))
        fix = locate(scene, heard, grids, scans.region)
        energy_consistent = promised is None or _energy_consistent(scene, heard[-1], fix, promised)
        found = energy_consistent and bool(fix.consistent)
        alone = dwell_bounds(scene, [sent])
        records.append(
            DwellRecord(
                promised is not None,
                fix,
                energy_consistent,
                found,
                found and promised is not None,
                float(dwell_bounds(scene, [each.transmission for each in heard]).bound),
                float(alone.worst_crb),
                np.asarray(alone.snr),
            )
        )
        belief = fix if found else None
        if _reached(records[-1], goal):
            break
    return SearchRecord(records, known, goal)


def _energy_consistent(
    scene: SensingScene, heard: Reception, fix: PositionFix, promised: np.ndarray
) -> bool:
    """Whether the echoes of an aim have the energy that was promised.

    A promise that noise alone could keep binds nobody.
    """
    energy = np.asarray(matched_energy(scene, heard, fix.angles))
    binding = MIN_ENERGY_SHARE * promised > -math.log(FALSE_ALARM)
    return bool((energy >= MIN_ENERGY_SHARE * promised)[binding].all())
