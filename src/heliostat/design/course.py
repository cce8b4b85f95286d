r"""The course of a joint design: explore, share the power, descend, keep the best.

Only the base station's power ties the surfaces together. Each surface's coefficients and beams
descend at once (`joint`), from several starts; then the power is shared so that all CRBs come out
equal. How a CRB answers to its power is the slope of the descent's objective, by the envelope
theorem. For one pattern and one position the exact covariances of `transmit` are tried as well.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex
from scipy.optimize import brentq

from heliostat.design.descent import descend
from heliostat.design.dwell import TOLERANCE, dwell_design
from heliostat.design.joint import (
    JointTask,
    Layout,
    final_setting,
    joint_layout,
    joint_task,
    random_unknowns,
    value_and_slopes,
)
from heliostat.design.result import FEASIBLE, NOT_IDENTIFIABLE, BeamformingDesign
from heliostat.design.transmit import solve_transmit
from heliostat.geometry.frames import Scalar
from heliostat.sensing_scene import SensingScene

Covariances: TypeAlias = Complex[Array, "surface pattern tx tx"]
Reflections: TypeAlias = tuple[Complex[Array, "pattern _"], ...]

COARSE, FINE, FINEST = 30.0, 300.0, 3000.0
"""How closely the smooth least of two powers follows the true one, step by step."""
TRIAL_STEPS, STEPS = 30, 200
FINALISTS = 3
ROUNDS = (COARSE, FINE, FINEST, FINEST)
SETTLED = 3e-4  # relative improvement of a round that ends them


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


def _evaluated(share: Share, sharpness: float) -> Callable[[np.ndarray], np.ndarray]:
    """`value_and_slopes` of a surface as a function of its unknowns alone."""
    leaves, structure = jax.tree.flatten(share.task)
    fixed = jnp.asarray(share.power), jnp.asarray(sharpness)
    return lambda x: np.asarray(value_and_slopes(tuple(leaves), x, *fixed, structure, share.layout))


def _descend(share: Share, sharpness: float, steps: int) -> tuple[Share, float]:
    """A surface's unknowns, improved at its present power."""
    evaluate = _evaluated(share, sharpness)

    def value_and_slope(x: np.ndarray) -> tuple[float, np.ndarray]:
        row = evaluate(x)
        return float(row[0]), row[2:]

    flat, value = descend(value_and_slope, share.flat, steps=steps)
    return share._replace(flat=flat), value


def explore(share: Share, starts: int, rng: np.random.Generator) -> Share:
    """The best of several short descents, after the best of these have gone further.

    Args:
        share: The surface.
        starts: How many descents.
        rng: Where they begin.
    """
    beginnings = [share._replace(flat=random_unknowns(share.layout, rng)) for _ in range(starts)]
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
    before = np.log([s.power for s in shares])
    values, slopes = [], []
    for s in shares:
        _, crbs, _ = final_setting(s.task, jnp.asarray(s.flat), jnp.asarray(s.power), s.layout)
        values.append(_score(np.asarray(crbs), s.layout.mean))
        slopes.append(_evaluated(s, sharpness)(s.flat)[1])
    # A surface at its own limit hardly answers to power; do not send it all there is.
    answer = np.clip(-np.asarray(slopes, dtype=float), 0.1, 2.0)
    value = np.asarray(values)
    if not np.isfinite(value).all():
        raise ValueError(
            f"surface {int(np.argmin(np.isfinite(value)))} cannot tell both angles whatever is "
            f"designed with {shares[0].layout.patterns} pattern(s): use more patterns, or "
            "a channel of more than one path"
        )

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

    def gained(self) -> float:
        """Relative improvement by the last step; all of it where there was none before."""
        if len(self.history) < 2:
            return 1.0
        return 1 - self.history[-1] / self.history[-2]

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
    for sharpness in ROUNDS:
        shares = shared_power(shares, each * scene.n_surfaces, sharpness)
        shares = [_descend(s, sharpness, STEPS)[0] for s in shares]
        course.offer_shares(shares)
        if sharpness > COARSE and course.gained() < SETTLED:
            break
    return course


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
        code=FEASIBLE if np.isfinite(course.best.worst) else NOT_IDENTIFIABLE,
    )
