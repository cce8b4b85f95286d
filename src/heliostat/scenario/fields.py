"""Field types of scenarios: quantities, numbers, directions, groups of keys."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    model_validator,
)
from pydantic_core import PydanticKnownError, core_schema

from heliostat.units import DIMENSIONS, NUMBER, parse_quantity, quote, write_quantity


class QuantityError(ValueError):
    """Raised for an invalid quantity; the message ends with an example of its dimension."""

    def __init__(self, sentence: str, example: str) -> None:
        super().__init__(sentence)
        self.example = example


def quantity(
    dimension: str, *, zero: bool = False, signed: bool = False, word: str | None = None
) -> GetPydanticSchema:
    """Field type of a quantity: written with a unit, stored in SI, dumped with a unit.

    Use as ``power: Annotated[float, quantity("power")]``.

    Args:
        dimension: A name of `heliostat.units.DIMENSIONS`.
        zero: Whether zero is allowed.
        signed: Whether any sign is allowed.
        word: Word that is allowed instead of a quantity.
    """
    wanted = DIMENSIONS[dimension]

    def read(value: object) -> float | str:
        if word is not None and value == word:
            return word
        try:
            result = parse_quantity(value, dimension)
            if signed or (zero and result == 0):
                return result
            if result <= 0:
                bound = "negative" if zero else "not more than zero"
                raise ValueError(f"{quote(value)} is {bound}; write e.g. {wanted.example}")
            if not 1e-30 <= result <= 1e18:
                raise ValueError(f"{quote(value)} is out of range; write e.g. {wanted.example}")
        except ValueError as error:
            raise QuantityError(str(error), wanted.example) from None
        return result

    def write(value: float | str) -> str:
        return value if isinstance(value, str) else write_quantity(value, dimension)

    units = "|".join(re.escape(unit).replace("/", r"\/") for unit in wanted.units)
    pattern = rf"^\s*{NUMBER}\s*({units})\s*$" + (f"|^{word}$" if word else "")
    return GetPydanticSchema(
        lambda _source, _handler: core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(write)
        ),
        lambda _schema, _handler: {"type": "string", "pattern": pattern},
    )


def not_a_word(value: object) -> object:
    """Reject booleans and text, which pydantic would convert to integers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticKnownError("int_type")
    return value


def write_vector(entries: Iterable[float]) -> str:
    """Return a vector as written in a file, ``[0.6, 0.8, 0]``."""
    return "[" + ", ".join(f"{entry + 0.0:.9g}" for entry in entries) + "]"


ROUNDING = 1e-3
"""Largest error of the length of a unit vector, and of the right angle between two, that counts as
rounding and is removed."""


def _unit_vector(vector: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = vector
    length = math.hypot(x, y, z)
    if length == 0:
        raise ValueError(f"{write_vector(vector)} has no direction; write e.g. [1, 0, 0]")
    if abs(length - 1) < 1e-15:
        return vector  # a second division could change the last digit
    unit = (x / length, y / length, z / length)
    if abs(length - 1) > ROUNDING:
        wrong = f"{write_vector(vector)} is not of unit length"
        raise ValueError(f"{wrong}; write {write_vector(unit)}")
    return unit


Number: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e8, le=1e8)]
Positive: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=1e8)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=65536), BeforeValidator(not_a_word)]
Position: TypeAlias = tuple[Number, Number, Number]
Direction: TypeAlias = Annotated[tuple[Number, Number, Number], AfterValidator(_unit_vector)]


def setting(description: str, example: object, default: Any = ...) -> Any:
    """Declare a field with a description and a valid example; it is required without a default.

    If a file has invalid values, the remaining checks use the examples in their place.
    """
    return Field(default, description=description, examples=[example])


class Section(BaseModel):
    """Group of keys; a key without a value counts as absent."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {k: v for k, v in given.items() if v is not None or k not in cls.model_fields}
