"""Calibration of the estimators: are the reported covariances and flags right?

Every result comes with a covariance and with flags that say whether to use it. This study counts,
over trials, how often the truth lies in the reported 95 % region, how often a result that carries
the flags is wrong by far more than its bound, and how the root mean square error compares with the
bound. Three further cases violate the model on purpose, to show what the flags then do.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure
from scipy.stats import binomtest, chi2

from heliostat.bounds.direction import (
    direction_bound,
    direction_information,
    position_bound,
    scene_information,
)
from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.design.baselines import isotropic_covariance
from heliostat.design.cooperative import random_phases
from heliostat.estimation.direction import (
    CosineGrid,
    DirectionEstimate,
    cosine_grid,
    likeliest_direction,
)
from heliostat.estimation.pose import (
    PlaceGrid,
    PoseEstimate,
    locate,
    place_grid,
    simulate_matched,
)
from heliostat.estimation.triangulation import iterated_least_squares
from heliostat.geometry.frames import Scalar, wrapped_angle
from heliostat.observation.echoes import echo_mean, simulate_echo, transmitted_signal
from heliostat.observation.pilots import band_bins
from heliostat.plots.style import styled
from heliostat.scenario import LocalizationScenario, SensingScenario, load, of_system
from heliostat.scene.localization import LocalizationScene
from heliostat.scene.sensing import SensingScene
from heliostat.studies import TITLES
from heliostat.studies.estimators.attainment import Attainment, attainment, threshold
from heliostat.studies.estimators.direction import SNAPSHOTS
from heliostat.studies.estimators.pose import ANTENNAS, BINS, SWEEP, USER_ANTENNAS
from heliostat.studies.figures import COLOURS, MARKS, legend_below
from heliostat.studies.statistics import decided
from heliostat.studies.study import Quantity, Study, Verdict

SNRS = [10.0, 15.0, 20.0, 25.0, 30.0, 40.0]
"""Energy of the noiseless samples over the noise density, at each surface for sensing. [dB]"""
REGION = 0.95
"""Probability of the reported confidence regions."""
GROSS = 5.0
"""An error of more than this many times its bound is a gross error: not one of noise alone."""
SECOND = 0.1
"""Amplitude of the second path or echo over that of the first, where there is one. [1]"""
HEIGHT = 1.0
"""Height of the user over a reflecting ground, which makes the second path. [m]"""
ASIDE = np.radians([0.0, 15.0])
"""Elevation and azimuth of the second echo, from the target. [rad]"""
FEWEST = 20
"""Least number of usable results from which a row reports errors and coverage."""

Outputs: TypeAlias = Mapping[str, Array]


class Case(NamedTuple):
    """One row of the table: what is estimated, and how the observations are made."""

    label: str
    trial: Callable[..., Outputs]
    options: Mapping[str, Any]
    violated: bool = False
    """Whether the observations violate the estimator's model."""


def usable(estimate: PoseEstimate | DirectionEstimate) -> Array:
    """Whether the estimate carries all flags that say to use it.

    Args:
        estimate: Of a pose or a direction.
    """
    return estimate.detected & estimate.fits & getattr(estimate, "unique", True)


def covered(error: Array, covariance: Array) -> Array:
    """Whether the truth lies in the 95 % region of a Gaussian error of the reported covariance.

    Args:
        error: Estimate less truth.
        covariance: As reported; infinite where there is no bound, a region that covers everything.
    """
    finite = jnp.all(jnp.isfinite(covariance))
    safe = jnp.where(finite, covariance, jnp.eye(error.size))
    distance = error @ jnp.linalg.solve(safe, error)
    return ~finite | (distance <= chi2.ppf(REGION, error.size))


def _outputs(error: Array, bound: Scalar, covariance: Array, use: Array, size: int) -> Outputs:
    """Outputs of a trial; the first ``size`` errors are those that ``bound`` is for."""
    squared = jnp.sum(error[:size] ** 2)
    return {
        "squared": squared,
        "bound": bound,
        "covered": covered(error, covariance).astype(float),
        "usable": use.astype(float),
    }


class _PoseSetup(NamedTuple):
    scene: LocalizationScene
    grid: PlaceGrid
    frequency: Array
    mean: Array  # noiseless matched pilots [√J]
    second: Array  # matched pilots of the second path, as strong as the first [√J]


