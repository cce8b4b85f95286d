"""Target search: number of dwells, and excess over the bound of a known target."""

import functools
from collections.abc import Mapping
from itertools import repeat
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from heliostat.api.target_search import snapshots_of, whole_dwell
from heliostat.design.cooperative import random_phases
from heliostat.observation.echoes import target_steering
from heliostat.plots.style import styled
from heliostat.protocol.search_region import DwellDesign, Region, Scans, sample_positions
from heliostat.protocol.target_search import find
from heliostat.scenario import SensingScenario, load, of_system
from heliostat.scenario.random_keys import purpose_key
from heliostat.scenario.sensing.build import moved_target
from heliostat.studies.estimators.attainment import GROSS
from heliostat.studies.figures import COLORS, LINES, entries, legend_below, median_curve
from heliostat.studies.study import Quantity, Study, Verdict
from heliostat.surface.active import reflected_power

DWELLS = 8
LEVELS = [0.0, -10.0, -20.0]
"""Radar cross-section of the target. [dBsm]"""
DESIGNED, RANDOM = "designed", "random"
SCANS = [DESIGNED, RANDOM]
REGION = Region(jnp.array([0.0, 8.0, -2.0]), jnp.array([14.0, 22.0, 4.0]))


class RandomScans(Scans):
    """Scans without a design: isotropic signals, and random phases at full gain."""

    def make(self, number: int) -> DwellDesign:
        """Random scan of the given number.

        Args:
            number: Number of the scan.
        """
        scene = self.scene
        each = [random_phases(scene, number * self.patterns + k) for k in range(self.patterns)]
        reflection = tuple(jnp.concatenate(psi) for psi in zip(*each, strict=True))
        antennas = scene.base_station.array.elements
        isotropic = scene.base_station.power / antennas * jnp.eye(antennas, dtype=complex)
        covariance = []
        for i, surface in enumerate(scene.surfaces):
            sent = []
            for psi in reflection[i]:
                power = reflected_power(
                    psi,
                    scene.bs_to_irs[i],
                    isotropic,
                    target_steering(surface.array, scene.angles()[i]),
                    scene.target_gain[i],
                    surface.noise,
                )
                room = (surface.power - power.own_noise) / (power.echo + power.signal)
                sent.append(isotropic * jnp.minimum(room, 1.0))
            covariance.append(jnp.stack(sent))
        return DwellDesign(tuple(covariance), reflection)


class Trial(NamedTuple):
    """Random quantities of one trial."""

    place: np.ndarray  # position of the target [m]
    key: PRNGKeyArray  # key of the noise


@functools.cache
def _scenario(level: float) -> SensingScenario:
    changes = {
        "target.cross_section": f"{level} dBsm",
        "dwell.patterns": 2,
        "dwell.min_snr": "23 dB",
    }
    return of_system(load("sensing-two-surfaces", changes), SensingScenario, "this study")


@functools.cache
def _scans(kind: str) -> Scans:
    scenario = _scenario(LEVELS[0])
    made = Scans if kind == DESIGNED else RandomScans
    scene = whole_dwell(scenario, scenario.build())
    return made(scene, REGION, scenario.dwell.patterns)


def sample(key: PRNGKeyArray) -> Trial:
    """Position of the target and key of the noise.

    Args:
        key: Key of the trial.
    """
    number = int(jax.random.randint(purpose_key(key, "place"), (), 0, 2**31 - 1))
    place = sample_positions(REGION, _scans(RANDOM).scene, 1, number)[0]
    return Trial(place, purpose_key(key, "noise"))


def point(trial: Trial, *, cross_section_db: float, scan: str) -> Mapping[str, np.ndarray]:
    """One search with all dwells."""
    scenario = _scenario(cross_section_db)
    scene = moved_target(whole_dwell(scenario, scenario.build()), jnp.asarray(trial.place))
    search = find(
        scene,
        _scans(scan),
        DWELLS,
        snapshots_of(scenario),
        scenario.dwell.required_snr,
        0.0,
        trial.key,
    )
    error = np.array(
        [float(jnp.linalg.norm(r.fix.position - scene.target.position)) for r in search.records]
    )
    return {
        "error": error,
        "std": np.array([float(r.fix.std) for r in search.records]),
        "bound": np.array([r.bound for r in search.records]),
        "known": search.known_bound / np.sqrt(1.0 + np.arange(DWELLS)),
        "found": np.array([float(r.found) for r in search.records]),
        "confirmed": np.array([float(r.confirmed) for r in search.records]),
        "inconsistent": np.array([float(r.focused and not r.found) for r in search.records]),
    }


def needed(dataset: xr.Dataset) -> xr.DataArray:
    """Dwells until the position is confirmed with the accuracy of one dwell designed for it.

    Args:
        dataset: Dataset of the study.

    Returns:
        ``inf`` where all dwells were not enough.
    """
    goal = dataset.known.isel(dwell=0)
    met = (dataset.confirmed > 0) & (dataset["std"] <= goal)
    reached: xr.DataArray = dataset.dwell.where(met, np.inf).min("dwell")
    return reached


