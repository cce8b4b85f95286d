r"""Search for a target over several dwells: scan, estimate, design for the estimate.

The designs of `design.cooperative` need the target's position, which is unknown at first. Each
dwell is therefore one of two kinds:

* a *scan* is designed for several positions of the search region, different ones in every scan;
* a *focused* dwell is designed for the estimated position and gains.

After each dwell the position is estimated from all echoes together (`multi_dwell`). The estimate is
accepted if the lines of sight of two surfaces or more intersect, within their errors, inside the
region. The next dwell is then focused, and the energy of its echoes is predicted. If the received
energy is much smaller, the estimate was wrong, e.g. in a side lobe: it is rejected, and the next
dwell is a scan. An estimate is confirmed if the echoes of the focused dwell designed for it had the
predicted energy. The search does not end without a confirmed estimate, except after the last dwell.

With n dwells that are all designed for the true position the position bound decreases as
:math:`1/\sqrt n`. The excess of the actual bound over this one is the loss caused by the unknown
position.
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
from heliostat.protocol.search_region import DwellDesign, Scans, region_grids
from heliostat.scene.sensing import SensingScene

STARTS = 2
"""Number of random starts per surface for the design of a focused dwell; a complete design has
more."""
SNR_SHARES = (1.0, 0.25, 0.0625, 0.0)
"""Shares of the minimum SNR that the design of a focused dwell tries, the largest first."""
MIN_ENERGY_SHARE = 0.25
"""Smallest consistent ratio of an echo's energy to its predicted energy."""
REUSE_FACTOR = 1.02
"""A design is reused as long as its bound at the new estimate is at most this factor times that at
the estimate for which it was made."""


class DwellRecord(NamedTuple):
    """Outcome of one dwell."""

    focused: bool  # otherwise a scan
    fix: PositionFix
    energy_consistent: bool  # whether the echoes had the predicted energy; True for scans
    found: bool  # whether the estimate is accepted
    confirmed: bool  # accepted after a focused dwell
    bound: float  # position error bound from all dwells so far [m]
    worst_crb: (
        float  # largest CRB of a direction at the true position, from this dwell alone [rad²]
    )
    snr: np.ndarray  # SNR of this dwell's echoes at the true position, by surface [1]


class SearchRecord(NamedTuple):
    """Outcome of a search."""

    records: list[DwellRecord]
    known_bound: float  # position error bound of one dwell designed for the true position [m]
    accuracy: float  # requested standard deviation [m]

    @property
    def met(self) -> bool:
        """Whether the accuracy was reached."""
        return bool(self.records) and _reached(self.records[-1], self.accuracy)


def _reached(record: DwellRecord, accuracy: float) -> bool:
    return record.confirmed and float(record.fix.std) <= accuracy


def design_dwell(scene: SensingScene, patterns: int, min_snr: float) -> DwellDesign:
    """Design one dwell for the target's position and gains, from few starts, without a certificate.

    If no design reaches the minimum SNR, the largest of `SNR_SHARES` that can be reached is used.

    Args:
        scene: The scene with the target to design for.
        patterns: Number of patterns of each surface.
        min_snr: Minimum SNR of every echo. [1]

    Raises:
        ValueError: No design was found.
    """
    for share in SNR_SHARES:
        search = descend_jointly(
            (scene,),
            patterns=patterns,
            mean=False,
            min_snr=share * min_snr,
            starts=STARTS,
            seed=0,
        )
        if search.best is not None or min_snr == 0:
            break
    # An estimated target may lie where no surface can estimate both angles; the dwell still helps.
    best = search.result() if search.best is None else search.best
    return DwellDesign(tuple(best.covariance), best.reflection)


def estimated_scene(scene: SensingScene, fix: PositionFix) -> SensingScene:
    """The scene with the estimated target position and gains.

    A surface without a detected echo is assigned the strongest detected gain, scaled by the squared
    ratio of the distances.

    Args:
        scene: The scene; its target and gains are not used.
        fix: The estimate.
    """
    anchors = jnp.stack([s.position for s in scene.surfaces])
    square = jnp.sum((anchors - fix.position[None, :]) ** 2, axis=1)
    echo = jnp.max(jnp.where(fix.detected, jnp.abs(fix.target_gain) * square, 0.0))
    return scene.with_target(
        fix.position, jnp.where(fix.detected, fix.target_gain, (echo / square).astype(complex))
    )


