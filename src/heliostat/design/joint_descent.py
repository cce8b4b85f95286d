r"""Joint design of all surfaces by multi-start descents that share the transmit power.

The surfaces are coupled only by the power of the base station. Coefficients and beams of each
surface are optimized together (`joint`) from several starts. Then the power is divided so that the
Cramér-Rao bounds (CRB) of all surfaces are equal, by Newton steps whose derivatives follow from the
envelope theorem. For one pattern and one position the optimal covariances of `transmit` are tried
as well.

Maps with a separate design for each position need few random starts (`descend_from`), because a
design for another position is nearly optimal once its coefficients are steered to the new
direction.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Complex
from scipy.optimize import brentq

from heliostat.design.feasibility import TOLERANCE, dwell_design
from heliostat.design.joint import (
    JointTask,
    Layout,
    Setting,
    final_setting,
    joint_layout,
    joint_tasks,
    random_unknowns,
    steered_unknowns,
)
from heliostat.design.joint_gradient import stack_tasks, values_and_slopes
from heliostat.design.parametrization import descend_together
from heliostat.design.result import BeamformingDesign
from heliostat.design.transmit import solve_transmit
from heliostat.geometry.frames import Scalar
from heliostat.scene.sensing import SensingScene

Covariances: TypeAlias = Complex[Array, "surface pattern tx tx"]
Reflections: TypeAlias = tuple[Complex[Array, "pattern _"], ...]
OnProgress: TypeAlias = Callable[[int, int], None]
"""Function called with the number of finished rounds and of all; it may raise to end the search."""

COARSE, FINE, FINEST = 30.0, 300.0, 3000.0
"""Sharpness of the smooth minima in successive rounds, see `parametrization.power_factor`."""
TRIAL_STEPS, FINALIST_STEPS = 30, 40
FINALISTS = 4
ROUNDS = (
    (COARSE, 20, FINALISTS),
    (COARSE, 20, FINALISTS),
    (FINE, 80, FINALISTS),
    (FINE, 150, 1),
    (FINEST, 60, 1),
    (FINEST, 60, 1),
    (FINEST, 60, 1),
)
"""Sharpness, steps, and number of results that are kept, in each round. The power is divided again
before each."""
LARGE = 64  # number of elements above which every descent may take twice as many steps
BALANCED = 0.02  # relative change of the powers below which the rounds may end
SETTLED = 3e-4  # relative improvement below which the rounds end
STEPS_FROM_DESIGN = (40, 10)
"""Steps of both descents from an existing design, before and after the power is divided again."""
SNR_LIMITED = 1.1  # ratio to the minimum SNR below which this constraint counts as active


class SurfaceState(NamedTuple):
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


def _evaluator(
    states: list[SurfaceState], sharpness: float
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return `values_and_slopes` of surfaces of equal shape as a function of the unknowns alone."""
    tasks = stack_tasks([state.task for state in states])
    power = np.array([state.power for state in states])
    return lambda flat: values_and_slopes(tasks, flat, power, sharpness, states[0].layout)


def _alike(states: list[SurfaceState]) -> list[list[int]]:
    """Return the indices of the states in groups of equal layout."""
    groups: dict[Layout, list[int]] = {}
    for i, state in enumerate(states):
        groups.setdefault(state.layout, []).append(i)
    return list(groups.values())


def _evaluated(states: list[SurfaceState], sharpness: float) -> np.ndarray:
    """Return the objective of each state and its derivative to the log power."""
    found = np.empty((len(states), 2))
    for group in _alike(states):
        chosen = [states[i] for i in group]
        value, _, to_power = _evaluator(chosen, sharpness)(np.stack([s.flat for s in chosen]))
        found[group] = np.stack([value, to_power], axis=1)
    return found


def _descend(
    states: list[SurfaceState], sharpness: float, steps: int
) -> list[tuple[SurfaceState, float]]:
    """Return the states with improved unknowns for their current power, and their objectives."""
    found = [(state, np.inf) for state in states]
    for group in _alike(states):
        chosen = [states[i] for i in group]
        flats, values = descend_together(
            _evaluator(chosen, sharpness), np.stack([s.flat for s in chosen]), steps=steps
        )
        for i, flat, value in zip(group, flats, values, strict=True):
            found[i] = states[i]._replace(flat=flat), float(value)
    return found