@functools.cache
def _pose_setup(gain: str, clock: str, cross: bool) -> _PoseSetup:
    changes = {
        "surface.rows": 8,
        "surface.columns": 8,
        "user.antennas": USER_ANTENNAS,
        "model.gain": gain,
        "model.clock": clock,
        "surface.sweep": SWEEP if cross else None,
    }
    loaded = load("localization-table-1", changes)
    with jax.ensure_compile_time_eval():  # kept beyond the trace that happens to ask first
        scene = of_system(loaded, LocalizationScenario, "this study").build()
        frequency = band_bins(scene.link.bandwidth, BINS)
        silent = eqx.tree_at(lambda s: s.link.noise_density, scene, jnp.asarray(1e-300))

        def mean(at: LocalizationScene) -> Array:
            return simulate_matched(at, ANTENNAS, frequency, key=jax.random.key(0)).samples

        # The path by way of the ground leads to the user's mirror image below it.
        image = scene.user.position - jnp.array([0.0, 0.0, 2 * HEIGHT])
        direct, second = mean(silent), mean(silent.with_user(image, scene.user.heading))
        second *= jnp.linalg.norm(direct) / jnp.linalg.norm(second)
        return _PoseSetup(scene, place_grid(scene, BINS), frequency, direct, second)


def pose_trial(
    key: PRNGKeyArray,
    snr: Scalar,
    *,
    gain: str = "unknown",
    clock: str = "synchronized",
    cross: bool = False,
    second: float = 0.0,
) -> Outputs:
    """One estimate of position and heading.

    Args:
        key: The trial's own.
        snr: Energy of the pilots over the noise density. [1]
        gain: ``model.gain`` of the scenario.
        clock: Likewise ``model.clock``.
        cross: Steer the surface to a cross around the user instead of the default sweep.
        second: Amplitude of a second path over that of the first, its phase random. [1]
    """
    at = _pose_setup(gain, clock, cross)
    noise = jnp.sum(jnp.abs(at.mean) ** 2) / snr
    scene = eqx.tree_at(lambda s: s.link.noise_density, at.scene, noise)
    noise_key, phase_key = jax.random.split(key)
    turn = jnp.exp(2j * jnp.pi * jax.random.uniform(phase_key))
    pilots = simulate_matched(scene, ANTENNAS, at.frequency, key=noise_key)
    pilots = eqx.tree_at(lambda p: p.samples, pilots, pilots.samples + second * turn * at.second)
    found = locate(scene, pilots, at.frequency, at.grid, scene.user.heading)
    turned = wrapped_angle(found.heading - scene.user.heading)
    error = jnp.append((found.position - scene.user.position)[:2], turned)
    peb, _ = error_bounds(pose_information(scene, ANTENNAS))
    return _outputs(error, peb, found.covariance, usable(found), 2)


class _SensingSetup(NamedTuple):
    scene: SensingScene  # its gains are those of an SNR of one
    reflection: tuple[Array, ...]
    covariance: tuple[Array, ...]
    signal: tuple[Array, ...]
    grid: tuple[CosineGrid, ...]