class _FocusedDesign(NamedTuple):
    """A design and the position that it was made for."""

    design: DwellDesign
    position: Vector


def _focused_design(
    scene: SensingScene, last: _FocusedDesign | None, patterns: int, min_snr: float, snapshots: int
) -> _FocusedDesign:
    """The last design while `REUSE_FACTOR` allows it, otherwise a new one for the estimate."""
    here = scene.target.position
    if last is not None:
        bounds = [
            float(dwell_bounds(at, [transmission_of(last.design, snapshots)]).bound)
            for at in (scene, scene.with_target(last.position, scene.target_gain))
        ]
        if bounds[0] <= REUSE_FACTOR * bounds[1]:
            return last
    return _FocusedDesign(design_dwell(scene, patterns, min_snr), here)


def known_target_bound(scene: SensingScene, patterns: int, min_snr: float, snapshots: int) -> float:
    """Position error bound of one dwell that `design_dwell` designs for the true position. [m]

    Args:
        scene: The true scene.
        patterns: Number of patterns of each surface.
        min_snr: Minimum SNR. [1]
        snapshots: Number of snapshots in each pattern.

    Raises:
        ValueError: As `design_dwell`.
    """
    design = design_dwell(scene, patterns, min_snr)
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
    """Scan, estimate and focus until the position is known to the requested accuracy.

    Args:
        scene: The true scene. Its target and gains are used only to simulate echoes and to compute
            bounds. Its number of symbols is that of the snapshots of all surfaces and patterns.
        scans: Designs of the scans.
        dwells: Maximum number of dwells.
        snapshots: Number of snapshots in each pattern.
        min_snr: Minimum SNR of focused dwells. [1]
        accuracy: Standard deviation of the position at which the search ends; 0 never ends it.
            Default `known_target_bound`. [m]
        key: Key of the noise.

    Raises:
        ValueError: As `design_dwell` and `sample_positions`; or the position is not identifiable
            even with a design for the true position.
    """
    grids = region_grids(scene, scans.region)
    known = known_target_bound(scene, scans.patterns, min_snr, snapshots)
    if not math.isfinite(known):
        raise ValueError(
            "the target's position is not identifiable with any design: it is in line with the "
            "surfaces, or a surface cannot estimate both angles; move a surface, or use more "
            "patterns"
        )
    goal = known if accuracy is None else accuracy
    receptions: list[Reception] = []
    records: list[DwellRecord] = []
    estimate: PositionFix | None = None
    last: _FocusedDesign | None = None
    scanned = 0
    for number in range(dwells):
        predicted = None
        if estimate is None:
            transmission, scanned = transmission_of(scans[scanned], snapshots), scanned + 1
        else:
            estimated = estimated_scene(scene, estimate)
            last = _focused_design(estimated, last, scans.patterns, min_snr, snapshots)
            transmission = transmission_of(last.design, snapshots)
            predicted = np.asarray(dwell_bounds(estimated, [transmission]).snr)
        receptions.append(simulate_dwell(scene, transmission, jax.random.fold_in(key, number)))
        fix = locate(scene, receptions, grids, scans.region)
        consistent = predicted is None or _energy_consistent(scene, receptions[-1], fix, predicted)
        found = consistent and bool(fix.consistent)
        alone = dwell_bounds(scene, [transmission])
        records.append(
            DwellRecord(
                predicted is not None,
                fix,
                consistent,
                found,
                found and predicted is not None,
                float(dwell_bounds(scene, [each.transmission for each in receptions]).bound),
                float(alone.worst_crb),
                np.asarray(alone.snr),
            )
        )
        estimate = fix if found else None
        if _reached(records[-1], goal):
            break
    return SearchRecord(records, known, goal)


def _energy_consistent(
    scene: SensingScene, reception: Reception, fix: PositionFix, predicted: np.ndarray
) -> bool:
    """Return whether every echo has at least `MIN_ENERGY_SHARE` of its predicted energy.

    A surface is not tested if noise alone could reach this share of its predicted energy.
    """
    energy = np.asarray(matched_energy(scene, reception, fix.angles))
    tested = MIN_ENERGY_SHARE * predicted > -math.log(FALSE_ALARM)
    return bool((energy >= MIN_ENERGY_SHARE * predicted)[tested].all())
