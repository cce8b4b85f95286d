"""States of the surfaces in the joint design: descents from them, and the division of the power."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from heliostat.design.joint import JointTask, Layout, Setting, final_setting, random_unknowns
from heliostat.design.joint_gradient import StackedTasks, stack_tasks, values_and_slopes
from heliostat.design.parametrization import descend_together

COARSE, FINE, FINEST = 30.0, 300.0, 3000.0
"""Sharpness of the smooth minima in successive rounds, see `parametrization.power_factor`."""
LARGE = 64  # number of elements above which every descent may take twice as many steps


class UnidentifiableError(ValueError):
    """No design was found with which a surface can estimate both angles."""

    def __init__(self) -> None:
        super().__init__(
            "elevation and azimuth cannot both be estimated at any surface: use several "
            "patterns, at least two antennas, rows and columns of elements, or a channel with more "
            "than one path"
        )


class SurfaceState(NamedTuple):
    """State of one surface during the design."""

    task: JointTask
    layout: Layout
    flat: np.ndarray  # unknowns, see `joint.Layout`
    power: float  # transmit power for it [W]


def _evaluator(
    states: list[SurfaceState], sharpness: float
) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return `values_and_slopes` of surfaces of equal shape, a function of unknowns and indices."""
    tasks = stack_tasks([state.task for state in states])
    power = np.array([state.power for state in states])
    layout = states[0].layout

    def evaluate(flat: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        chosen = StackedTasks(*(each[at] for each in tasks)) if len(at) < len(power) else tasks
        return values_and_slopes(chosen, flat, power[at], sharpness, layout)

    return evaluate


def _alike(states: list[SurfaceState]) -> list[list[int]]:
    """Return the indices of the states in groups of equal layout."""
    groups: dict[Layout, list[int]] = {}
    for i, state in enumerate(states):
        groups.setdefault(state.layout, []).append(i)
    return list(groups.values())


def objectives(states: list[SurfaceState], sharpness: float) -> np.ndarray:
    """Return the objective of each state and its derivative to the log power.

    Args:
        states: The states.
        sharpness: Sharpness of the objective.
    """
    found = np.empty((len(states), 2))
    for group in _alike(states):
        chosen = [states[i] for i in group]
        flat = np.stack([state.flat for state in chosen])
        value, _, to_power = _evaluator(chosen, sharpness)(flat, np.arange(len(flat)))
        found[group] = np.stack([value, to_power], axis=1)
    return found


def descended(
    states: list[SurfaceState], sharpness: float, steps: int
) -> list[tuple[SurfaceState, float]]:
    """Return the states with improved unknowns for their current power, and their objectives.

    Args:
        states: The states from which the descents start.
        sharpness: Sharpness of the objective.
        steps: Largest number of steps.
    """
    found = [(state, np.inf) for state in states]
    for group in _alike(states):
        chosen = [states[i] for i in group]
        flats, values = descend_together(
            _evaluator(chosen, sharpness), np.stack([s.flat for s in chosen]), steps=steps
        )
        for i, flat, value in zip(group, flats, values, strict=True):
            found[i] = states[i]._replace(flat=flat), float(value)
    return found


def best_states(
    contenders: list[list[SurfaceState]], sharpness: float, steps: int, count: int
) -> list[list[SurfaceState]]:
    """Return for each surface the best states after a descent from all of its contenders.

    Args:
        contenders: States of each surface.
        sharpness: Sharpness of the objective.
        steps: Largest number of steps; twice as many are allowed for large surfaces.
        count: Number of states that are returned for each surface, best first.
    """
    if max(each[0].layout.elements for each in contenders) > LARGE:
        steps *= 2
    found = iter(descended([state for each in contenders for state in each], sharpness, steps))
    best = []
    for each in contenders:
        ordered = sorted((next(found) for _ in each), key=lambda result: result[1])
        best.append([state for state, _ in ordered[:count]])
    return best


def random_starts(states: list[SurfaceState], starts: int, seed: int) -> list[list[SurfaceState]]:
    """Return each surface with several random unknowns.

    Args:
        states: The surfaces.
        starts: Number of random unknowns for each surface.
        seed: Seed of the unknowns.
    """
    begun = []
    for i, state in enumerate(states):
        rng = np.random.default_rng([seed, i])
        begun.append(
            [state._replace(flat=random_unknowns(state.layout, rng)) for _ in range(starts)]
        )
    return begun


class Evaluation(NamedTuple):
    """Design of one surface; its powers are used up to nine digits."""

    setting: Setting
    log_crb: float  # worst over the positions, or log of the mean
    snr: float  # smallest over the positions [1]


def evaluated_design(state: SurfaceState) -> Evaluation:
    """Return the coefficients and covariances of a state, and what they attain.

    Args:
        state: The state.
    """
    setting, log_crbs, snr = final_setting(
        state.task, state.flat, np.float64(state.power), state.layout
    )
    each = np.asarray(log_crbs)
    log_crb = np.log(np.mean(np.exp(each))) if state.layout.mean else np.max(each)
    return Evaluation(setting, float(log_crb), float(np.min(np.asarray(snr))))


def shared_power(states: list[SurfaceState], total: float, sharpness: float) -> list[SurfaceState]:
    """Divide the power so that all CRBs become equal, by one Newton step in logarithms.

    A surface at which an angle is not identifiable keeps its power: no power would help it.

    Args:
        states: The surfaces, at their optima.
        total: Sum of all powers. [W]
        sharpness: Sharpness with which these optima were found.
    """
    crbs = np.array([evaluated_design(s).log_crb for s in states])
    sharing = np.flatnonzero(np.isfinite(crbs))
    if len(sharing) == 0:
        return states
    value, chosen = crbs[sharing], [states[i] for i in sharing]
    total -= sum(s.power for s, crb in zip(states, crbs, strict=True) if not np.isfinite(crb))
    before = np.log([s.power for s in chosen])
    slopes = objectives(chosen, sharpness)[:, 1]
    # The CRB of a surface at its own power limit hardly depends on the transmit power. Bounding the
    # derivative keeps this surface from receiving all of the power.
    elasticity = np.clip(-slopes, 0.1, 2.0)

    def powers(level: float) -> np.ndarray:
        return np.exp(before + np.clip((value - level) / elasticity, -np.log(4), np.log(4)))

    low, high = value.min() - 4, value.max() + 4
    level = brentq(lambda x: powers(x).sum() - total, low, high)
    after = powers(float(level))
    after *= total / after.sum()
    divided = list(states)
    for i, power in zip(sharing, after, strict=True):
        divided[i] = states[i]._replace(power=float(power))
    return divided


def with_shared_power(
    contenders: list[list[SurfaceState]], total: float, sharpness: float
) -> tuple[list[list[SurfaceState]], float]:
    """Divide the power by the best contenders; also return the largest change of its logarithm.

    Args:
        contenders: States of each surface, best first.
        total: Sum of all powers. [W]
        sharpness: Sharpness with which the states were found.
    """
    best = [each[0] for each in contenders]
    after = [state.power for state in shared_power(best, total, sharpness)]
    change = max(abs(np.log(new / old.power)) for new, old in zip(after, best, strict=True))
    shared = [
        [state._replace(power=new) for state in each]
        for each, new in zip(contenders, after, strict=True)
    ]
    return shared, change


def best_at_power(candidates: list[list[SurfaceState]], powers: list[float]) -> list[SurfaceState]:
    """Return for each surface the candidate with the smallest objective at the given power.

    Args:
        candidates: States of each surface.
        powers: Power of each surface. [W]
    """
    chosen = []
    for states, power in zip(candidates, powers, strict=True):
        given = [s._replace(power=power) for s in states]
        chosen.append(given[int(np.argmin(objectives(given, FINE)[:, 0]))])
    return chosen
