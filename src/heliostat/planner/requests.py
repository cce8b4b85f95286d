"""Content of the requests of the page, checked and limited in size."""

import json
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from starlette.requests import Request

from heliostat.planner.library import key_of

LARGEST_BODY = 2**21
"""Largest request. [B]"""
MOST_CELLS = 200
"""Largest number of cells along a side of a square map."""
MOST_OVERRIDES = 1000
SteeringChoice: TypeAlias = Literal["each point", "fixed"]
"""As in `heliostat.api.coverage`, which takes long to import."""


class RefusedError(Exception):
    """Raised for a request that is not one of the page."""


class Asked(NamedTuple):
    """Content of a request."""

    name: str
    text: str | None
    overrides: dict[str, Any]
    body: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Text that is equal for equal scenarios."""
        return key_of(self.name, self.text, self.overrides)


async def body_of(request: Request) -> Mapping[str, Any]:
    """Return the JSON object in a request.

    Args:
        request: The request.

    Raises:
        RefusedError: It is too large or not a JSON object.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY:
            raise RefusedError(f"the request is larger than {LARGEST_BODY >> 20} MiB")
        parts.append(part)
    try:
        body = json.loads(b"".join(parts))
    except (ValueError, RecursionError):
        raise RefusedError("the request is not JSON") from None
    if not isinstance(body, dict):
        raise RefusedError("the request is not a JSON object")
    return body


def asked_of(body: Mapping[str, Any]) -> Asked:
    """Return the scenario that a request is about.

    Raises:
        RefusedError: It has no scenario.
    """
    name, text = body.get("name"), body.get("text")
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise RefusedError("name is not the name of a scenario")
    if text is not None and (not isinstance(text, str) or len(text) > 2**20):
        raise RefusedError("text is not a scenario of at most 1 MiB")
    return Asked(name, text, checked_overrides(body.get("overrides") or {}), body)


def checked_overrides(given: Any) -> dict[str, Any]:
    """Return overrides by dotted key.

    Raises:
        RefusedError: They are not an object with a limited number of entries.
    """
    if not isinstance(given, dict) or len(given) > MOST_OVERRIDES:
        raise RefusedError(f"overrides is not an object with at most {MOST_OVERRIDES} entries")
    return given


def are_numbers(given: Any, count: int) -> bool:
    """Return whether a value is a list of finite numbers.

    Args:
        given: Content of a request.
        count: Number of entries.
    """
    return (
        isinstance(given, list)
        and len(given) == count
        and all(isinstance(x, int | float) and not isinstance(x, bool) for x in given)
        and all(math.isfinite(x) and abs(x) <= 1e8 for x in given)
    )


class MapArguments(NamedTuple):
    """Arguments of a map."""

    quantity: str | None
    area: list[float] | None
    cells: int
    steering: SteeringChoice | None = None


def map_arguments(asked: Asked) -> MapArguments:
    """Return the arguments of the map that a request asks for.

    Raises:
        RefusedError: The area, the number of cells or the steering is out of range.
    """
    area, cells = asked.body.get("area"), asked.body.get("cells", 120)
    if area is not None and not are_numbers(area, 4):
        raise RefusedError("area is not a list of four numbers")
    if not isinstance(cells, int) or not 1 <= cells <= MOST_CELLS:
        raise RefusedError(f"cells is not a whole number from 1 to {MOST_CELLS}")
    steering = asked.body.get("steering")
    if steering not in (None, *get_args(SteeringChoice)):
        raise RefusedError("steering is neither 'each point' nor 'fixed'")
    return MapArguments(asked.body.get("quantity"), area, cells, steering)


def positive(asked: Asked, name: str) -> float | None:
    """Return a positive number in a request, or None if there is none.

    Raises:
        RefusedError: It is not a positive number.
    """
    value = asked.body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise RefusedError(f"{name} is not a positive number")
    return float(value)


def text_of(asked: Asked, name: str) -> str:
    """Return a text of a request.

    Raises:
        RefusedError: It is not a text of at most 200 characters.
    """
    value = asked.body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise RefusedError(f"{name} is not a text of 1 to 200 characters")
    return value
