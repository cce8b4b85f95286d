"""Search for the best set of candidate surfaces, and an upper bound on the share of any set."""

import itertools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from heliostat.maps.placement_sets import Table, met, rate_of_snr, scores, values_of

ROUNDS = 20
"""Largest number of rounds in which each surface of a set is exchanged."""
MOST_PREFIXES = 100_000
"""Largest number of sets without their last surface for which upper bounds are computed."""
MOST_VALUES = 5e8
"""Largest number of values, of sets at positions, in an exhaustive search; with rates, a value
counts once for each `BEAMS` pairs of beams."""
BEAMS = 8
THREADS = 2
"""Number of sets that are evaluated at the same time; XLA uses one core for each."""

OnProgress = Callable[[str, int, int], None]


class Found(NamedTuple):
    """A set of candidates."""

    chosen: tuple[int, ...]
    merit: tuple[float, float, float]
    """Share, quantile with the sign that makes larger better, and fulfillment, see `Scores`."""


class Certified(NamedTuple):
    """The best set that is known, and an upper bound on the share of all sets of its size."""

    best: Found
    bound: float
    """No set of as many candidates has a larger share. [1]"""
    sets: int
    """Number of all sets of this size."""


def merits_with(
    table: Table, chosen: Sequence[int], slot: int
) -> list[tuple[float, float, float] | None]:
    """Return the merit of a set with each candidate in one place.

    Args:
        table: The candidates.
        chosen: The set.
        slot: Place that is replaced, or the number of surfaces in the set to add one.

    Returns:
        The merits; None for candidates that overlap with another surface of the set.
    """
    goals = table.setting.goals
    found = scores(goals, table.values(table.sums(chosen, skipped=slot), slot))
    others = [mount for i, mount in enumerate(chosen) if i != slot]
    free = np.all(table.apart[others], axis=0)
    return [m if ok else None for m, ok in zip(found.order(goals[0]), free, strict=True)]


def improved(table: Table, chosen: Sequence[int], slot: int) -> Found | None:
    """Return the set with the best candidate in one place; None without a candidate."""
    merits = merits_with(table, chosen, slot)
    possible = [i for i, merit in enumerate(merits) if merit is not None]
    if not possible:
        return None
    best = max(possible, key=lambda i: merits[i] or ())  # the first of equal ones
    if slot < len(chosen) and merits[best] == merits[chosen[slot]]:
        best = chosen[slot]
    merit = merits[best]
    assert merit is not None
    return Found((*chosen[:slot], best, *chosen[slot + 1 :]), merit)


def greedy(table: Table, number: int, on_progress: OnProgress) -> list[Found]:
    """Add one surface after the other, and exchange after each step.

    Args:
        table: The candidates.
        number: Number of surfaces.
        on_progress: Function called with a name, the number of finished steps and the total number.

    Returns:
        A set of each number of surfaces from 1 on; fewer sets if no candidate is left to add.
    """
    found: list[Found] = []
    for size in range(1, number + 1):
        on_progress("search", size - 1, number)
        grown = improved(table, found[-1].chosen if found else (), size - 1)
        if grown is None:
            break
        found.append(exchanged(table, grown) if size > 1 else grown)
    on_progress("search", number, number)
    return found


def exchanged(table: Table, start: Found) -> Found:
    """Replace single surfaces of a set by better ones until none is left."""
    best = start
    for _ in range(ROUNDS):
        before = best
        for slot in range(len(best.chosen)):
            other = improved(table, best.chosen, slot)
            if other is not None and other.merit > best.merit:
                best = other
        if best.chosen == before.chosen:
            break
    return best


# Upper bounds -------------------------------------------------------------------------------------


class Reach(NamedTuple):
    """Positions at which sets of candidates can meet the goals at most."""

    always: Bool[np.ndarray, "position"]
    """The goals are met without a candidate."""
    alone: Float[np.ndarray, "mount position"]
    """1 where a candidate alone may meet the goals, 0 elsewhere and where ``always``."""
    helps: Float[np.ndarray, "mount position"]
    """1 where a candidate may meet the goals, alone or together with others; 0 elsewhere and where
    ``always``."""


def reach(table: Table, number: int) -> Reach:
    """Return the positions at which candidates can help to meet the goals.

    A further path does not decrease the Fisher information, so that no set meets a limit on the PEB
    where all candidates together do not. The largest amplitude of a pair of beams is at most the
    sum of the largest amplitudes over each path.

    Args:
        table: The candidates.
        number: Number of surfaces in a set.
    """
    setting, start = table.setting, table.start
    none = met(setting.goals, values_of(setting, start))
    alone = np.ones((table.mounts, none.size), dtype=bool)
    together = np.ones(none.size, dtype=bool)
    for goal in setting.goals:
        one = table.setting._replace(goals=(goal,))
        if goal.quantity == "peb":
            everything = start._replace(
                information=start.information + np.asarray(table.terms.information).sum(axis=1)
            )
            alone &= goal.met(table._replace(setting=one).values(start, 0)[0])
            together &= goal.met(values_of(one, everything)[0])
        else:
            own = np.abs(np.asarray(table.terms.receive)).max(axis=2)
            own = own * np.abs(np.asarray(table.terms.transmit)).max(axis=1)[:, None]
            before = np.abs(start.amplitude).max(axis=(1, 2))
            largest = -np.sort(-own, axis=0)[:number].sum(axis=0)
            alone &= goal.met(rate_of_snr(setting, (before + own) ** 2))
            together &= goal.met(rate_of_snr(setting, (before + largest) ** 2))
    alone &= table.visible & ~none
    helps = table.visible & together & ~none | alone
    return Reach(none, alone.astype(np.float32), helps.astype(np.float32))