def _best(
    contenders: list[list[SurfaceState]], sharpness: float, steps: int, count: int
) -> list[list[SurfaceState]]:
    """Return for each surface the best states after a descent from all of its contenders."""
    if max(each[0].layout.elements for each in contenders) > LARGE:
        steps *= 2
    found = iter(_descend([state for each in contenders for state in each], sharpness, steps))
    best = []
    for each in contenders:
        ordered = sorted((next(found) for _ in each), key=lambda result: result[1])
        best.append([state for state, _ in ordered[:count]])
    return best


def explore(states: list[SurfaceState], starts: int, seed: int) -> list[list[SurfaceState]]:
    """Run short descents from random starts and continue the best few, which are returned in order.

    Args:
        states: The surfaces.
        starts: Number of random starts for each surface.
        seed: Seed of the starts.
    """
    begun = []
    for i, state in enumerate(states):
        rng = np.random.default_rng([seed, i])
        begun.append(
            [state._replace(flat=random_unknowns(state.layout, rng)) for _ in range(starts)]
        )
    finalists = _best(begun, COARSE, TRIAL_STEPS, FINALISTS)
    return _best(finalists, COARSE, FINALIST_STEPS, FINALISTS)


class _Evaluation(NamedTuple):
    """Design of one surface; its powers are used up to nine digits."""

    setting: Setting
    log_crb: float  # worst over the positions, or log of the mean
    snr: float  # smallest over the positions [1]


def _evaluate(state: SurfaceState) -> _Evaluation:
    setting, log_crbs, snr = final_setting(
        state.task, state.flat, np.float64(state.power), state.layout
    )
    each = np.asarray(log_crbs)
    log_crb = np.log(np.mean(np.exp(each))) if state.layout.mean else np.max(each)
    return _Evaluation(setting, float(log_crb), float(np.min(np.asarray(snr))))


def shared_power(states: list[SurfaceState], total: float, sharpness: float) -> list[SurfaceState]:
    """Divide the power so that all CRBs become equal, by one Newton step in logarithms.

    Args:
        states: The surfaces, at their optima.
        total: Sum of all powers. [W]
        sharpness: Sharpness with which these optima were found.

    Raises:
        ValueError: A surface has no finite CRB.
    """
    before = np.log([s.power for s in states])
    value = np.array([_evaluate(s).log_crb for s in states])
    slopes = _evaluated(states, sharpness)[:, 1]
    # The CRB of a surface at its own power limit hardly depends on the transmit power. Bounding the
    # derivative keeps this surface from receiving all of the power.
    elasticity = np.clip(-slopes, 0.1, 2.0)
    if not np.isfinite(value).all():
        raise ValueError(
            f"elevation and azimuth are not both identifiable at surface "
            f"{int(np.argmin(np.isfinite(value)))} with {states[0].layout.patterns} pattern(s): "
            "use more patterns, or a channel with more than one path"
        )

    def powers(level: float) -> np.ndarray:
        return np.exp(before + np.clip((value - level) / elasticity, -np.log(4), np.log(4)))

    low, high = value.min() - 4, value.max() + 4
    level = brentq(lambda x: powers(x).sum() - total, low, high)
    after = powers(float(level))
    after *= total / after.sum()
    return [s._replace(power=float(p)) for s, p in zip(states, after, strict=True)]


def _with_shared_power(
    contenders: list[list[SurfaceState]], total: float, sharpness: float
) -> tuple[list[list[SurfaceState]], float]:
    """Divide the power by the best contenders; also return the largest change of its logarithm."""
    best = [each[0] for each in contenders]
    after = [state.power for state in shared_power(best, total, sharpness)]
    change = max(abs(np.log(new / old.power)) for new, old in zip(after, best, strict=True))
    shared = [
        [state._replace(power=new) for state in each]
        for each, new in zip(contenders, after, strict=True)
    ]
    return shared, change


