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
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from heliostat.design.feasibility import TOLERANCE, dwell_design
from heliostat.design.joint import (
    joint_layout,
    joint_tasks,
    repeated_unknowns,
    steered_unknowns,
)
from heliostat.design.result import BeamformingDesign
from heliostat.design.surface_states import (
    COARSE,
    FINE,
    FINEST,
    SurfaceState,
    UnidentifiableError,
    best_at_power,
    best_states,
    descended,
    evaluated_design,
    random_starts,
    shared_power,
    with_shared_power,
)
from heliostat.design.transmit import solve_transmit
from heliostat.geometry.frames import Scalar
from heliostat.scene.sensing import SensingScene

Covariances: TypeAlias = Complex[Array, "surface pattern tx tx"]
Reflections: TypeAlias = tuple[Complex[Array, "pattern _"], ...]
OnProgress: TypeAlias = Callable[[int, int], None]
"""Function called with the number of finished rounds and of all; it may raise to end the search."""


class Round(NamedTuple):
    """Descents of all surfaces, from all states that the round before has kept."""

    sharpness: float
    steps: int
    kept: float
    """Share of the random starts whose results are kept; 0 to keep the best one only."""


ROUNDS = (
    Round(COARSE, 15, 1.0),
    Round(COARSE, 15, 1 / 2),
    Round(COARSE, 20, 1 / 4),
    Round(COARSE, 20, 1 / 4),
    Round(FINE, 40, 1 / 4),
    Round(FINE, 60, 1 / 8),
    Round(FINE, 60, 1 / 12),
    Round(FINEST, 40, 1 / 12),
    Round(FINEST, 60, 0.0),
    Round(FINEST, 60, 0.0),
    Round(FINEST, 60, 0.0),
)
"""Rounds of the search. The power is divided again before each but the first."""
FEW = 4  # number of results that are kept at least, before the last rounds
BALANCED = 0.02  # relative change of the powers below which the rounds may end
SETTLED = 3e-4  # relative improvement below which the rounds end
STEPS_FROM_DESIGN = (40, 10)
"""Steps of both descents from an existing design, before and after the power is divided again."""
SNR_LIMITED = 1.1  # ratio to the minimum SNR below which this constraint counts as active


class Incumbent(NamedTuple):
    """Best design found so far."""

    covariance: Covariances
    reflection: Reflections
    worst: float  # worst CRB [rad²]


def _with_patterns(single: Incumbent, patterns: int) -> Incumbent:
    """Return a design with one pattern as one with several equal patterns, of the same CRB."""
    return Incumbent(
        jnp.repeat(single.covariance, patterns, axis=1),
        tuple(jnp.repeat(psi, patterns, axis=0) for psi in single.reflection),
        single.worst,
    )


def default_starts(scene: SensingScene) -> int:
    """Return the number of random starts of a design of one scene.

    In the slow test of this search, designs for 36 elements at the knee are less than 0.03 dB above
    the best of several searches in the median. A start takes longer on larger panels.

    Args:
        scene: The scene.
    """
    return 48 if max(s.array.elements for s in scene.surfaces) <= 256 else 16


def _count(starts: int, kept: float) -> int:
    """Number of results that are kept after a round."""
    return max(min(FEW, starts), round(kept * starts)) if kept > 0 else 1


