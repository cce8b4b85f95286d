"""Parsing and formatting of quantities with units, such as 60 GHz or 27 dBm.

All other modules use SI units, linear ratios and radians.
"""

import difflib
import math
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

SPEED_OF_LIGHT = 299_792_458.0  # [m/s]

NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
"""Regular expression of a plain decimal number."""


def from_db(ratio_db: ArrayLike) -> NDArray[np.float64]:
    """Convert a power ratio from dB to linear. [1]"""
    return np.asarray(10.0 ** (np.asarray(ratio_db, dtype=float) / 10))


def to_db(ratio: ArrayLike) -> NDArray[np.float64]:
    """Convert a linear power ratio to dB; -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(np.asarray(ratio, dtype=float)))


def to_dbm(power: ArrayLike) -> NDArray[np.float64]:
    """Convert a power in W to dBm; -inf for 0 W."""
    return np.asarray(to_db(power) + 30)


def to_deg(angle: ArrayLike) -> NDArray[np.float64]:
    """Convert an angle from radians to degrees."""
    return np.asarray(np.rad2deg(np.asarray(angle, dtype=float)))


@dataclass(frozen=True)
class Unit:
    """Conversions between a unit and the SI unit."""

    to_si: Callable[[float], float]
    from_si: Callable[[float], float]
    decibel: bool = False


@dataclass(frozen=True)
class Dimension:
    """Physical dimension of a quantity, and its units."""

    noun: str
    example: str
    units: Mapping[str, Unit]  # the first is SI
    shown: tuple[str, ...]  # units of display, from small to large

    @property
    def si(self) -> str:
        """Name of the SI unit."""
        return next(iter(self.units))


def _decimal(exponent: int) -> Unit:
    """Unit of 10^exponent; dividing by an exact power of ten makes 67 us equal to 67e-6 s."""
    power = 10.0 ** abs(exponent)
    if exponent < 0:
        return Unit(lambda x: x / power, lambda x: x * power)
    return Unit(lambda x: x * power, lambda x: x / power)


def _decibel(reference: float) -> Unit:
    """Decibel unit with the SI unit at ``reference`` dB."""
    return Unit(
        lambda x: 10.0 ** ((x - reference) / 10),
        lambda x: 10 * math.log10(x) + reference,
        decibel=True,
    )


def _prefixed(name: str, prefixes: str) -> dict[str, Unit]:
    exponents = {"p": -12, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12}
    return {name: _decimal(0)} | {p + name: _decimal(exponents[p]) for p in prefixes}


_DEGREE = Unit(math.radians, math.degrees)

DIMENSIONS: Mapping[str, Dimension] = MappingProxyType(
    {
        "frequency": Dimension(
            "a frequency",
            "60 GHz",
            _prefixed("Hz", "kMGT"),
            ("Hz", "kHz", "MHz", "GHz", "THz"),
        ),
        "time": Dimension("a time", "67 us", _prefixed("s", "pnum"), ("ps", "ns", "us", "ms", "s")),
        "length": Dimension(
            "a length",
            "7 m",
            _prefixed("m", "numk") | {"cm": _decimal(-2)},
            ("nm", "um", "mm", "m", "km"),
        ),
        "area": Dimension(
            "an area",
            "1 m2",
            {"m2": _decimal(0), "cm2": _decimal(-4), "mm2": _decimal(-6), "dBsm": _decibel(0)},
            ("mm2", "cm2", "m2"),
        ),
        "power": Dimension(
            "a power",
            "27 dBm",
            _prefixed("W", "pnumkM") | {"dBm": _decibel(30), "dBW": _decibel(0)},
            ("dBm",),
        ),
        "angle": Dimension(
            "an angle",
            "45 deg",
            _prefixed("rad", "um") | {"deg": _DEGREE},
            ("deg",),
        ),
        "ratio": Dimension(
            "a ratio of powers",
            "-30 dB",
            {"linear": _decimal(0), "dB": _decibel(0)},
            ("dB",),
        ),
        "gain": Dimension(
            "an antenna gain",
            "5 dBi",
            {"linear": _decimal(0), "dBi": _decibel(0)},
            ("dBi",),
        ),
        "rate": Dimension(
            "a data rate",
            "100 Mbit/s",
            _prefixed("bit/s", "kMGT"),
            ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"),
        ),
    }
)
"""Dimensions by name. Linear ratios are written with the unit "linear": 0.001 linear."""

_QUANTITY = re.compile(rf"({NUMBER})\s*(\S*)")
_MICRO = "\N{MICRO SIGN}"
_NOT_FINITE = re.compile(r"[+-]?\.?(?:nan|inf|infinity)\b.*", re.IGNORECASE | re.DOTALL)
_SPELLINGS = str.maketrans({"\N{MICRO SIGN}": "u", "\N{GREEK SMALL LETTER MU}": "u", "²": "2"})
_SPELLINGS[ord("\N{MINUS SIGN}")] = "-"

_quoter = reprlib.Repr()
_quoter.maxstring = _quoter.maxother = 60


def quote(value: object) -> str:
    """Return a value as text for messages, shortened if long."""
    try:
        return _quoter.repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a deep nesting
        return "a value too large to show"


def _find(dimension: str) -> Dimension:
    if dimension not in DIMENSIONS:
        known = ", ".join(DIMENSIONS)
        raise ValueError(f"{dimension!r} is not a dimension; known are {known}.")
    return DIMENSIONS[dimension]


def parse_quantity(value: object, dimension: str) -> float:
    """Parse a quantity with a unit.

    Args:
        value: Number and unit, e.g. ``"60 GHz"``.
        dimension: A name of `DIMENSIONS`.

    Returns:
        The quantity in SI units, always finite.

    Raises:
        ValueError: The value is not a finite number with a unit of the dimension.
    """
    wanted = _find(dimension)
    name, remedy = quote(value), f"write it with a unit, e.g. {wanted.example}"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{name} is not {wanted.noun}; {remedy}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is not finite; {remedy}")
    if not isinstance(value, str):
        raise ValueError(f"{name} has no unit; {remedy}")
    text = value.translate(_SPELLINGS).strip()
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{name} is not finite; {remedy}")
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{name} is not a number with a unit; write e.g. {wanted.example}")
    number, unit = match[1], match[2].replace("^", "")
    if not unit:
        raise ValueError(f"{name} has no unit; {remedy}")
    if unit not in wanted.units:
        raise ValueError(_wrong_unit(name, unit, wanted))
    try:
        result = wanted.units[unit].to_si(float(number))
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueError(f"{name} is not finite; {remedy}")
    return result


def _wrong_unit(name: str, unit: str, wanted: Dimension) -> str:
    for other in DIMENSIONS.values():
        if unit in other.units:
            return f"{name} is {other.noun}, not {wanted.noun}; write e.g. {wanted.example}"
    by_lower_case = {known.lower(): known for known in wanted.units}
    near = difflib.get_close_matches(unit.lower(), by_lower_case, n=1)
    if near:
        return f"{name} has the unknown unit {quote(unit)}; did you mean {by_lower_case[near[0]]}?"
    return f"{name} has the unknown unit {quote(unit)}; write one of {', '.join(wanted.units)}"


def format_quantity(value: float, dimension: str, digits: int = 3) -> str:
    """Format a quantity for display with a suitable unit, e.g. ``"3.2 mm"``.

    Powers are shown in dBm, ratios in dB, gains in dBi, angles in degrees, and all others with
    decimal prefixes.

    Args:
        value: Quantity in SI units; 0, inf and nan are allowed.
        dimension: A name of `DIMENSIONS`.
        digits: Number of significant digits; decibel values have two digits fewer after the point.
    """
    wanted = _find(dimension)
    shown = [(name, wanted.units[name]) for name in wanted.shown]
    if shown[0][1].decibel and not 0 < value < math.inf:
        return f"{value:.{digits}g} {wanted.si}"
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {wanted.si if wanted.si in wanted.shown else wanted.shown[0]}"
    text = ""
    for name, unit in shown:
        number = unit.from_si(value)
        rounded = round(number, digits - 2) if unit.decibel else float(f"{number:.{digits}g}")
        if text and abs(rounded) < 1:
            break
        text = f"{rounded:.15g} {name.replace('u', _MICRO)}"  # no other unit has a u
    return text


def write_quantity(value: float, dimension: str) -> str:
    """Format a quantity so that `parse_quantity` returns exactly ``value``.

    Args:
        value: Finite quantity in SI units.
        dimension: A name of `DIMENSIONS`.
    """
    text = format_quantity(value, dimension, digits=12).replace(_MICRO, "u")
    if parse_quantity(text, dimension) == value:
        return text
    return f"{float(value)!r} {_find(dimension).si}"