class DesignSearch:
    """Best design found so far, and its worst CRB after each step."""

    def __init__(self, scenes: tuple[SensingScene, ...], min_snr: float | Scalar) -> None:
        self.scenes = scenes
        self.min_snr = jax.device_put(np.asarray(min_snr, dtype=float))
        self.best: Incumbent | None = None
        self.history: list[float] = []
        self.states: list[SurfaceState] = []  # those offered last, even if below the minimum SNR
        self.snr = np.inf  # smallest SNR of these [1]

    @property
    def snr_reached(self) -> bool:
        """Whether the states offered last reach the minimum SNR."""
        return self.snr >= float(self.min_snr) * (1 - 1e-6)

    @property
    def snr_limited(self) -> bool:
        """Whether the minimum SNR is active in the states offered last."""
        return self.snr < SNR_LIMITED * float(self.min_snr)

    def offer(self, candidate: Incumbent) -> None:
        """Keep a feasible design if it is better than the best one so far.

        Args:
            candidate: The design.
        """
        if self.best is None or candidate.worst < self.best.worst:
            self.best = candidate
        self.history.append(self.best.worst)

    def improvement(self) -> float:
        """Return the relative improvement by the last step; 1 if there are fewer than two steps."""
        if len(self.history) < 2:
            return 1.0
        return 1 - self.history[-1] / self.history[-2]

    def offer_states(self, states: list[SurfaceState]) -> None:
        """Offer the current design, and its coefficients with the covariances optimal for these.

        Args:
            states: The surfaces.
        """
        self.states = states
        each = [_evaluate(state) for state in states]
        self.snr = min(e.snr for e in each)
        reflection = tuple(e.setting.reflection for e in each)
        candidates = []
        if self.snr_reached:
            # Rounding errors of the softmax and the sums must not violate the power constraint.
            covariance = np.stack([e.setting.covariance for e in each]) * (1 - 1e-12)
            worst = float(np.exp(max(e.log_crb for e in each)))
            candidates.append(Incumbent(jax.device_put(covariance), reflection, worst))
        if len(self.scenes) == 1 and states[0].layout.patterns == 1:
            exact = transmit_half(self.scenes[0], reflection, self.min_snr)
            if exact is not None:
                candidates.append(exact)
        if candidates:
            self.offer(min(candidates, key=lambda candidate: candidate.worst))

    def result(self) -> Incumbent:
        """Return the best design.

        Raises:
            ValueError: No design that reaches the minimum SNR was found.
        """
        if self.best is None:
            least = 10 * np.log10(float(self.min_snr)) if float(self.min_snr) > 0 else -np.inf
            raise ValueError(
                f"no design was found in which every surface's echo has an SNR of {least:.3g} dB: "
                "lower the minimum SNR, or use more power, amplification, symbols or elements"
            )
        return self.best

    def design(self) -> BeamformingDesign:
        """Return the best design, evaluated for the first position, after checking its constraints.

        Raises:
            ValueError: No design that reaches the minimum SNR was found.
        """
        best = self.result()
        return dwell_design(
            self.scenes[0],
            best.covariance,
            best.reflection,
            min_snr=self.min_snr,
            history=self.history,
        )


def transmit_half(
    scene: SensingScene, reflection: Reflections, min_snr: Scalar
) -> Incumbent | None:
    """Return optimal covariances for single patterns; None if none reach the minimum SNR.

    Args:
        scene: The scene.
        reflection: One pattern for each surface. [1]
        min_snr: Minimum SNR. [1]
    """
    optimum = solve_transmit(scene, tuple(psi[0] for psi in reflection), min_snr)
    worst = optimum.worst_crb
    slack = optimum.slack
    loud = np.all(np.asarray(slack.snr) >= -1e-6 * float(min_snr))
    powered = np.all(np.asarray(slack.surface) >= -TOLERANCE * float(scene.base_station.power))
    if not (np.isfinite(worst) and loud and powered):
        return None
    return Incumbent(jax.device_put(np.asarray(optimum.covariance)[:, None]), reflection, worst)


