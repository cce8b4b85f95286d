r"""Cooperative design of covariances and coefficients over all surfaces: the paper's (P1).

.. math:: \min_{\psi_l, R_l}\ \max_l\ \mathrm{tr}F_l^{-1}\quad\text{s.t.}\quad
          \tfrac1L\textstyle\sum_l\mathrm{tr}R_l \le P_t,\quad \text{(7)} \le P_s,\quad
          |\psi_{l,n}| \le a_{max},\quad \mathrm{SNR}_l \ge \gamma.

Only the base station's power ties the surfaces together. `design_jointly` descends over each
surface's coefficients and beams at once, with the power shared so that all CRBs come out equal:
how a CRB answers to its power is the slope of the descent's objective, by the envelope theorem.
One pattern ends with the exact covariances of `transmit`. `design_alternately` is the paper's
way, with either solver for each half. Both keep the best design so far, so that what they return
never gets worse from one step to the next.
"""

from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex
from scipy.optimize import brentq

from heliostat.design.cooperative_bound import cooperative_lower_bound
from heliostat.design.descent import FINAL_SHARPNESS, descend, power_factor
from heliostat.design.dwell import TOLERANCE, dwell_bounds, dwell_design
from heliostat.design.joint import (
    JointTask,
    Layout,
    as_polar,
    final_setting,
    joint_layout,
    joint_task,
    random_unknowns,
    value_and_slope,
)
from heliostat.design.reflect import design_surface, reflection_task
from heliostat.design.reflect_sdr import design_surface_sdr, transmit_sdp_or_none
from heliostat.design.result import FEASIBLE, BeamformingDesign
from heliostat.design.transmit import solve_transmit
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import target_steering
from heliostat.sensing_scene import SensingScene
from heliostat.surface.active import random_reflection, reflected_power

Method: TypeAlias = Literal["direct", "sdr"]
Covariances: TypeAlias = Complex[Array, "surface pattern tx tx"]
Reflections: TypeAlias = tuple[Complex[Array, "pattern _"], ...]

COARSE, FINE, FINEST = 30.0, 300.0, 3000.0
"""How closely the smooth least of two powers follows the true one, step by step."""
TRIAL_STEPS, STEPS = 60, 300
FINALISTS = 2
ROUNDS = (COARSE, FINE, FINE, FINEST)
SETTLED = 3e-4  # relative improvement of a round after which only the polish is left


class Share(NamedTuple):
    """One surface in the course of the design."""

    task: JointTask
    layout: Layout
    flat: np.ndarray  # its unknowns
    power: float  # what the base station spends on it [W]


class Incumbent(NamedTuple):
    """The best design so far."""

    covariance: Covariances
    reflection: Reflections
    worst: float  # its worst CRB [rad²]