def certified(
    table: Table,
    best: Found,
    on_progress: OnProgress,
    *,
    most_values: float = MOST_VALUES,
    most_prefixes: int = MOST_PREFIXES,
) -> Certified:
    """Search all sets as far as necessary, and bound the share of those that were not evaluated.

    Where a set meets the goals, one of its candidates alone can meet them, or at least two of them
    can help. The number of such positions is an upper bound for the set. Sets without their last
    surface are evaluated together with all candidates, those with the largest bound first, until no
    bound exceeds the share of the best set, or until the limit of evaluations is reached; the
    largest remaining bound then holds for all sets. With too many sets, the bound of
    `submodular_bound` is used instead.

    Args:
        table: The candidates.
        best: The best known set.
        on_progress: Function called with a name, the number of finished steps and the total number.
        most_values: Limit of the number of evaluated sets times positions, see `MOST_VALUES`.
        most_prefixes: Limit of the number of bounds, see `MOST_PREFIXES`.
    """
    number, setting = len(best.chosen), table.setting
    sets = math.comb(table.mounts, number)
    positions = len(setting.poses)
    if number == 1:
        return Certified(best, best.merit[0], sets)
    # The gains belong to the places in a set, so that the order matters for the rate.
    ordered = setting.needs[1] and not np.allclose(setting.gains, setting.gains[0])
    prefixes = (math.perm if ordered else math.comb)(table.mounts, number - 1)
    served = reach(table, number)
    if prefixes > most_prefixes:
        limit = min(submodular_bound(served, number), _reachable(served)) / positions
        return Certified(best, max(limit, best.merit[0]), sets)
    choose = itertools.permutations if ordered else itertools.combinations
    listed = np.array(list(choose(range(table.mounts), number - 1)))
    limits = np.concatenate(
        [_limits(table, served, part) for part in np.array_split(listed, -(-prefixes // 256))]
    )
    cost = table.mounts * positions
    if setting.needs[1]:
        cost *= max(table.start.amplitude[0].size // BEAMS, 1)
    most = max(int(most_values / cost), 1)
    order = np.argsort(-limits, kind="stable")
    total = min(most, int((limits > best.merit[0] * positions + 0.5).sum()))
    limits = np.floor(limits + 0.5)  # whole numbers, computed in single precision
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        for step in range(0, prefixes, THREADS):
            limit = float(limits[order[step]]) / positions
            if limit <= best.merit[0]:
                break
            if step >= most:
                return Certified(best, limit, sets)
            on_progress("exhaustive search", step, total)
            some = [tuple(listed[at].tolist()) for at in order[step : step + THREADS]]
            for prefix, share in zip(some, pool.map(partial(_share, table), some), strict=True):
                if share > best.merit[0]:
                    other = improved(table, prefix, number - 1)
                    assert other is not None  # there is a share
                    best = other
    return Certified(best, best.merit[0], sets)


def _share(table: Table, prefix: tuple[int, ...]) -> float:
    """Largest share of a set together with any candidate; 0 if none can be added."""
    values = table.values(table.sums(prefix), len(prefix))
    share = met(table.setting.goals, values).mean(axis=1)
    return float(np.where(np.all(table.apart[list(prefix)], axis=0), share, 0.0).max())


def _reachable(served: Reach) -> int:
    """Number of positions at which the goals can be met at all."""
    return int((served.always | served.helps.any(axis=0)).sum())


def _limits(
    table: Table, served: Reach, prefixes: Int[np.ndarray, "prefix member"]
) -> Float[np.ndarray, "prefix"]:
    """Largest number of positions that each prefix with any further candidate may serve."""
    helping = sum(served.helps[member] for member in prefixes.T)
    settled = (helping >= 2) | (sum(served.alone[member] for member in prefixes.T) > 0)
    second, first = ((helping == 1) & ~settled), ((helping == 0) & ~settled)
    more = second.astype(np.float32) @ served.helps.T + first.astype(np.float32) @ served.alone.T
    free = np.logical_and.reduce([table.apart[member] for member in prefixes.T])
    whole = served.always.sum() + settled.sum(axis=1) + np.where(free, more, -np.inf).max(axis=1)
    for one, other in itertools.combinations(prefixes.T, 2):
        whole = np.where(table.apart[one, other], whole, 0.0)
    return np.asarray(whole)


def submodular_bound(served: Reach, number: int) -> float:
    r"""Return an upper bound on the number of positions that any set can serve.

    With the weights :math:`w_{cp}` = 1 where the candidate c alone may meet the goals at p and 1/2
    where it helps, a set that serves p has weights that sum up to at least 1. The number of served
    positions is therefore at most :math:`f(T) = \sum_p\min(1, \sum_{c\in T}w_{cp})`, which is
    monotone and submodular, so that for any set T the maximum of f over all sets of n candidates is
    at most f(T) plus the n largest increases of f by a single candidate
    (:cite:`nemhauser1978`). T are the sets that a greedy search for the maximum of f passes.

    Args:
        served: Positions at which candidates can help.
        number: Number of surfaces in a set.
    """
    weights = (served.alone + served.helps) / 2
    left = np.ones(weights.shape[1], dtype=np.float32)
    bound, value = np.inf, 0.0
    for _ in range(number + 1):
        gains = np.minimum(weights, left[None, :]).sum(axis=1, dtype=float)
        bound = min(bound, value + float(np.sort(gains)[::-1][:number].sum()))
        chosen = int(gains.argmax())
        value += float(gains[chosen])
        left = np.maximum(left - weights[chosen], 0.0)
    return float(served.always.sum()) + bound