@functools.cache
def _sensing_setup(patterns: int) -> _SensingSetup:
    """Isotropic transmission, random phases, the same SNR at both surfaces."""
    with jax.ensure_compile_time_eval():
        scene = of_system(load("sensing-two-surfaces"), SensingScenario, "this study").build()
        each = [random_phases(scene, number) for number in range(patterns)]
        reflection = tuple(jnp.concatenate(psi) for psi in zip(*each, strict=True))
        covariance = tuple(
            jnp.broadcast_to(covar, (patterns, *covar.shape))
            for covar in isotropic_covariance(scene)
        )
        snr = jnp.stack([i.snr for i in scene_information(scene, covariance, reflection)])
        scene = eqx.tree_at(lambda s: s.target_gain, scene, scene.target_gain / jnp.sqrt(snr))
        signal = tuple(
            jax.vmap(lambda covar: transmitted_signal(covar, SNAPSHOTS // patterns))(covar)
            for covar in covariance
        )
        grid = tuple(cosine_grid(surface.array) for surface in scene.surfaces)
        return _SensingSetup(scene, reflection, covariance, signal, grid)


def _direction(
    at: _SensingSetup, surface: int, snr: Scalar, second: float, key: PRNGKeyArray
) -> DirectionEstimate:
    """Estimate at one surface, with a second echo of a given relative amplitude."""
    link, psi, signal = at.scene.link(surface), at.reflection[surface], at.signal[surface]
    gain, angles = jnp.sqrt(snr) * at.scene.target_gain[surface], at.scene.angles()[surface]
    noise_key, phase_key = jax.random.split(key)

    def received(psi: Array, signal: Array, own: PRNGKeyArray) -> Array:
        return simulate_echo(link, psi, angles, gain, signal, key=own)

    def mean(psi: Array, signal: Array, angles: Array) -> Array:
        return echo_mean(link, psi, angles, gain, signal)

    echoes = jax.vmap(received)(psi, signal, jax.random.split(noise_key, len(psi)))
    if second:
        first, other = (
            jax.vmap(mean, (0, 0, None))(psi, signal, where)
            for where in (angles, angles + jnp.asarray(ASIDE))
        )
        level = second * jnp.linalg.norm(first) / jnp.linalg.norm(other)
        echoes += level * jnp.exp(2j * jnp.pi * jax.random.uniform(phase_key)) * other
    return likeliest_direction(link, psi, signal, echoes, at.grid[surface])


def direction_trial(
    key: PRNGKeyArray, snr: Scalar, *, patterns: int, second: float = 0.0
) -> Outputs:
    """One estimate of a target's elevation and azimuth at the first surface.

    Args:
        key: The trial's own.
        snr: Of the matched filter's output. [1]
        patterns: Reflection patterns.
        second: Amplitude of a second echo over that of the first, its phase random. [1]
    """
    at = _sensing_setup(patterns)
    found = _direction(at, 0, snr, second, key)
    gain, angles = jnp.sqrt(snr) * at.scene.target_gain[0], at.scene.angles()[0]
    information = direction_information(
        at.scene.link(0), at.reflection[0], at.covariance[0], angles, gain
    )
    bound = jnp.linalg.norm(direction_bound(information).direction_std)
    error = wrapped_angle(found.angles - angles)
    return _outputs(error, bound, found.covariance, usable(found), 2)


def position_trial(key: PRNGKeyArray, snr: Scalar, *, patterns: int) -> Outputs:
    """One estimate of a target's position from its directions at both surfaces.

    Args:
        key: The trial's own.
        snr: Of the matched filter's output, at each surface. [1]
        patterns: Reflection patterns.
    """
    at = _sensing_setup(patterns)
    gain = jnp.sqrt(snr) * at.scene.target_gain
    scene = at.scene.with_target(at.scene.target.position, gain)
    keys = jax.random.split(key)
    seen = [_direction(at, i, snr, 0.0, keys[i]) for i in range(2)]
    covariance = jnp.stack([each.covariance for each in seen])
    finite = jnp.all(jnp.isfinite(covariance))
    covariance = jnp.where(finite, covariance, jnp.eye(2))
    found = iterated_least_squares(scene, jnp.stack([each.angles for each in seen]), covariance)
    use = usable(seen[0]) & usable(seen[1]) & finite & found.converged & ~jnp.any(found.behind)
    bound, _ = position_bound(scene, scene_information(scene, at.covariance, at.reflection))
    error = jnp.where(use, found.position - scene.target.position, 0.0)
    return _outputs(error, bound, found.covariance, use, 3)


CASES = [
    Case("pose, gain known", pose_trial, {"gain": "known"}),
    Case("pose, gain unknown", pose_trial, {}),
    Case("pose, gain and clock unknown", pose_trial, {"clock": "unknown"}),
    Case("direction, one pattern", direction_trial, {"patterns": 1}),
    Case("direction, two patterns", direction_trial, {"patterns": 2}),
    Case("position from two directions", position_trial, {"patterns": 2}),
    Case("pose, gain unknown, second path of 10 %", pose_trial, {"second": SECOND}, True),
    Case(
        "pose, gain and clock unknown, ambiguous sweep",
        pose_trial,
        {"clock": "unknown", "cross": True},
        True,
    ),
    Case(
        "direction, two patterns, second echo of 10 %",
        direction_trial,
        {"patterns": 2, "second": SECOND},
        True,
    ),
]
VALID = [i for i, case in enumerate(CASES) if not case.violated]


def sample(key: PRNGKeyArray) -> PRNGKeyArray:
    """The trial's own key: the same noise but for its level at every SNR.

    Args:
        key: The trial's own.
    """
    return key


def point(key: PRNGKeyArray, *, case: int, snr_db: Array) -> Outputs:
    """One estimate of one case."""
    chosen = CASES[case]
    return chosen.trial(key, 10 ** (snr_db / 10), **chosen.options)


class Share(NamedTuple):
    """A share of trials and its 95 % interval."""

    value: float
    low: float
    high: float


def share(successes: int, trials: int, confidence: float = 0.95) -> Share:
    """Share of successes, with the interval of Clopper and Pearson.

    Args:
        successes: How many.
        trials: Of how many, at least one.
        confidence: Probability with which the interval holds the true share.
    """
    interval = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return Share(successes / trials, float(interval.low), float(interval.high))


def upper_limit(successes: int, trials: int) -> float:
    """One-sided 95 % upper limit of a share; close to three over the trials for no success.

    Args:
        successes: How many.
        trials: Of how many, at least one.
    """
    test = binomtest(successes, trials, alternative="less")
    return float(test.proportion_ci(0.95, method="exact").high)


class Summary(NamedTuple):
    """Calibration at one point, over the usable results."""

    trials: int
    used: int
    """How many results carry all flags."""
    ratio: Attainment
    """Root mean square error over the bound. [1]"""
    inside: int
    """How many of the usable results have the truth in their 95 % region."""
    gross: int
    """How many of the usable results are gross errors."""


def summary(at: xr.Dataset) -> Summary:
    """Count over the trials at one point.

    Args:
        at: Outputs of the study, with the dimension ``trial`` only.
    """
    use = at.usable > 0
    with np.errstate(invalid="ignore"):
        ratio = attainment(at.squared.where(use, np.inf), at.bound)
    return Summary(
        at.sizes["trial"],
        int(use.sum()),
        ratio,
        int((use & (at.covered > 0)).sum()),
        int((use & (at.squared > (GROSS * at.bound) ** 2)).sum()),
    )


def summaries(dataset: xr.Dataset, case: int) -> list[Summary]:
    """One case over the SNR.

    Args:
        dataset: Of the study.
        case: Its number in `CASES`.
    """
    return [summary(dataset.sel(case=case, snr_db=snr)) for snr in dataset.snr_db.values]


def _row(label: str, snr: float, found: Summary) -> str:
    cells = [label, f"{snr:g}", f"{found.used / found.trials:.0%}"]
    if found.used < FEWEST:
        cells += ["", "", ""]
    else:
        inside, ratio = share(found.inside, found.used), found.ratio
        cells += [
            f"{float(ratio.ratio):.2f} ({float(ratio.low):.2f} to {float(ratio.high):.2f})",
            f"{inside.value:.1%} ({inside.low:.1%} to {inside.high:.1%})",
            f"{found.gross} of {found.used} (below {upper_limit(found.gross, found.used):.1%})",
        ]
    return "| " + " | ".join(cells) + " |"


def table(dataset: xr.Dataset) -> str:
    """The result as a table in Markdown, one row a case and SNR.

    Args:
        dataset: Of the study.
    """
    head = [
        "| case | SNR [dB] | usable | RMSE over bound | in the 95 % region | gross errors |",
        "|---|---|---|---|---|---|",
    ]
    rows = [
        _row(case.label, float(snr), found)
        for number, case in enumerate(CASES)
        for snr, found in zip(dataset.snr_db.values, summaries(dataset, number), strict=True)
    ]
    return "\n".join(head + rows) + "\n"


def _reached_from(dataset: xr.Dataset, case: int) -> float:
    """Least SNR from which usable results stay within 10 % of the bound, ``inf`` if none. [dB]"""
    found = summaries(dataset, case)
    ratios = [s.ratio.ratio if s.used >= FEWEST else np.inf for s in found]
    nothing = np.zeros(len(ratios))
    return threshold(dataset.snr_db.values, Attainment(np.asarray(ratios), nothing, nothing))


def _coverage_verdict(dataset: xr.Dataset, knees: Mapping[int, float]) -> Verdict:
    """Whether regions cover 95 % where errors have reached the bound."""
    each = [
        (case, float(snr), found)
        for case in VALID
        for snr, found in zip(dataset.snr_db.values, summaries(dataset, case), strict=True)
        if snr >= knees[case]
    ]
    claim = (
        "where the errors are within 10 % of the bound, the reported 95 % regions hold the truth "
        "in 91 % to 98 % of the usable results"
    )
    if not each:
        return Verdict("Calibration", claim, None, "no case comes within 10 % of its bound")
    # All intervals together hold with 95 %.
    confidence = 1 - 0.05 / len(each)
    shares = [share(found.inside, found.used, confidence) for _, _, found in each]
    lowest = int(np.argmin([s.value for s in shares]))
    highest = int(np.argmax([s.value for s in shares]))

    def described(i: int) -> str:
        case, snr, _ = each[i]
        s = shares[i]
        return f"{s.value:.1%} ({s.low:.1%} to {s.high:.1%}; {CASES[case].label}, {snr:g} dB)"

    return Verdict(
        "Calibration",
        claim,
        decided(
            all(s.low > 0.91 and s.high < 0.98 for s in shares),
            any(s.high < 0.91 or s.low > 0.98 for s in shares),
        ),
        f"between {described(lowest)} and {described(highest)} at {len(each)} points",
    )


def _violation_verdict(dataset: xr.Dataset, case: int, snr: float) -> Verdict:
    """Whether the flags stop results that a violated model makes wrong."""
    found = summary(dataset.sel(case=case, snr_db=snr))
    wrong = share(found.used - found.inside, found.trials)
    return Verdict(
        "Calibration",
        f"{CASES[case].label}, at {snr:g} dB: at most 10 % of the results carry the flags and "
        "still have the truth outside their 95 % region",
        decided(wrong.high < 0.1, wrong.low > 0.1),
        f"{wrong.value:.1%} ({wrong.low:.1%} to {wrong.high:.1%}); {found.used} of {found.trials} "
        f"results carry the flags, {found.gross} of these are gross errors",
    )


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """What heliostat claims about its flags and covariances, against the data."""
    knees = {case: _reached_from(dataset, case) for case in VALID}
    gross = [
        (CASES[case].label, float(snr), upper_limit(found.gross, found.used))
        for case in VALID
        for snr, found in zip(dataset.snr_db.values, summaries(dataset, case), strict=True)
        if found.used >= FEWEST and snr >= knees[case]
    ]
    worst = max(gross, key=lambda row: row[2], default=("", np.inf, 1.0))
    return [
        Verdict(
            "Calibration",
            "where the model holds, the errors of usable results come within 10 % of the bound",
            bool(np.isfinite(list(knees.values())).all()),
            "; ".join(f"{CASES[case].label} from {knee:g} dB" for case, knee in knees.items()),
        ),
        _coverage_verdict(dataset, knees),
        Verdict(
            "Calibration",
            f"from there on less than 2 % of the usable results are gross errors, more than "
            f"{GROSS:g} times the bound",
            decided(worst[2] < 0.02, any(limit > 0.1 for _, _, limit in gross)),
            f"below {worst[2]:.2%} at every point (95 % upper limit; {worst[0]}, {worst[1]:g} dB)",
        ),
        *(
            _violation_verdict(dataset, case, 30.0)
            for case in range(len(CASES))
            if case not in VALID
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Error over bound, coverage, and usable share over the SNR."""
    with styled():
        figure, panels = plt.subplots(1, 3, figsize=(13.0, 5.4))
        entries = []
        for number, case in enumerate(CASES):
            look = {
                "color": COLOURS[number % len(COLOURS)],
                "marker": MARKS[number % len(MARKS)],
                "linestyle": "--" if case.violated else "-",
            }
            entries.append((case.label, look))
            found = summaries(dataset, number)
            panels[2].plot(
                dataset.snr_db.values,
                [100 * s.used / s.trials for s in found],
                markersize=5,
                **look,
            )
            kept = [(x, s) for x, s in zip(dataset.snr_db.values, found, strict=True)
                    if s.used >= FEWEST]  # fmt: skip
            if not kept:
                continue
            snr = [x for x, _ in kept]
            shares = [share(s.inside, s.used) for _, s in kept]
            inside, low, high = (100 * np.array(part) for part in zip(*shares, strict=True))
            panels[0].plot(snr, [s.ratio.ratio for _, s in kept], markersize=5, **look)
            panels[1].errorbar(
                snr, inside, (inside - low, high - inside), markersize=5, capsize=2, **look
            )
        panels[0].axhline(1.0, color="black", linestyle=":")
        panels[1].axhline(100 * REGION, color="black", linestyle=":")
        panels[0].set(yscale="log", ylabel="root mean square error over bound")
        panels[1].set_ylabel("truth in the 95 % region [% of usable results]")
        panels[2].set_ylabel("usable results [%]")
        for axes in panels:
            axes.set_xlabel("SNR [dB]")
        legend_below(figure, *entries, columns=3)
    return figure


STUDY = Study(
    name="estimators/calibration",
    title=TITLES["estimators"]["calibration"],
    sample=sample,
    point=point,
    axes={"case": list(range(len(CASES))), "snr_db": SNRS},
    static=("case",),
    outputs={
        "squared": Quantity("m2 or rad2", (), "squared error of position or direction"),
        "bound": Quantity("m or rad", (), "bound of the root mean square error"),
        "covered": Quantity("1", (), "whether the truth lies in the reported 95 % region"),
        "usable": Quantity("1", (), "whether the result carries all flags that say to use it"),
    },
    axis_units={"snr_db": "dB"},
    trials=256,
    provenance={
        "cases": "; ".join(f"{i}: {case.label}" for i, case in enumerate(CASES)),
        "scenarios": "localization-table-1 with 8 x 8 elements, 16 user antennas, 4 active "
        "antennas; sensing-two-surfaces with isotropic transmission and random phases",
    },
    verdicts=verdicts,
    draw=draw,
    table=table,
)
