r"""Joint design of all surfaces: multi-start descents and a shared transmit power.

Only the base station's power couples the surfaces. Coefficients and beams of each surface are
optimised together (`joint`) from several starts. Then the power is divided so that all CRBs are
equal, by Newton steps whose derivatives follow from the envelope theorem. For one pattern and one
position the optimal covariances of `transmit` are tried as well.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex
from scipy.optimize import brentq

from heliostat.design.feasibility import TOLERANCE, dwell_design
from heliostat.design.joint import (
    JointTask,
    Layout,
    final_setting,
    joint_layout,
    joint_task,
    random_unknowns,
    value_and_slopes,
)
from heliostat.design.parametrization import descend
from heliostat.design.result import FEASIBLE, NOT_IDENTIFIABLE, BeamformingDesign
from heliostat.design.transmit import solve_transmit
from heliostat.geometry.frames import Scalar
from heliostat.scene.sensing import SensingScene

Covariances: TypeAlias = Complex[Array, "surface pattern tx tx"]
Reflections: TypeAlias = tuple[Complex[Array, "pattern _"], ...]

COARSE, FINE, FINEST = 30.0, 300.0, 3000.0
"""Sharpness of the smooth minima in successive rounds, see `descent.power_factor`."""
TRIAL_STEPS, STEPS = 30, 200
FINALISTS = 4
ROUNDS = (COARSE, FINE, FINEST, FINEST)
SETTLED = 3e-4  # relative improvement below which the rounds end


class Share(NamedTuple):
    """State of one surface during the design."""

    task: JointTask
    layout: Layout
    flat: np.ndarray  # unknowns, see `joint.Layout`
    power: float  # transmit power for it [W]


class Incumbent(NamedTuple):
    """Best design found so far."""

    covariance: Covariances
    reflection: Reflections
    worst: float  # worst CRB [rad²]


def _evaluated(share: Share, sharpness: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return `value_and_slopes` of a surface as a function of its unknowns alone."""
    leaves, structure = jax.tree.flatten(share.task)
    fixed = jnp.asarray(share.power), jnp.asarray(sharpness)
    return lambda x: np.asarray(value_and_slopes(tuple(leaves), x, *fixed, structure, share.layout))


def _descend(share: Share, sharpness: float, steps: int) -> tuple[Share, float]:
    """Return a surface with improved unknowns at its present power, and the objective."""
    evaluate = _evaluated(share, sharpness)

    def value_and_slope(x: np.ndarray) -> tuple[float, np.ndarray]:
        row = evaluate(x)
        return float(row[0]), row[2:]

    flat, value = descend(value_and_slope, share.flat, steps=steps)
    return share._replace(flat=flat), value


def explore(share: Share, starts: int, rng: np.random.Generator) -> Share:
    """Run short descents from random starts, continue the best few, and return the best.

    Args:
        share: The surface.
        starts: Number of random starts.
        rng: Random generator of the starts.
    """
    beginnings = [share._replace(flat=random_unknowns(share.layout, rng)) for _ in range(starts)]
    trials = sorted((_descend(s, COARSE, TRIAL_STEPS) for s in beginnings), key=lambda t: t[1])
    finals = (_descend(s, COARSE, STEPS) for s, _ in trials[:FINALISTS])
    return min(finals, key=lambda t: t[1])[0]


def shared_power(shares: list[Share], total: float, sharpness: float) -> list[Share]:
    """Divide the power so that all CRBs become equal, by one Newton step in logarithms.

    Args:
        shares: The surfaces, at their optima.
        total: Sum of all powers. [W]
        sharpness: Sharpness with which these optima were found.
    """
    before = np.log([s.power for s in shares])
    values, slopes = [], []
    for s in shares:
        _, crbs, _ = final_setting(s.task, jnp.asarray(s.flat), jnp.asarray(s.power), s.layout)
        values.append(_score(np.asarray(crbs), s.layout.mean))
        slopes.append(_evaluated(s, sharpness)(s.flat)[1])
    # The CRB of a surface at its own power limit hardly depends on the transmit power: bound the
    # derivative, so that this surface does not get all of it.
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
    """Return covariances, coefficients, worst log CRB and least SNR of the unknowns."""
    covariance, reflection, worst, snr = [], [], [], []
    for s in shares:
        chosen, crbs, heard = final_setting(
            s.task, jnp.asarray(s.flat), jnp.asarray(s.power), s.layout
        )
        covariance.append(chosen.covariance)
        reflection.append(chosen.reflection)
        worst.append(_score(np.asarray(crbs), s.layout.mean))
        snr.append(float(jnp.min(heard)))
    # Rounding errors of the softmax and the sums must not violate the power constraint.
    safe = jnp.stack(covariance) * (1 - 1e-12)
    return safe, tuple(reflection), max(worst), min(snr)


class Course:
    """Best design found so far, and its worst CRB after each step."""

    def __init__(self, scenes: tuple[SensingScene, ...], min_snr: float | Scalar) -> None:
        self.scenes = scenes
        self.min_snr = jnp.asarray(min_snr, dtype=float)
        self.best: Incumbent | None = None
        self.history: list[float] = []

    def offer(self, covariance: Covariances, reflection: Reflections, worst: float) -> None:
        """Keep a feasible design if it is better than the best so far.

        Args:
            covariance: Transmit covariance of each surface and pattern. [W]
            reflection: Coefficients of each surface and pattern. [1]
            worst: Worst CRB over the surfaces. [rad²]
        """
        if self.best is None or worst < self.best.worst:
            self.best = Incumbent(covariance, reflection, worst)
        self.history.append(self.best.worst)

    def gained(self) -> float:
        """Return the relative improvement by the last step, 1 before there are two steps."""
        if len(self.history) < 2:
            return 1.0
        return 1 - self.history[-1] / self.history[-2]

    def offer_shares(self, shares: list[Share]) -> None:
        """Offer the present design, and its coefficients with the best covariances for them.

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
    """Return optimal covariances for single patterns, or None if none reach the SNR.

    Args:
        scene: The scene.
        reflection: One pattern for each surface. [1]
        min_snr: Least SNR. [1]

    Returns:
        Covariances [W], the given coefficients [1] and the worst CRB [rad²].
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
    """Run the joint design for one or several possible target positions.

    Args:
        scenes: The same scene with the target at each position.
        patterns: Number of patterns of each surface.
        mean: Whether to minimise the mean CRB over the positions instead of the worst.
        min_snr: Least SNR at every position. [1]
        starts: Number of random starts for each surface.
        seed: Seed of the starts.
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
    """Return the best design of a course after checking its constraints.

    Args:
        course: The course.
        lower_bound: Lower bound on the worst CRB of any design. [rad²]

    Raises:
        ValueError: If no design that reaches the SNR was found.
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