def descend_jointly(
    scenes: tuple[SensingScene, ...],
    *,
    patterns: int,
    mean: bool,
    min_snr: float | Scalar,
    starts: int,
    seed: int,
    on_progress: OnProgress = lambda done, total: None,
) -> DesignSearch:
    """Run the joint design for one or several possible target positions.

    The first search disregards the minimum SNR. A second one with a penalty for a lower SNR, in
    which the result of the first is one of the candidates, only follows if the result does not
    reach it. With the penalty from the start, searches end at poor designs of high SNR even where
    the best design has a higher SNR than required.

    Args:
        scenes: The same scene with the target at each position.
        patterns: Number of patterns of each surface.
        mean: Whether to minimize the mean CRB over the positions instead of the worst.
        min_snr: Minimum SNR at every position. [1]
        starts: Number of random starts for each surface.
        seed: Seed of the starts.
        on_progress: See `OnProgress`.
    """
    each = len(ROUNDS)
    free = _surface_states(scenes, 0.0, patterns, mean)
    search = _refined(
        DesignSearch(scenes, min_snr),
        explore(free, starts, seed),
        lambda done: on_progress(done, each),
    )
    if search.snr_reached:
        return search
    states = _surface_states(scenes, min_snr, patterns, mean)
    contenders = [
        [*each[: FINALISTS - 1], found._replace(task=each[0].task)]
        for each, found in zip(explore(states, starts, seed), search.states, strict=True)
    ]
    limited = DesignSearch(scenes, min_snr)
    _refined(limited, contenders, lambda done: on_progress(each + done, 2 * each))
    if search.best is not None:
        limited.offer(search.best)
    return limited


def _surface_states(
    scenes: tuple[SensingScene, ...], min_snr: float | Scalar, patterns: int, mean: bool
) -> list[SurfaceState]:
    """Return the surfaces with equal powers and without unknowns."""
    power, states = float(scenes[0].base_station.power), []
    for task in joint_tasks(scenes, jax.device_put(np.asarray(min_snr, dtype=float))):
        layout = joint_layout(task, patterns, mean)
        states.append(SurfaceState(task, layout, np.zeros(layout.size), power))
    return states


def _refined(
    search: DesignSearch, contenders: list[list[SurfaceState]], after_round: Callable[[int], None]
) -> DesignSearch:
    """Offer the designs of all rounds that follow `explore` to a search, and return it."""
    total, before = sum(each[0].power for each in contenders), COARSE
    for done, (sharpness, steps, kept) in enumerate(ROUNDS, 1):  # 1 is that of `explore`
        after_round(done)
        contenders, change = _with_shared_power(contenders, total, before)
        contenders, before = _best(contenders, sharpness, steps, kept), sharpness
        if kept > 1:
            continue
        search.offer_states([each[0] for each in contenders])
        if search.improvement() < SETTLED and change < BALANCED:
            break
    return search


def descend_from(designs: Sequence[DesignSearch], scene: SensingScene) -> DesignSearch:
    """Run the joint design for another position of the target, from existing designs.

    Each surface starts from the given design that is best for it after steering to the new
    position, and is improved by two short descents. Where the minimum SNR is active
    (`DesignSearch.snr_limited`), the optimum depends on the target's gain, and a search from random
    starts may find a better design.

    Args:
        designs: Results of `descend_jointly` for one position each, with the same number of
            patterns and the same minimum SNR.
        scene: The same scene with the target at another position.
    """
    search = DesignSearch((scene,), designs[0].min_snr)
    total = float(scene.base_station.power) * scene.n_surfaces
    candidates = []
    for i, task in enumerate(joint_tasks((scene,), search.min_snr)):
        states = [design.states[i] for design in designs]
        steered = [steered_unknowns(s.flat, s.task, task, s.layout) for s in states]
        candidates.append(
            [
                s._replace(task=task, flat=np.asarray(x))
                for s, x in zip(states, steered, strict=True)
            ]
        )
    states = _best_of(candidates, [total / scene.n_surfaces] * scene.n_surfaces)
    # The best candidate depends on the power, so it is chosen again.
    states = _best_of(candidates, [s.power for s in shared_power(states, total, FINE)])
    for steps in STEPS_FROM_DESIGN:
        states = [state for state, _ in _descend(states, FINE, steps)]
        states = shared_power(states, total, FINE)
    search.offer_states(states)
    return search


def _best_of(candidates: list[list[SurfaceState]], powers: list[float]) -> list[SurfaceState]:
    """Return for each surface the candidate with the smallest objective at the given power."""
    chosen = []
    for states, power in zip(candidates, powers, strict=True):
        given = [s._replace(power=power) for s in states]
        chosen.append(given[int(np.argmin(_evaluated(given, FINE)[:, 0]))])
    return chosen