class DesignSearch:
    """Best design found so far, and its worst CRB after each step."""

    def __init__(self, scenes: tuple[SensingScene, ...], min_snr: float | Scalar) -> None:
        self.scenes = scenes
        self.min_snr = jax.device_put(np.asarray(min_snr, dtype=float))
        self.best: Incumbent | None = None
        self.history: list[float] = []
        self.states: list[SurfaceState] = []  # those offered last, even if below the minimum SNR
        self.snr = np.inf  # smallest SNR of these [1]
        self.identifiable = True  # whether both angles are, at one of the surfaces at least

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
        each = [evaluated_design(state) for state in states]
        self.snr = min(e.snr for e in each)
        self.identifiable = any(np.isfinite(e.log_crb) for e in each)
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
            UnidentifiableError: No surface can estimate both angles.
            ValueError: No design that reaches the minimum SNR was found.
        """
        if self.best is not None and self.identifiable:
            return self.best
        if not self.identifiable or float(self.min_snr) == 0:
            raise UnidentifiableError
        least = 10 * np.log10(float(self.min_snr))
        raise ValueError(
            f"no design was found in which every surface's echo has an SNR of {least:.3g} dB: "
            "lower the minimum SNR, or use more power, amplification, symbols or elements"
        )

    def design(self) -> BeamformingDesign:
        """Return the best design, evaluated for the first position, after checking its constraints.

        Raises:
            UnidentifiableError: No surface can estimate both angles.
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
    the best design has a higher SNR than required. For several patterns, the best design with one
    pattern is another candidate: near the largest possible SNR all patterns are nearly equal, which
    random starts do not find.

    Args:
        scenes: The same scene with the target at each position.
        patterns: Number of patterns of each surface.
        mean: Whether to minimize the mean CRB over the positions instead of the worst.
        min_snr: Minimum SNR at every position. [1]
        starts: Number of random starts for each surface.
        seed: Seed of the starts.
        on_progress: See `OnProgress`.
    """
    rounds = len(ROUNDS)
    free = _surface_states(scenes, 0.0, patterns, mean)
    search = _refined(
        DesignSearch(scenes, min_snr),
        random_starts(free, starts, seed),
        lambda done: on_progress(done, rounds),
    )
    if search.snr_reached:
        return search
    states = _surface_states(scenes, min_snr, patterns, mean)
    contenders = [
        [*each, found._replace(task=each[0].task)]
        for each, found in zip(random_starts(states, starts, seed), search.states, strict=True)
    ]
    limited = DesignSearch(scenes, min_snr)
    total = 2 * rounds if patterns == 1 else 4 * rounds
    if patterns > 1:
        single = descend_jointly(
            scenes,
            patterns=1,
            mean=mean,
            min_snr=min_snr,
            starts=starts,
            seed=seed,
            on_progress=lambda done, _: on_progress(rounds + done, total),
        )
        for each, found in zip(contenders, single.states, strict=True):
            each.extend(_with_equal_patterns(found, each[0], np.random.default_rng(seed)))
        if single.best is not None:
            limited.offer(_with_patterns(single.best, patterns))
    _refined(limited, contenders, lambda done: on_progress(total - rounds + done, total))
    if search.best is not None:
        limited.offer(search.best)
    return limited


def _with_equal_patterns(
    found: SurfaceState, wanted: SurfaceState, rng: np.random.Generator
) -> list[SurfaceState]:
    """Return states whose patterns all equal the one of a state: exactly, and nearly."""
    flat = repeated_unknowns(found.flat, found.layout, wanted.layout.patterns)
    # A descent from equal patterns never makes them differ.
    apart = flat + 0.1 * rng.normal(size=flat.size)
    return [wanted._replace(flat=each) for each in (flat, apart)]


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
    """Run all rounds from random starts, offer the designs of the last ones to a search, return it.

    The number of states decreases from round to round (successive halving). The power is divided
    between the rounds because the best of several minima depends on it.
    """
    total, starts = sum(each[0].power for each in contenders), len(contenders[0])
    change = np.inf
    for done, (sharpness, steps, kept) in enumerate(ROUNDS):
        if done > 0:
            contenders, change = with_shared_power(contenders, total, ROUNDS[done - 1].sharpness)
        contenders = best_states(contenders, sharpness, steps, _count(starts, kept))
        after_round(done + 1)
        if kept > 0:
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
    states = best_at_power(candidates, [total / scene.n_surfaces] * scene.n_surfaces)
    # The best candidate depends on the power, so it is chosen again.
    states = best_at_power(candidates, [s.power for s in shared_power(states, total, FINE)])
    for steps in STEPS_FROM_DESIGN:
        states = [state for state, _ in descended(states, FINE, steps)]
        states = shared_power(states, total, FINE)
    search.offer_states(states)
    return search
