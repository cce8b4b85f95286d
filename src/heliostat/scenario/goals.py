"""Goals of a placement: limits on error bound and rate, e.g. ``peb below 10 cm``."""

import re
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from heliostat.units import parse_quantity, quote

EXAMPLE = "'peb below 10 cm', 'rate above 100 Mbit/s', or both joined by 'and'"


class Goal(NamedTuple):
    """A limit on the position error bound (PEB) or on the effective rate at a position."""

    quantity: Literal["peb", "rate"]
    limit: float  # [m] or [bit/s]

    def met(self, values: Float[np.ndarray, "*any"]) -> Bool[np.ndarray, "*any"]:
        """Whether values of the quantity meet the goal.

        Args:
            values: PEB [m] or rate [bit/s].
        """
        return values < self.limit if self.quantity == "peb" else values > self.limit

    def fulfillment(self, values: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
        """Limit over PEB or rate over limit, at most 1. [1]

        Args:
            values: PEB [m] or rate [bit/s].
        """
        if self.quantity == "peb":
            return self.limit / np.maximum(values, self.limit)
        return np.minimum(values, self.limit) / self.limit

    def quantile_90(self, values: Float[np.ndarray, "*any position"]) -> Float[np.ndarray, "*any"]:
        """Value that 90 % of the positions attain or improve on.

        It is the 90 % quantile of the PEB, and the 10 % quantile of the rate.

        Args:
            values: PEB [m] or rate [bit/s].
        """
        count = values.shape[-1]
        rank = -(-9 * count // 10) - 1  # of the best value that 90 % attain
        at = rank if self.quantity == "peb" else count - 1 - rank
        return np.partition(values, at, axis=-1)[..., at]


_QUANTITIES = {"peb": ("below", "length"), "rate": ("above", "rate")}


def parse_goals(text: str) -> tuple[Goal, ...]:
    """Parse one or two goals.

    Args:
        text: Goals joined by "and", e.g. ``"peb below 10 cm and rate above 100 Mbit/s"``.

    Raises:
        ValueError: The text is no such goal; a sentence without a full stop.
    """
    if not isinstance(text, str):
        raise ValueError(f"{quote(text)} is not a goal; write {EXAMPLE}")
    found: list[Goal] = []
    for part in re.split(r"\s+and\s+", text.strip()):
        quantity, comparison, value = (*part.split(maxsplit=2), "", "", "")[:3]
        if quantity not in _QUANTITIES:
            raise ValueError(f"{quote(part)} is not a goal; write {EXAMPLE}")
        wanted, dimension = _QUANTITIES[quantity]
        if comparison != wanted:
            raise ValueError(f"{quote(part)} has no {wanted!r}; write {EXAMPLE}")
        limit = parse_quantity(value, dimension)
        if not limit > 0:
            raise ValueError(f"{quote(part)} has a limit that is not positive; write {EXAMPLE}")
        if any(goal.quantity == quantity for goal in found):
            raise ValueError(f"{quote(text)} has two limits on the {quantity}; keep one of them")
        found.append(Goal("peb" if quantity == "peb" else "rate", limit))
    return tuple(found)
