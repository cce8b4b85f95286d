"""Axes and random ranges of a study, as written in its file."""

import math
import re
from typing import Any

import numpy as np

from heliostat.batch.trial import Axis, UniformRange
from heliostat.scenario.errors import printable
from heliostat.units import DIMENSIONS, NUMBER, quote

_UNIT = r"(?!in\b)[^\s\d.+-][^\s]*"
_RANGE = re.compile(rf"({NUMBER})\s*\.\.\s*({NUMBER})(?:\s*({_UNIT}))?")
_STEPS = re.compile(r"(.*)\s+in\s+([0-9]{1,6})(\s+log)?")
_QUANTITY = re.compile(rf"({NUMBER})\s*({_UNIT})")


def read_axis(key: str, given: Any) -> Axis:
    """Return the axis that one entry of ``axes`` describes.

    Args:
        key: A dotted key, or several separated by commas.
        given: A list of values, or a range such as ``10..40 dBm in 7``.

    Raises:
        ValueError: It describes no axis; the message says what to write.
    """
    keys = tuple(part.strip() for part in key.split(","))
    if not all(keys):
        raise ValueError("has an empty key; write e.g. surface.rows, surface.columns")
    if "surfaces" in keys:
        raise ValueError("an axis cannot replace all surfaces; write e.g. surfaces.0.power")
    entries = _range(given) if isinstance(given, str) else given
    if not isinstance(entries, list) or not entries:
        raise ValueError("is not a list of values; write e.g. [4, 8, 16], or 10..40 dBm in 7")
    if any(entry is None for entry in entries):
        raise ValueError("has an empty value; give every value")
    coordinates, unit = _coordinates(entries)
    if len(set(coordinates)) < len(coordinates):
        raise ValueError("has a value twice; keep one of them")
    si = {dimension.si for dimension in DIMENSIONS.values()}
    suffix = "" if unit in si or not unit else "_" + re.sub(r"\W+", "_", unit).lower()
    shown = unit if unit and unit != "linear" else "1"
    return Axis(keys[0] + suffix, keys, dict(zip(coordinates, entries, strict=True)), shown)


def _range(text: str) -> list[Any]:
    """Values of ``10..40 dBm in 7`` or ``1..1000 mW in 4 log``."""
    remedy = "write e.g. 10..40 dBm in 7, or 1..1000 mW in 4 log, or a list"
    steps = _STEPS.fullmatch(text.strip())
    ends = _RANGE.fullmatch(steps[1].strip()) if steps else None
    if steps is None or ends is None:
        raise ValueError(f"{quote(text)} is not a range; {remedy}")
    low, high, count = float(ends[1]), float(ends[2]), int(steps[2])
    if count < 2 or not (math.isfinite(low) and math.isfinite(high)) or low == high:
        raise ValueError(f"{quote(text)} needs two different ends and at least 2 values; {remedy}")
    if steps[3] and min(low, high) <= 0:
        raise ValueError(f"{quote(text)} has no logarithm; both ends have to be above 0")
    values = np.geomspace(low, high, count) if steps[3] else np.linspace(low, high, count)
    numbers: list[Any] = [float(f"{value:.12g}") for value in values]
    if ends[3]:
        return [f"{number:.12g} {ends[3]}" for number in numbers]
    if all(number.is_integer() and abs(number) < 2**53 for number in numbers):
        return [int(number) for number in numbers]
    return numbers


def _coordinates(entries: list[Any]) -> tuple[list[Any], str]:
    """Coordinates of the dataset for the values of an axis, and their unit."""
    if all(isinstance(entry, int | float) and not isinstance(entry, bool) for entry in entries):
        if not all(math.isfinite(entry) for entry in entries):
            raise ValueError("has a value that is not finite; give finite values")
        return entries, ""
    matches = [isinstance(entry, str) and _QUANTITY.fullmatch(entry.strip()) for entry in entries]
    known = {unit for dimension in DIMENSIONS.values() for unit in dimension.units}
    units = {match[2] if match else "" for match in matches}
    if units <= known:
        if len(units) > 1:
            raise ValueError(f"mixes the units {' and '.join(sorted(units))}; use one unit")
        return [float(match[1]) for match in matches if match], units.pop()
    return [_label(entry) for entry in entries], ""


def _label(entry: Any) -> str:
    if isinstance(entry, bool):
        return "true" if entry else "false"
    return printable(entry) if isinstance(entry, str) else " ".join(repr(entry).split())


def uniform_range(key: str, given: Any) -> UniformRange:
    """Read the range of a random value, such as ``0..90 deg``.

    Args:
        key: Key of the scenario.
        given: The value in the study file.

    Raises:
        ValueError: It is no range.
    """
    ends = _RANGE.fullmatch(given.strip()) if isinstance(given, str) else None
    if ends is None or not float(ends[1]) < float(ends[2]) < math.inf:
        raise ValueError(f"{quote(given)} is not a range; write e.g. 0..90 deg")
    if key == "link.seed":
        raise ValueError("each trial draws it already; leave it out")
    return UniformRange(key, float(ends[1]), float(ends[2]), ends[3] or "")
