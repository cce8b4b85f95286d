"""Confidence intervals of proportions."""

from typing import NamedTuple

from scipy.stats import binomtest


class Proportion(NamedTuple):
    """A proportion of trials with its confidence interval."""

    value: float
    low: float
    high: float


def proportion(successes: int, trials: int, confidence: float = 0.95) -> Proportion:
    """Proportion of successes with its two-sided Clopper-Pearson interval.

    Args:
        successes: Number of successes.
        trials: Number of trials, at least one.
        confidence: Coverage probability of the interval.
    """
    interval = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return Proportion(successes / trials, float(interval.low), float(interval.high))


def upper_limit(successes: int, trials: int) -> float:
    """One-sided 95 % Clopper-Pearson upper limit; about 3/trials without successes.

    Args:
        successes: Number of successes.
        trials: Number of trials, at least one.
    """
    test = binomtest(successes, trials, alternative="less")
    return float(test.proportion_ci(0.95, method="exact").high)