def _descend(share: Share, sharpness: float, steps: int) -> tuple[Share, float]:
    """A surface's unknowns, improved at its present power."""
    weight, power = jnp.asarray(sharpness), jnp.asarray(share.power)
    count = 2 * share.layout.patterns * share.layout.elements
    bounds: list[tuple[float | None, float | None]] | None = None
    if share.layout.form == "polar":
        bounds = [(0.0, 1.0), (None, None)] * (count // 2)
        bounds += [(None, None)] * (share.layout.size - count)
    flat, value = descend(
        lambda x: value_and_slope(share.task, x, power, weight, share.layout)[:2],
        share.flat,
        steps=steps,
        bounds=bounds,
    )
    return share._replace(flat=flat), value


def explore(share: Share, starts: int, rng: np.random.Generator) -> Share:
    """The best of several short descents, after the best of these have gone further.

    Args:
        share: The surface.
        starts: How many descents.
        rng: Where they begin.
    """
    beginnings = [
        share._replace(flat=random_unknowns(share.layout, rng)) for _ in range(starts)
    ]
    trials = sorted((_descend(s, COARSE, TRIAL_STEPS) for s in beginnings), key=lambda t: t[1])
    finals = (_descend(s, COARSE, STEPS) for s, _ in trials[:FINALISTS])
    return min(finals, key=lambda t: t[1])[0]


def shared_power(shares: list[Share], total: float, sharpness: float) -> list[Share]:
    """One Newton step, in logarithms, towards powers that make all CRBs equal.

    Args:
        shares: The surfaces, at their optima.
        total: Sum of all powers. [W]
        sharpness: Of the objective they are optima of.
    """
    weight = jnp.asarray(sharpness)
    before = np.log([s.power for s in shares])
    values, slopes = [], []
    for s in shares:
        _, crbs, _ = final_setting(s.task, jnp.asarray(s.flat), jnp.asarray(s.power), s.layout)
        values.append(_score(np.asarray(crbs), s.layout.mean))
        at = jnp.asarray(s.flat), jnp.asarray(s.power)
        slopes.append(value_and_slope(s.task, *at, weight, s.layout)[2])
    # A surface at its own limit hardly answers to power; do not send it all there is.
    answer = np.clip(-np.asarray(slopes, dtype=float), 0.1, 2.0)
    value = np.asarray(values)

    def powers(level: float) -> np.ndarray:
        return np.exp(before + np.clip((value - level) / answer, -np.log(4), np.log(4)))

    low, high = value.min() - 4, value.max() + 4
    level = brentq(lambda x: powers(x).sum() - total, low, high)
    after = powers(float(level))
    after *= total / after.sum()
    return [s._replace(power=float(p)) for s, p in zip(shares, after, strict=True)]


def _score(log_crbs: np.ndarray, mean: bool) -> float:
    return float(np.log(np.mean(np.exp(log_crbs))) if mean else np.max(log_crbs))


def _settled(shares: list[Share]) -> tuple[Covariances, Reflections, float, float]:
    """What the unknowns stand for: covariances, coefficients, worst log CRB, least SNR."""
    covariance, reflection, worst, snr = [], [], [], []
    for s in shares:
        chosen, crbs, heard = final_setting(
            s.task, jnp.asarray(s.flat), jnp.asarray(s.power), s.layout
        )
        covariance.append(chosen.covariance)
        reflection.append(chosen.reflection)
        worst.append(_score(np.asarray(crbs), s.layout.mean))
        snr.append(float(jnp.min(heard)))
    # Rounding of the softmax and the sums must not leave a violation.
    safe = jnp.stack(covariance) * (1 - 1e-12)
    return safe, tuple(reflection), max(worst), min(snr)


class Course:
    """The best design so far and how its worst CRB fell."""

    def __init__(self, scenes: tuple[SensingScene, ...], min_snr: float | Scalar) -> None:
        self.scenes = scenes
        self.min_snr = jnp.asarray(min_snr, dtype=float)
        self.best: Incumbent | None = None
        self.history: list[float] = []

    def offer(self, covariance: Covariances, reflection: Reflections, worst: float) -> None:
        """A design that keeps every constraint: take it if it is better.

        Args:
            covariance: Of each surface and pattern. [W]
            reflection: Of each surface and pattern. [1]
            worst: Its worst CRB. [rad²]
        """
        if self.best is None or worst < self.best.worst:
            self.best = Incumbent(covariance, reflection, worst)
        self.history.append(self.best.worst)

    def offer_shares(self, shares: list[Share]) -> None:
        """What the surfaces' unknowns stand for, and the best covariances for its coefficients.

        Args:
            shares: The surfaces.
        """
        covariance, reflection, log_worst, snr = _settled(shares)
        designs = []
        if snr >= float(self.min_snr) * (1 - 1e-6):
            designs.append((covariance, reflection, float(np.exp(log_worst))))
        if len(self.scenes) == 1 and covariance.shape[1] == 1:
            exact = transmit_half(self.scenes[0], reflection, self.min_snr)
            if exact is not None:
                designs.append(exact)
        if designs:
            self.offer(*min(designs, key=lambda d: d[2]))


def transmit_half(
    scene: SensingScene, reflection: Reflections, min_snr: Scalar
) -> tuple[Covariances, Reflections, float] | None:
    """Best covariances for single patterns, with the worst CRB; None if none keep the SNR.

    Args:
        scene: The scene.
        reflection: One pattern for each surface. [1]
        min_snr: Least SNR. [1]
    """
    found = solve_transmit(scene, tuple(psi[0] for psi in reflection), min_snr)
    worst = float(found.worst_crb)
    heard = bool(jnp.all(found.slack.snr >= -1e-6 * min_snr))
    powered = bool(jnp.all(found.slack.surface >= -TOLERANCE * scene.base_station.power))
    if not (np.isfinite(worst) and heard and powered):
        return None
    return found.covariance[:, None], reflection, worst


def descend_jointly(
    scenes: tuple[SensingScene, ...],
    *,
    patterns: int,
    mean: bool,
    min_snr: float | Scalar,
    starts: int,
    seed: int,
) -> Course:
    """The course of a joint design for one or several possible target positions.

    Args:
        scenes: The same scene with the target at each position.
        patterns: How many patterns each surface goes through.
        mean: Whether the mean CRB over the positions counts, not the worst.
        min_snr: Least SNR at every position. [1]
        starts: Random starts for each surface.
        seed: Of the starts.
    """
    scene = scenes[0]
    course = Course(scenes, min_snr)
    each = float(scene.base_station.power)
    shares = []
    for i in range(scene.n_surfaces):
        task = joint_task(scenes, i, course.min_snr)
        layout = joint_layout(task, patterns, mean)
        begin = Share(task, layout, np.zeros(layout.size), each)
        shares.append(explore(begin, starts, np.random.default_rng([seed, i])))
    total = each * scene.n_surfaces
    for sharpness in ROUNDS:
        shares = shared_power(shares, total, sharpness)
        shares = [_descend(s, sharpness, STEPS)[0] for s in shares]
        course.offer_shares(shares)
        if len(course.history) > 1 and course.history[-1] > (1 - SETTLED) * course.history[-2]:
            break
    shares = [_polished(s) for s in shares]
    for _ in range(2):
        course.offer_shares(shares)
        shares = shared_power(shares, total, FINEST)
    return course


def _polished(share: Share) -> Share:
    """The last descent in polar form, where amplitudes reach their cap."""
    if share.layout.form == "phase":
        return share
    flat = as_polar(share.task, jnp.asarray(share.flat), share.layout)
    polar = share._replace(flat=np.asarray(flat), layout=share.layout._replace(form="polar"))
    return _descend(polar, FINEST, STEPS)[0]


def finished(course: Course, lower_bound: float) -> BeamformingDesign:
    """The best design of a course, checked.

    Args:
        course: The course.
        lower_bound: No design has a smaller worst CRB. [rad²]
    """
    if course.best is None:
        least = 10 * np.log10(float(course.min_snr)) if float(course.min_snr) > 0 else -np.inf
        raise ValueError(
            f"no design was found in which every surface's echo has an SNR of {least:.3g} dB: "
            "demand less, or give more power, amplification, symbols or elements"
        )
    return dwell_design(
        course.scenes[0],
        course.best.covariance,
        course.best.reflection,
        lower_bound=lower_bound,
        history=course.history,
        min_snr=course.min_snr,
        code=FEASIBLE,
    )


def _begin(scene: SensingScene, seed: int) -> Reflections:
    """Random phases, as loud as half of each surface's power allows its own noise to be."""
    angles, begun = scene.angles(), []
    for i, surface in enumerate(scene.surfaces):
        key = jax.random.fold_in(jax.random.key(seed), i)
        psi = random_reflection(key, surface.array.elements, surface.amplification)
        steering = target_steering(surface.array, angles[i])
        channel = scene.bs_to_irs[i]
        silent = jnp.zeros((channel.shape[1], channel.shape[1]), dtype=complex)
        gain = scene.target_gain[i]
        own = reflected_power(psi, channel, silent, steering, gain, surface.noise).own_noise
        sharpness = jnp.asarray(FINAL_SHARPNESS)
        begun.append(psi[None] * jnp.sqrt(power_factor(surface.power / 2, own, sharpness)))
    return tuple(begun)


def _reflect_half(
    scene: SensingScene, best: Incumbent, method: Method, min_snr: Scalar, step: int, seed: int
) -> Reflections:
    """Coefficients for the covariances of the best design, no worse than its own."""
    chosen = []
    for i, psi in enumerate(best.reflection):
        task = reflection_task(scene, i, best.covariance[i], min_snr)
        rng = np.random.default_rng([seed, step, i])
        if method == "sdr":
            found = design_surface_sdr(task, psi[0], candidates=1000, rng=rng)
        else:
            found = design_surface(task, psi, starts=2, rng=rng)
        chosen.append(found.reflection)
    return tuple(chosen)


def _transmit_half_sdp(
    scene: SensingScene, reflection: Reflections, min_snr: Scalar
) -> tuple[Covariances, Reflections, float] | None:
    """As `transmit_half`, by CVXPY."""
    found = transmit_sdp_or_none(scene, tuple(psi[0] for psi in reflection), float(min_snr))
    if found is None:
        return None
    return found.covariance[:, None], reflection, float(found.worst_crb)


def design_alternately(
    scene: SensingScene,
    *,
    method: Method = "direct",
    min_snr: float | Scalar = 100.0,
    steps: int = 10,
    seed: int = 0,
) -> BeamformingDesign:
    """The paper's alternation between (P2) and (P3), from random phases.

    Args:
        scene: The scene.
        method: "sdr" for the paper's own solvers, "direct" for `transmit` and `reflect`.
        min_snr: Least SNR of the matched filter, 100 being 20 dB; 0 for the paper's criterion. [1]
        steps: At most so many alternations; fewer where one gains less than a thousandth.
        seed: Of phases and random vectors.

    Raises:
        ValueError: If no design was found that reaches the SNR.
    """
    course = Course((scene,), min_snr)
    half = _transmit_half_sdp if method == "sdr" else transmit_half
    begun = _begin(scene, seed)
    first = half(scene, begun, course.min_snr)
    if first is None:  # random phases are too quiet: alternate from the paper's criterion
        first = half(scene, begun, jnp.zeros(()))
        present = None if first is None else Incumbent(*first)
    else:
        course.offer(*first)
        present = course.best
    for step in range(steps if present is not None else 0):
        reflection = _reflect_half(scene, present, method, course.min_snr, step, seed)
        found = half(scene, reflection, course.min_snr)
        if found is None:
            louder = half(scene, reflection, jnp.zeros(()))
            if course.best is not None or louder is None:
                break
            present = Incumbent(*louder)
            continue
        course.offer(*found)
        present = course.best
        if len(course.history) > 1 and course.history[-1] > (1 - 1e-3) * course.history[-2]:
            break
    return finished(course, cooperative_lower_bound(scene))


def design_jointly(
    scene: SensingScene,
    *,
    patterns: int = 1,
    min_snr: float | Scalar = 100.0,
    starts: int = 6,
    seed: int = 0,
) -> BeamformingDesign:
    """Covariances and coefficients together, the best found over all surfaces.

    Args:
        scene: The scene.
        patterns: How many reflection patterns each surface goes through in its part of the dwell.
        min_snr: Least SNR of the matched filter, 100 being 20 dB; 0 for the paper's criterion. [1]
        starts: Random starts for each surface.
        seed: Of the starts.

    Raises:
        ValueError: If no design was found that reaches the SNR.
    """
    course = descend_jointly(
        (scene,), patterns=patterns, mean=False, min_snr=min_snr, starts=starts, seed=seed
    )
    return finished(course, cooperative_lower_bound(scene, patterns))


def design_beamforming(
    scene: SensingScene,
    *,
    method: Method = "direct",
    patterns: int = 1,
    min_snr: float | Scalar = 100.0,
    seed: int = 0,
) -> BeamformingDesign:
    """The cooperative design: the best of this package, or the paper's algorithm.

    Args:
        scene: The scene.
        method: "direct" designs covariances and coefficients together, "sdr" is the paper's
            alternation with semidefinite programs.
        patterns: How many reflection patterns each surface goes through in its part of the dwell.
        min_snr: Least SNR of the matched filter, 100 being 20 dB; 0 for the paper's criterion. [1]
        seed: Of all that is random.

    Raises:
        ValueError: If no design was found that reaches the SNR, or if "sdr" is asked for more
            than one pattern, which the paper does not have.
    """
    if method == "direct":
        return design_jointly(scene, patterns=patterns, min_snr=min_snr, seed=seed)
    if patterns != 1:
        raise ValueError(f"method 'sdr' designs 1 pattern, not {patterns}; method 'direct' does")
    return design_alternately(scene, method=method, min_snr=min_snr, seed=seed)