def excess(dataset: xr.Dataset) -> xr.DataArray:
    """Excess over the known-target bound after each dwell. [dB]

    Args:
        dataset: Dataset of the study.
    """
    ratio: xr.DataArray = 20 * np.log10(dataset.bound / dataset.known)
    return ratio


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Number of dwells, excess over the known-target bound, and gross errors."""
    designed, random = (dataset.sel(scan=s) for s in SCANS)
    levels = dataset.cross_section_db.values
    count, trials = needed(dataset), dataset.sizes["trial"]

    def by_level(values: xr.DataArray, text: str) -> str:
        return ", ".join(
            f"{level:g} dBsm: " + text.format(float(v))
            for level, v in zip(levels, values.values, strict=True)
        )

    with_design, without = count.sel(scan=DESIGNED), count.sel(scan=RANDOM)
    strong = with_design.sel(cross_section_db=LEVELS[0])
    fewer = (with_design <= without).all()
    fewer &= (with_design.mean("trial") < without.mean("trial")).any()
    last = excess(designed).isel(dwell=DWELLS - 1)
    typical = excess(designed).sel(cross_section_db=LEVELS[0]).median("trial")
    right = dataset.confirmed > 0
    ratio = (dataset.error / dataset.bound).where(right)
    gross = int((ratio > GROSS).sum())
    rms = float(np.sqrt((ratio**2).mean()))
    some = int(right.sum())
    inconsistent = int(dataset.inconsistent.sum())
    return [
        Verdict(
            "Dwells",
            "a target of 1 m2 is found within three dwells, as accurately as with one dwell "
            "designed for its position",
            bool((strong <= 3).all()),
            f"found within {DWELLS} dwells in, of {trials} trials, "
            + by_level((with_design < np.inf).sum("trial"), "{:.0f}")
            + "; median number of dwells (inf: not within the limit), "
            + by_level(with_design.median("trial"), "{:g}"),
        ),
        Verdict(
            "Excess over the known-target bound",
            f"the excess is below 3 dB after {DWELLS} dwells for a target of 1 m2",
            bool((last.sel(cross_section_db=LEVELS[0]) < 3).all()),
            "medians for 1 m2: "
            + ", ".join(
                f"{float(typical.sel(dwell=n)):.1f} dB after {n}" for n in (1, 2, 3, DWELLS)
            )
            + f"; after {DWELLS}, "
            + by_level(last.median("trial"), "{:.1f} dB"),
        ),
        Verdict(
            "Scan",
            "with scans designed for the region no trial takes more dwells than with isotropic "
            "signals and random phases",
            bool(fewer),
            f"random: found in, of {trials}, "
            + by_level((without < np.inf).sum("trial"), "{:.0f}")
            + "; median excess after the first dwell, "
            + by_level(excess(random).isel(dwell=0).median("trial"), "{:.1f} dB")
            + " against "
            + by_level(excess(designed).isel(dwell=0).median("trial"), "{:.1f} dB"),
        ),
        Verdict(
            "Confirmation",
            "no confirmed estimate has a gross error",
            gross == 0,
            f"{gross} of {some} confirmed estimates have errors of more than {GROSS:g} times the "
            f"bound; RMS of error over bound {rms:.2f}; {inconsistent} focused dwells with a "
            "rejected estimate",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Excess over the known-target bound, and share of finished searches, over the dwells."""
    number, count = dataset.dwell.values, needed(dataset)
    levels = dataset.cross_section_db.values
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(11.0, 5.2))
        for level, color in zip(levels, COLORS, strict=False):
            for scan, line in zip(SCANS, LINES, strict=False):
                at = dataset.sel(cross_section_db=level, scan=scan)
                if scan == DESIGNED:
                    median_curve(left, number, excess(at), color=color, linestyle=line)
                else:
                    left.plot(number, excess(at).median("trial"), color=color, linestyle=line)
                met = count.sel(cross_section_db=level, scan=scan).values
                share = (met[None, :] <= number[:, None]).mean(axis=1)
                right.plot(number, 100 * share, color=color, linestyle=line, drawstyle="steps-mid")
        left.set(xlabel="dwell", ylabel="excess over known target, median and quartiles [dB]")
        left.set_yscale("symlog", linthresh=1, linscale=0.5)
        left.yaxis.set_major_locator(FixedLocator([0, 1, 2, 5, 10, 20, 30]))
        left.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
        left.yaxis.set_minor_locator(NullLocator())
        right.set(
            xlabel="dwell", ylabel="as accurate as one dwell for a known target [% of trials]"
        )
        right.set_ylim(-3, 103)
        for axes in (left, right):
            axes.set_xticks(number)
        legend_below(
            figure,
            *entries((f"{level:g} dBsm" for level in levels), color=COLORS, linewidth=repeat(4)),
            *entries((f"scans {scan}" for scan in SCANS), linestyle=LINES),
            columns=5,
        )
    return figure


STUDY = Study(
    name="estimators/dwells",
    sample=sample,
    point=point,
    axes={"cross_section_db": LEVELS, "scan": SCANS},
    traced=False,
    outputs={
        "error": Quantity("m", ("dwell",), "position error"),
        "std": Quantity("m", ("dwell",), "estimated standard deviation of the position"),
        "bound": Quantity("m", ("dwell",), "position error bound of all dwells"),
        "known": Quantity("m", ("dwell",), "known-target bound"),
        "found": Quantity("1", ("dwell",), "whether the estimate is accepted"),
        "confirmed": Quantity("1", ("dwell",), "whether a focused dwell confirmed the estimate"),
        "inconsistent": Quantity("1", ("dwell",), "whether a focused dwell's estimate is rejected"),
    },
    inner={"dwell": np.arange(1, DWELLS + 1)},
    axis_units={"cross_section_db": "dBsm"},
    trials=8,
    provenance={
        "scenario": "sensing-two-surfaces, two patterns, minimum SNR 23 dB",
        "region": "x 0 to 14 m, y 8 to 22 m, z -2 to 4 m; the target is uniform in it",
    },
    verdicts=verdicts,
    draw=draw,
)
