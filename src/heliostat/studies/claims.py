"""Verdicts on claims about estimates: one decision rule and one wording for all studies."""

import math
from collections.abc import Mapping

from heliostat.studies.statistics import Estimate, every
from heliostat.studies.study import Verdict


def listed(estimates: Mapping[str, Estimate], digits: int = 1, unit: str = "") -> str:
    """Several estimates in one sentence, each after the case it belongs to."""
    return "; ".join(f"{case}: {e.text(digits, unit)}" for case, e in estimates.items())


def judge(
    figure: str,
    claim: str,
    estimates: Mapping[str, Estimate],
    *,
    low: float = -math.inf,
    high: float = math.inf,
    within: float = math.inf,
    quantity: str,
    digits: int = 1,
    unit: str = "",
    note: str = "",
) -> Verdict:
    """Verdict on the claim that every estimate lies between two limits.

    The claim holds if all confidence intervals lie between the limits, fails if one lies outside,
    and is undecided otherwise.

    Args:
        figure: Figure or section that the claim is about.
        claim: The claim, with the limits if its words do not give them.
        estimates: Estimates by the case they belong to, such as ``N = 16``.
        low: Lower limit.
        high: Upper limit.
        within: Limit of the magnitude.
        quantity: Quantity that is estimated; the finding starts with it.
        digits: Decimal places in the finding.
        unit: Unit, with a leading space if there is to be one.
        note: Text after the estimates.
    """
    low, high = max(low, -within), min(high, within)
    answer = every(estimate.between(low, high) for estimate in estimates.values())
    return Verdict(figure, claim, answer, f"{quantity}, {listed(estimates, digits, unit)}{note}")
