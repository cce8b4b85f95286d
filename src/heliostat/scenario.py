"""What a person writes about a system, checked, and turned into the scene the equations see.

A scenario is a YAML file of quantities with units. Reading it goes through four steps, in the
order of this file: the text becomes plain data that remember their lines, overrides are laid over
it, the models below check each field and then what the fields mean together, and everything that
is wrong is told at once. Nothing here needs JAX before ``build``.
"""

import difflib
import io
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NoReturn,
    Self,
    TypeAlias,
    cast,
    get_args,
)

import numpy as np
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import models_json_schema
from pydantic_core import PydanticKnownError, core_schema

from heliostat.units import (
    DIMENSIONS,
    NUMBER,
    SPEED_OF_LIGHT,
    format_quantity,
    parse_quantity,
    quote,
    write_quantity,
)

if TYPE_CHECKING:
    import jaxtyping

    import heliostat.scene

KeyPath: TypeAlias = tuple[str | int, ...]
Overrides: TypeAlias = Mapping[str, Any]


# What is wrong with a scenario -----------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a scenario."""

    where: str
    """``file:line``, or the override as ``--set surface.rows=0``."""
    field: str
    """Dotted key, e.g. ``surface.rows``; empty where the file as a whole is meant."""
    value: str
    """The value as it was written, shortened if long; empty where there is none."""
    sentence: str
    """What is wrong, and what to write instead."""

    def __str__(self) -> str:
        if not self.field or self.where.startswith(f"--set {self.field}="):
            return f"{self.where}: {self.sentence}"
        return f"{self.where}: {self.field}: {self.sentence}"


class ScenarioError(ValueError):
    """A scenario cannot be used; the message has one line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class Clash(NamedTuple):
    """Fields that are sound one by one, but not together."""

    field: str  # the one to change
    others: tuple[str, ...]  # what else it was judged by
    sentence: str


class _ClashError(ValueError):
    """Carries clashes through pydantic."""

    def __init__(self, clashes: list[Clash]) -> None:
        super().__init__("; ".join(f"{clash.field}: {clash.sentence}" for clash in clashes))
        self.clashes = clashes


@dataclass
class _Report:
    """Where the parts of a scenario were written, and all that is found wrong with them."""

    file: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    overrides: dict[KeyPath, str] = field(default_factory=dict)
    found: list[tuple[int, Problem]] = field(default_factory=list)

    def refuse(self, path: KeyPath, sentence: str, value: str = "", line: int = 0) -> None:
        """Note a problem with what was written at a path."""
        rank, where = (line, f"{self.file}:{line}") if line else self._locate(path)
        self.found.append((rank, Problem(where, _dot(path), value, sentence)))

    def _locate(self, path: KeyPath) -> tuple[int, str]:
        """A rank to sort by, overrides last, and the place as text."""
        for rank, (key, label) in enumerate(self.overrides.items()):
            within = len(key) > len(path) and key[: len(path)] == path
            if path[: len(key)] == key or (
                within and (path not in self.lines or isinstance(key[len(path)], int))
            ):
                return 10**9 + rank, label
        for length in range(len(path), -1, -1):
            if line := self.lines.get(path[:length]):
                return line, f"{self.file}:{line}"
        return 0, self.file

    def error(self) -> ScenarioError:
        """All problems, in the order of the file."""
        return ScenarioError(problem for _, problem in sorted(self.found, key=lambda x: x[0]))


def _printable(text: str) -> str:
    return text if text.isprintable() else quote(text)


def _dot(path: KeyPath) -> str:
    return _printable(".".join(str(part) for part in path))


# From text to plain data -----------------------------------------------------------------------

_DEEPEST = 16
_NUMBER = re.compile(NUMBER)
_WHOLE = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})")
_CONSTANTS = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}


class _UnreadableError(Exception):
    """The text is no YAML that we read."""


class _Reader:
    """Turns YAML text into plain data, noting the line of every key.

    Plain scalars mean what they mean in YAML 1.2: ``no`` is a word, 60e9 a number and 010 is 10.
    Anchors, tags and repeated keys are refused, so that what is read is what is written.
    """

    def __init__(self, text: str, report: _Report) -> None:
        self._text = text
        self._report = report
        self._events: Iterator[Any] = iter(())

    def read(self) -> Any:
        """The plain data; what is wrong with the text goes to the report."""
        data: Any = None
        documents = 0
        try:
            self._events = yaml.parse(self._text, Loader=yaml.SafeLoader)
            for event in self._events:
                documents += isinstance(event, yaml.DocumentStartEvent)
                if documents > 1:
                    self._refuse((), event, "a second document; write one scenario a file")
                    break
                if isinstance(event, yaml.NodeEvent):
                    data = self._node(event, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._stop(getattr(mark, "line", 0) + 1, error.problem or error.context)
        except yaml.reader.ReaderError as error:
            self._stop(self._text.count("\n", 0, error.position) + 1, error.reason)
        except (yaml.YAMLError, ValueError, OverflowError) as error:  # an escape past Unicode
            self._stop(1, error)
        return data

    def _stop(self, line: int, reason: object) -> NoReturn:
        told = " ".join(str(reason).split())
        self._report.refuse((), f"cannot be read as YAML: {told}; mend the line", line=line)
        raise _UnreadableError

    def _refuse(self, path: KeyPath, event: Any, sentence: str) -> None:
        self._report.refuse(path, sentence, line=_line(event))

    def _node(self, event: Any, path: KeyPath) -> Any:
        line = _line(event)
        self._report.lines.setdefault(path, line)
        if len(path) > _DEEPEST:
            self._stop(line, f"nested more than {_DEEPEST} deep")
        if event.anchor is not None:
            self._refuse(path, event, "an anchor or alias (& or *); write the value itself")
        if getattr(event, "tag", None) is not None:
            self._refuse(path, event, "a tag (!); write the value alone")
        if isinstance(event, yaml.SequenceStartEvent):
            entries: list[Any] = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                entries.append(self._node(item, (*path, len(entries))))
            return entries
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        return _scalar(event) if isinstance(event, yaml.ScalarEvent) else None

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        lines = self._report.lines
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                self._refuse(path, key, "a key that is not a word; write key: value")
                self._node(key, (*path, "?"))
                self._node(next(self._events), (*path, "?"))
                continue
            inner = (*path, str(key.value))
            if key.value in mapping:
                self._refuse(inner, key, f"given in line {lines[inner]} already; keep one of them")
                self._node(next(self._events), inner)
                continue
            lines[inner] = _line(key)
            mapping[key.value] = self._node(next(self._events), inner)
        return mapping


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _scalar(event: Any) -> Any:
    text = str(event.value)
    if event.style is not None:  # quoted
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


# Overrides -------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """Plain data, copied: arrays and tuples become lists, paths become text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _as_typed(value: Any) -> Any:
    """What text on a command line means: YAML if it can be read as such, else itself."""
    if not isinstance(value, str):
        return _plain(value)
    report = _Report("")
    try:
        read = _Reader(value, report).read()
    except _UnreadableError:
        return value
    return value if report.found else read


def _override(data: dict[str, Any], overrides: Overrides, report: _Report) -> None:
    """Lay overrides over plain data, in place."""
    for dotted, given in ((str(key), value) for key, value in overrides.items()):
        shown = given if isinstance(given, str) and given.isprintable() else quote(given)
        inside: Any = data
        path: KeyPath = ()
        *parents, last = dotted.split(".")
        for part in parents:
            if isinstance(inside, dict) and inside.get(part) is None:
                inside[part] = {}
            path = (*path, _step(inside, part))
            inside = _look_up(inside, path[-1:])
        step = _step(inside, last)
        path = (*path, step)
        report.overrides[path] = f"--set {_printable(dotted)}={shown}"
        has_place = isinstance(inside, dict) or (isinstance(inside, list) and step != last)
        if not has_place:
            report.refuse(path, "no such part; override what is above it")
            continue
        try:
            inside[step] = _as_typed(given)
        except RecursionError:
            report.refuse(path, "nested too deep; write a plain value")


def _step(inside: Any, part: str) -> str | int:
    """The index that ``part`` means in a list; elsewhere a key."""
    if isinstance(inside, list) and re.fullmatch("[0-9]{1,6}", part) and int(part) < len(inside):
        return int(part)
    return part


def _look_up(data: Any, path: KeyPath) -> Any:
    """What plain data hold at a path; None where they hold nothing."""
    for part in path:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


# Types of fields -------------------------------------------------------------------------------


def quantity(
    dimension: str, *, zero: bool = False, signed: bool = False, word: str | None = None
) -> GetPydanticSchema:
    """Declare a field as a quantity: written with a unit, kept in SI, dumped with a unit again.

    Use as ``power: Annotated[float, quantity("power")]``.

    Args:
        dimension: A name of `heliostat.units.DIMENSIONS`.
        zero: Zero is allowed.
        signed: Any sign is allowed.
        word: A word that may stand in place of a quantity.
    """
    wanted = DIMENSIONS[dimension]

    def read(value: object) -> float | str:
        if word is not None and value == word:
            return word
        result = parse_quantity(value, dimension)
        if signed or (zero and result == 0):
            return result
        if result <= 0:
            bound = "negative" if zero else "not more than zero"
            raise ValueError(f"{quote(value)} is {bound}; write e.g. {wanted.example}")
        if not 1e-30 <= result <= 1e18:
            raise ValueError(f"{quote(value)} is out of all reason; write e.g. {wanted.example}")
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


def _not_a_word(value: object) -> object:
    """Python counts True as 1 and pydantic reads "16" as 16; a scenario does neither."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticKnownError("int_type")
    return value


def _unit_vector(vector: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = vector
    length = math.hypot(x, y, z)
    if length == 0:
        raise ValueError(f"{_vector(vector)} has no direction; write e.g. [1, 0, 0]")
    unit = (x / length, y / length, z / length)
    if abs(length - 1) > 1e-6:
        raise ValueError(f"{_vector(vector)} is not of unit length; write {_vector(unit)}")
    return unit


def _phase_source(text: str) -> str:
    if text not in ("designed", "random") and not text.endswith(".npy"):
        raise ValueError(f"{quote(text)} is unknown; write designed, random or a file.npy")
    return text


def _vector(entries: Iterable[float]) -> str:
    return "[" + ", ".join(f"{entry + 0.0:.9g}" for entry in entries) + "]"


Number: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e8, le=1e8)]
Positive: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=1e8)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=65536), BeforeValidator(_not_a_word)]
Position: TypeAlias = tuple[Number, Number, Number]
Direction: TypeAlias = Annotated[tuple[Number, Number, Number], AfterValidator(_unit_vector)]


def setting(description: str, example: object, default: Any = ...) -> Any:
    """A field with its description and an example that is always valid; without a default, a must.

    A file with problems is examined further with the example in place of each broken value.
    """
    return Field(default, description=description, examples=[example])


class Section(BaseModel):
    """A group of keys; a key without a value counts as left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {k: v for k, v in given.items() if v is not None or k not in cls.model_fields}


class Scenario(Section):
    """What all systems share; each system says what it is made of, and what clashes."""

    system: str
    _name: str = PrivateAttr("scenario")
    _folder: Path = PrivateAttr(Path())

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> Self:
        context = info.context or {}
        self._name = context.get("name", self._name)
        self._folder = context.get("folder", self._folder)
        if clashes := list(self.clashes()):
            raise _ClashError(clashes)
        return self

    @property
    def name(self) -> str:
        """Name of the shipped scenario, or of the file without its suffix."""
        return self._name

    def clashes(self) -> Iterator[Clash]:
        """Fields that do not fit together."""
        raise NotImplementedError

    def warnings(self) -> list[str]:
        """Assumptions of the model that this scenario strains, a sentence each."""
        raise NotImplementedError

    def build(self, key: "jaxtyping.PRNGKeyArray | None" = None) -> Any:
        """The scene that the equations see."""
        raise NotImplementedError

    def updated(self, overrides: Overrides) -> Self:
        """A checked copy with other values, by dotted key as in `load`.

        Raises:
            ScenarioError: The result is not a sound scenario.
        """
        report = _Report(self.name)
        updated = _examine(self._written(), overrides, report, self._folder, self.name)
        return cast("Self", updated)

    def dump(self) -> str:
        """The scenario as YAML, defaults written out; reading it gives the same numbers."""
        return yaml.safe_dump(
            self._written(), sort_keys=False, default_flow_style=None, width=100, allow_unicode=True
        )

    def _written(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)


# The localization system -----------------------------------------------------------------------


class CarrierSpec(Section):
    """The radio wave."""

    frequency: Annotated[float, quantity("frequency")] = setting("Carrier frequency.", "60 GHz")
    bandwidth: Annotated[float, quantity("frequency")] = setting(
        "Bandwidth of the signal.", "100 MHz"
    )


class BaseStationSpec(Section):
    """The base station and its linear array."""

    position: Position = setting("Where it stands, x, y, z in metres.", [0, 0, 40])
    antennas: Count = setting("Number of antennas.", 32)
    power: Annotated[float, quantity("power")] = setting(
        "Transmit power, in total over the active antennas.", "27 dBm"
    )
    axis: Direction = setting("Unit vector along its array.", [1, 0, 0], (1.0, 0.0, 0.0))
    spacing: Positive = setting("Distance of neighbouring antennas in wavelengths.", 0.5, 0.5)


class SurfaceSpec(Section):
    """The passive surface."""

    position: Position = setting("Where it hangs, x, y, z in metres.", [-20, 20, 30])
    rows: Count = setting("Rows of elements.", 8)
    columns: Count = setting("Columns of elements.", 8)
    reflection: Annotated[Positive, Field(le=1)] = setting(
        "Amplitude that an element reflects, at most 1.", 1.0, 1.0
    )
    phases: Annotated[str, AfterValidator(_phase_source)] = setting(
        "designed, random, or a .npy file of radians, [element] or [configuration, element], the "
        "horizontal index fastest; sought beside the scenario file, then in the working folder.",
        "designed",
        "designed",
    )
    bits: Annotated[int, Field(ge=1, le=8), BeforeValidator(_not_a_word)] | None = setting(
        "Bits of phase resolution; left out, phases are continuous.", 2, None
    )
    focus: Position | None = setting(
        "Where designed phases steer in both stages, x, y, z in metres; default the user.",
        [20, 40, 0],
        None,
    )
    sweep: Annotated[tuple[tuple[Number, Number], ...], Field(min_length=1, max_length=4096)] | (
        None
    ) = setting(
        "Configurations of the beam-alignment stage, one each: how far it is steered off the "
        "focus (along columns, along rows), in units of 1/columns and 1/rows of a direction "
        "cosine. Default [[0, 0]] when model.gain is known, else four around the focus.",
        [[0.9, 0], [-0.9, 0], [0, 0.9], [0, -0.9]],
        None,
    )
    horizontal: Direction = setting("Unit vector along a row.", [0, 1, 0], (0.0, 1.0, 0.0))
    vertical: Direction = setting("Unit vector along a column.", [0, 0, 1], (0.0, 0.0, 1.0))
    normal: Direction | None = setting(
        "Unit vector to the side it serves; default horizontal x vertical.", [1, 0, 0], None
    )
    spacing: tuple[Positive, Positive] = setting(
        "Distance of neighbouring elements along a row and along a column, in wavelengths.",
        [0.5, 0.5],
        (0.5, 0.5),
    )

    @property
    def facing(self) -> tuple[float, float, float]:
        """Unit vector to the side it serves."""
        if self.normal is not None:
            return self.normal
        x, y, z = np.cross(self.horizontal, self.vertical).tolist()
        return (x, y, z)


class UserSpec(Section):
    """The user and its linear array, which lies level."""

    position: Position = setting("Where it is, x, y, z in metres.", [20, 40, 0])
    heading: Annotated[float, quantity("angle", signed=True)] = setting(
        "How far its array is turned clockwise from the x axis, seen from above.", "45 deg"
    )
    antennas: Count = setting("Number of antennas.", 32)
    spacing: Positive = setting("Distance of neighbouring antennas in wavelengths.", 0.5, 0.5)


class LinkSpec(Section):
    """Noise and gain of the link through the surface."""

    noise: Annotated[float, quantity("power")] = setting(
        "Noise power over the bandwidth, at the user.", "-80 dBm"
    )
    attenuation: Positive = setting("Further amplitude factor of the link, 1 for none.", 1.0, 1.0)
    gain_phase: Annotated[
        float | Literal["random"], quantity("angle", signed=True, word="random")
    ] = setting("Phase of the complex gain: an angle, or random.", "random", "random")
    path_loss: Literal["product", "sum_distance"] = setting(
        "Path-loss law: product is what an element scatters, for planning; sum_distance is the "
        "localization paper's, for its reproduction.",
        "product",
        "product",
    )
    seed: Annotated[int, Field(ge=0, lt=2**32), BeforeValidator(_not_a_word)] = setting(
        "Seed of random gain and surface phases, unless a key is passed.", 0, 0
    )


class FrameSpec(Section):
    """How long the stages of a period last."""

    pilot: Annotated[float, quantity("time")] = setting("Duration of one pilot.", "67 us")
    optimization: Annotated[float, quantity("time", zero=True)] = setting(
        "Duration of the optimization stage.", "1 ms"
    )
    period: Annotated[float, quantity("time")] | None = setting(
        "Duration of a period; default the pilots of all antennas plus the optimization.",
        "20 ms",
        None,
    )


class ModelSpec(Section):
    """What the receiver knows, and which form of the equations is meant."""

    gain: Literal["known", "unknown"] = setting(
        "Whether the user knows the complex gain of the link, phase included.",
        "unknown",
        "unknown",
    )
    clock: Literal["synchronized", "unknown"] = setting(
        "Whether base station and user share one clock.", "synchronized", "synchronized"
    )
    as_printed: bool = setting(
        "The localization paper's equations as printed, errors included, for comparison only.",
        False,
        False,
    )


class ErrorsSpec(Section):
    """What estimates are off by, and how far the user moves."""

    position: Annotated[float, quantity("length", zero=True)] = setting(
        "Radius of the disc that a position estimate falls in.", "7 m", "0 m"
    )
    heading: Annotated[float, quantity("angle", zero=True)] = setting(
        "Largest error of a heading estimate, to either side.", "30 deg", "0 deg"
    )
    mobility: Annotated[float, quantity("length", zero=True)] = setting(
        "Radius of the disc that the user moves in from period to period.", "7 m", "0 m"
    )
    gain_variance: Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=1e8)] = (
        setting("Variance of the error of the path gain, both real dimensions together.", 0.0, 0.0)
    )


class LocalizationScenario(Scenario):
    """A base station, a passive surface and a user that learns where it is."""

    system: Literal["localization"] = setting("Which system this describes.", "localization")
    carrier: CarrierSpec = Field(description="The radio wave.")
    base_station: BaseStationSpec = Field(description="The base station.")
    surface: SurfaceSpec = Field(description="The passive surface.")
    user: UserSpec = Field(description="The user.")
    link: LinkSpec = Field(description="Noise and gain of the link.")
    frame: FrameSpec = Field(description="Durations in a period.")
    model: ModelSpec = Field(ModelSpec(), description="What the receiver knows.")
    errors: ErrorsSpec = Field(ErrorsSpec(), description="Estimation errors and movement.")

    @property
    def wavelength(self) -> float:
        """Wavelength of the carrier. [m]"""
        return SPEED_OF_LIGHT / self.carrier.frequency

    @property
    def period(self) -> float:
        """Duration of a period; the default holds the pilots of all antennas. [s]"""
        if self.frame.period is not None:
            return self.frame.period
        pilots = self.base_station.antennas * self.user.antennas
        return pilots * self.frame.pilot + self.frame.optimization

    @property
    def sweep(self) -> tuple[tuple[float, float], ...]:
        """Steering off the focus in beam alignment, in 1/columns and 1/rows, one row each. [1]"""
        if self.surface.sweep is not None:
            return self.surface.sweep
        if self.model.gain == "known":
            return ((0.0, 0.0),)
        return ((0.9, 0.0), (-0.9, 0.0), (0.0, 0.9), (0.0, -0.9))

    def clashes(self) -> Iterator[Clash]:
        """Geometry, durations and files that cannot be."""
        yield from _geometry_clashes(self)
        carrier = self.carrier
        if not carrier.bandwidth < 2 * carrier.frequency:
            yield Clash(
                "carrier.bandwidth",
                ("carrier.frequency",),
                f"{format_quantity(carrier.bandwidth, 'frequency')} reaches below 0 Hz around "
                f"{format_quantity(carrier.frequency, 'frequency')}; lower the bandwidth",
            )
        least = self.user.antennas * self.frame.pilot + self.frame.optimization
        if self.period < least * (1 - 1e-12):
            yield Clash(
                "frame.period",
                ("frame.pilot", "frame.optimization", "user.antennas"),
                f"{format_quantity(self.period, 'time')} is too short for the pilots of one "
                f"active antenna; write at least {write_quantity(least, 'time')}",
            )
        if self.model.as_printed and (unlike := _unlike_the_paper(self)):
            yield Clash(
                "model.as_printed",
                tuple(unlike),
                "the printed equations hold for the paper's own set-up only; write "
                f"{'; '.join(f'{name}: {value}' for name, value in unlike.items())}; or "
                "as_printed: false",
            )
        try:
            self._phases_from_file()
        except ValueError as error:
            yield Clash("surface.phases", ("surface.rows", "surface.columns"), str(error))
        listed = self.surface.phases == "random" or self.surface.bits is not None
        entries = len(self.sweep) * self.surface.rows * self.surface.columns
        if listed and entries > 10**7:
            yield Clash(
                "surface.rows",
                ("surface.columns", "surface.sweep", "surface.phases", "surface.bits"),
                f"{entries} phases in all are too many to list one by one; have at most {10**7}, "
                "or leave them designed without bits",
            )

    def _phases_from_file(self) -> np.ndarray | None:
        """Phases of all configurations, [config, element], or None if they are in no file. [rad]"""
        if self.surface.phases in ("designed", "random"):
            return None
        places = [self._folder / self.surface.phases, Path(self.surface.phases)]
        name, elements = quote(self.surface.phases), self.surface.rows * self.surface.columns
        found = [place for place in places if os.path.isfile(place)]
        if not found:
            raise ValueError(
                f"{name} is neither beside the scenario file nor in the working folder; "
                "write the path of a .npy file, or designed"
            )
        try:
            phases = np.load(io.BytesIO(found[0].read_bytes()), allow_pickle=False)
            shape, kind = phases.shape, phases.dtype.kind
        except Exception as error:  # a damaged file may fail in any way
            raise ValueError(
                f"{name} cannot be read as an array; write it with numpy.save"
            ) from error
        if kind not in "fiu":
            raise ValueError(f"{name} holds no real numbers; store phases in radians")
        rows = np.atleast_2d(phases).astype(float)
        if rows.ndim != 2 or rows.shape[1] != elements or len(rows) == 0:
            raise ValueError(
                f"{name} has the shape {list(shape)}; store [{elements}] phases, rows x columns "
                f"of the surface, or [configurations, {elements}]"
            )
        if not np.isfinite(rows).all():
            raise ValueError(f"{name} holds nan or inf; store finite phases in radians")
        return rows

    def warnings(self) -> list[str]:
        """Assumptions of the model that this scenario strains, a sentence each."""
        return _strained(self)

    def build(
        self, key: "jaxtyping.PRNGKeyArray | None" = None
    ) -> "heliostat.scene.LocalizationScene":
        """The scene that the equations see, in SI units and double precision.

        Args:
            key: For random surface phases and a random gain phase; default ``link.seed``.

        Raises:
            ScenarioError: The file of phases is no longer what it was when the scenario was read.
        """
        return _localization_scene(self, key)


_SEEN_FROM = ("surface.position", "surface.horizontal", "surface.vertical", "surface.normal")


def _geometry_clashes(scenario: LocalizationScenario) -> Iterator[Clash]:
    surface = scenario.surface
    axes_fit = True
    lean = float(np.dot(surface.horizontal, surface.vertical))
    if abs(lean) > 1e-6:
        axes_fit = False
        upright = np.subtract(surface.vertical, lean * np.asarray(surface.horizontal))
        length = float(np.linalg.norm(upright))
        remedy = f"write {_vector(upright / length)}" if length > 1e-6 else "turn one of them"
        yield Clash(
            "surface.vertical",
            ("surface.horizontal",),
            f"{_vector(surface.vertical)} is not at a right angle to surface.horizontal; {remedy}",
        )
    elif surface.normal is not None:
        across = np.cross(surface.horizontal, surface.vertical)
        if 1 - abs(np.dot(across, surface.normal)) > 1e-6:
            axes_fit = False
            yield Clash(
                "surface.normal",
                ("surface.horizontal", "surface.vertical"),
                f"{_vector(surface.normal)} is not at right angles to surface.horizontal and "
                f"surface.vertical; write {_vector(across)} or {_vector(-across)}",
            )

    places = {
        "base_station.position": scenario.base_station.position,
        "user.position": scenario.user.position,
        "surface.focus": surface.focus,
    }
    for name, place in places.items():
        if place is None:
            continue
        offset = np.subtract(place, surface.position)
        distance = float(np.linalg.norm(offset))
        if distance < 1e-6:
            yield Clash(
                name,
                ("surface.position",),
                f"{_vector(place)} is where the surface is; move one of them",
            )
        elif axes_fit and np.dot(offset, surface.facing) <= 1e-9 * distance:
            yield Clash(
                name,
                _SEEN_FROM,
                f"{_vector(place)} lies behind the surface; move it to the side the normal "
                f"{_vector(surface.facing)} points to, or turn the surface with "
                "surface.horizontal",
            )
    if math.dist(scenario.user.position, scenario.base_station.position) < 1e-6:
        yield Clash(
            "user.position",
            ("base_station.position",),
            f"{_vector(scenario.user.position)} is where the base station is; move one of them",
        )


def _unlike_the_paper(scenario: LocalizationScenario) -> dict[str, str]:
    """Fields that the printed equations have otherwise, with the value they have there."""
    surface, user = scenario.surface, scenario.user
    above_ground = [*user.position[:2], 0.0]
    conditions = {
        "base_station.axis": (scenario.base_station.axis == (1, 0, 0), "[1, 0, 0]"),
        "surface.horizontal": (surface.horizontal == (0, 1, 0), "[0, 1, 0]"),
        "surface.vertical": (surface.vertical == (0, 0, 1), "[0, 0, 1]"),
        "surface.normal": (surface.normal in (None, (1, 0, 0)), "[1, 0, 0]"),
        "surface.phases": (surface.phases == "designed", "designed"),
        "surface.bits": (surface.bits is None, "null"),
        "surface.sweep": (scenario.sweep == ((0, 0),), "[[0, 0]]"),
        "user.position": (user.position[2] == 0, _vector(above_ground)),
        "link.path_loss": (scenario.link.path_loss == "sum_distance", "sum_distance"),
        "model.gain": (scenario.model.gain == "known", "known"),
        "model.clock": (scenario.model.clock == "synchronized", "synchronized"),
    }
    return {name: value for name, (fulfilled, value) in conditions.items() if not fulfilled}


def _strained(scenario: LocalizationScenario) -> list[str]:
    base_station, surface, user = scenario.base_station, scenario.surface, scenario.user
    wavelength, warnings = scenario.wavelength, []
    bs_to_irs = math.dist(base_station.position, surface.position)
    irs_to_user = math.dist(surface.position, user.position)
    diagonal = wavelength * math.hypot(
        surface.columns * surface.spacing[0], surface.rows * surface.spacing[1]
    )
    bs_length = wavelength * base_station.antennas * base_station.spacing
    user_length = wavelength * user.antennas * user.spacing
    for hop, distance, aperture, owner in (
        ("base station to surface", bs_to_irs, diagonal, "the surface"),
        ("base station to surface", bs_to_irs, bs_length, "the base station's array"),
        ("surface to user", irs_to_user, diagonal, "the surface"),
        ("surface to user", irs_to_user, user_length, "the user's array"),
    ):
        far = 2 * aperture**2 / wavelength
        if distance < far:
            warnings.append(
                f"Far field: {hop} is {format_quantity(distance, 'length')}, within the "
                f"Fraunhofer distance {format_quantity(far, 'length')} of {owner}; waves are not "
                "plane there, as the model takes them to be."
            )
    for aperture, owner in (
        (diagonal, "the surface"),
        (bs_length, "the base station's array"),
        (user_length, "the user's array"),
    ):
        if aperture / SPEED_OF_LIGHT * scenario.carrier.bandwidth > 0.1:
            warnings.append(
                f"Narrow band: a wave takes {format_quantity(aperture / SPEED_OF_LIGHT, 'time')} "
                f"across {owner}, more than a tenth of 1/bandwidth; beams squint over the band, "
                "which the model leaves out."
            )
    axis = (math.cos(user.heading), -math.sin(user.heading), 0.0)
    cosine = float(np.dot(np.subtract(user.position, surface.position), axis)) / irs_to_user
    if abs(cosine) > 0.99:
        warnings.append(
            "End-fire: the wave from the surface arrives almost along the user's array, where "
            "user.heading is barely visible."
        )
    if scenario.link.path_loss == "sum_distance":
        warnings.append(
            "Path loss: sum_distance reproduces the localization paper and is far above what "
            "elements scatter; product is for planning."
        )
    if surface.phases != "designed" and surface.focus is not None:
        warnings.append("Surface: surface.focus has no effect on phases that are not designed.")
    if surface.phases.endswith(".npy") and surface.sweep is not None:
        warnings.append("Surface: surface.sweep has no effect; each row of the file is used as is.")
    return warnings


def _localization_scene(
    scenario: LocalizationScenario, key: "jaxtyping.PRNGKeyArray | None"
) -> "heliostat.scene.LocalizationScene":
    import jax  # noqa: PLC0415 -- checking a scenario must not wait for JAX
    import jax.numpy as jnp  # noqa: PLC0415

    from heliostat import scene  # noqa: PLC0415
    from heliostat.geometry.arrays import LinearArray, PlanarArray  # noqa: PLC0415
    from heliostat.geometry.frames import travel  # noqa: PLC0415
    from heliostat.surface import passive  # noqa: PLC0415

    def real(value: Any) -> jax.Array:
        return jnp.asarray(value, dtype=float)

    if key is None:
        key = jax.random.key(scenario.link.seed)
    gain_key, alignment_key, data_key = jax.random.split(key, 3)
    base_station, surface, user, link = (
        scenario.base_station,
        scenario.surface,
        scenario.user,
        scenario.link,
    )
    array = PlanarArray(
        horizontal=real(surface.horizontal),
        vertical=real(surface.vertical),
        normal=real(surface.facing),
        spacing=real(surface.spacing),
        columns=surface.columns,
        rows=surface.rows,
    )

    alignment: passive.Configurations
    data: passive.Configurations
    try:
        listed = scenario._phases_from_file()
    except ValueError as error:
        problem = Problem(scenario.name, "surface.phases", quote(surface.phases), str(error))
        raise ScenarioError([problem]) from error
    if listed is not None:
        alignment, data = passive.Phased(real(listed)), passive.Phased(real(listed[:1]))
    elif surface.phases == "random":
        alignment = passive.Phased(
            passive.random_phases(alignment_key, len(scenario.sweep), array.elements)
        )
        data = passive.Phased(passive.random_phases(data_key, 1, array.elements))
    else:
        towards, _ = travel(real(surface.position), real(surface.focus or user.position))
        focus = array.direction_cosines(towards)
        offset = real(scenario.sweep) / real([surface.columns, surface.rows])
        alignment = passive.Steered(focus=focus, offset=offset)
        data = passive.Steered(focus=focus, offset=jnp.zeros((1, 2)))

    if surface.bits is not None:
        along, _ = travel(real(base_station.position), real(surface.position))
        arrival, bits = array.direction_cosines(along), surface.bits

        def coarse(fine: passive.Configurations) -> passive.Phased:
            if isinstance(fine, passive.Steered):
                fine = passive.Phased(passive.steered_phases(array, arrival, fine))
            return passive.Phased(passive.quantised(fine.phase, bits))

        alignment, data = coarse(alignment), coarse(data)

    if isinstance(link.gain_phase, float):
        gain_phase = real(link.gain_phase)
    else:
        gain_phase = jax.random.uniform(gain_key, maxval=2 * jnp.pi)
    return scene.LocalizationScene(
        base_station=scene.BaseStation(
            position=real(base_station.position),
            array=LinearArray(
                axis=real(base_station.axis),
                spacing=real(base_station.spacing),
                elements=base_station.antennas,
            ),
            power=real(base_station.power),
        ),
        surface=scene.PassiveSurface(
            position=real(surface.position),
            array=array,
            reflection=real(surface.reflection),
            alignment=alignment,
            data=data,
        ),
        user=scene.User(
            position=real(user.position),
            heading=real(user.heading),
            spacing=real(user.spacing),
            antennas=user.antennas,
        ),
        link=scene.Link(
            wavelength=real(scenario.wavelength),
            bandwidth=real(scenario.carrier.bandwidth),
            noise_density=real(link.noise / scenario.carrier.bandwidth),
            attenuation=real(link.attenuation),
            gain=jnp.exp(1j * gain_phase),
            path_loss=link.path_loss,
            gain_known=scenario.model.gain == "known",
            clock_known=scenario.model.clock == "synchronized",
        ),
        frame=scene.Frame(
            pilot=real(scenario.frame.pilot),
            optimization=real(scenario.frame.optimization),
            period=real(scenario.period),
        ),
    )


# Examination -----------------------------------------------------------------------------------

SYSTEMS: dict[str, type[Scenario]] = {"localization": LocalizationScenario}
"""The systems that a scenario may describe, by the value of its key ``system``."""

_WRONG = {
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_type": "is not a plain number",
    "finite_number": "is not finite",
    "greater_than": "is not above {gt:g}",
    "greater_than_equal": "is below {ge:g}",
    "less_than": "is not below {lt:g}",
    "less_than_equal": "is above {le:g}",
    "bool_type": "is neither true nor false",
    "bool_parsing": "is neither true nor false",
    "string_type": "is not a word",
    "literal_error": "is not one of {expected}",
    "tuple_type": "is not a list",
    "missing": "has too few entries",
    "too_short": "has too few entries",
    "too_long": "has too many entries",
    "model_type": "is not a group of keys",
}


def _nested(info: FieldInfo) -> type[Section] | None:
    """The section behind a field: itself, or the entries of its list."""
    for kind in (info.annotation, *get_args(info.annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def _dotted_keys(system: type[Section]) -> Iterator[str]:
    for name, info in system.model_fields.items():
        yield name
        if nested := _nested(info):
            yield from (f"{name}.{inner}" for inner in _dotted_keys(nested))


def _example(system: type[Section], path: KeyPath) -> Any:
    """A valid value of the field at a path; of a section, all that it must have."""
    section, example = system, None
    for name in path:
        if isinstance(name, int):
            continue
        info = section.model_fields[name]
        if nested := _nested(info):
            section = nested
            musts = (k for k, inner in nested.model_fields.items() if inner.is_required())
            example = {must: _example(nested, (must,)) for must in musts}
        else:
            example = (info.examples or [None])[0]
    return example


def _flow(value: Any) -> str:
    """Plain data as YAML in one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).split("\n")[0]


_NO_SUCH_KEY = "no such key"


def _unknown_key(system: type[Section], path: KeyPath) -> str:
    section, last = _dot(path[:-1]), str(path[-1])
    split = [name.rpartition(".")[::2] for name in _dotted_keys(system)]
    words = difflib.get_close_matches(last, {word for _, word in split}, cutoff=0.7)
    near = [(above, word) for above, word in split if word in words]
    near = [pair for pair in near if pair[0] == section] or near
    if near:
        names = " or ".join(".".join(filter(None, pair)) for pair in near[:3])
        return f"{_NO_SUCH_KEY}; did you mean {names}?"
    siblings = ", ".join(word for above, word in split if above == section)
    return f"{_NO_SUCH_KEY}; {section or 'a scenario'} has {siblings or 'no keys'}"


def _translate(system: type[Section], item: Any, data: Any) -> tuple[KeyPath, str]:
    """Path of the field that one of pydantic's errors is about, and a sentence in our words."""
    path, kind, context = tuple(item["loc"]), item["type"], item.get("ctx", {})
    if kind == "missing" and isinstance(path[-1], str):
        return path, f"missing; add e.g. {path[-1]}: {_flow(_example(system, path))}"
    if kind in ("extra_forbidden", "invalid_key"):
        return path, _unknown_key(system, path)
    entry: list[str] = []
    while isinstance(path[-1], int):
        entry.insert(0, str(path[-1] + 1))
        path = path[:-1]
    value = quote(item["input"])
    if entry:
        whole = quote(_look_up(data, path))
        value = whole if kind == "missing" else f"in {whole}, entry {'.'.join(entry)}, {value},"
    if kind == "value_error":
        return path, str(context["error"])
    wrong = _WRONG.get(kind, "is not understood").format(**context)
    return path, f"{value} {wrong}; write e.g. {_flow(_example(system, path))}"


def _written_at(data: Any, path: KeyPath) -> str:
    value = _look_up(data, path)
    return "" if value is None else quote(value)


def _repaired(system: type[Section], data: Any, errors: Mapping[KeyPath, str]) -> Any:
    """A copy with an example in place of everything broken, unknown keys left out."""
    copy = _plain(data)
    for path, sentence in errors.items():
        owner = _look_up(copy, path[:-1])
        if sentence.startswith(_NO_SUCH_KEY):
            owner.pop(path[-1])
        else:
            owner[path[-1]] = _example(system, path)
    return copy


def _judge(
    system: type[Scenario], data: Any, context: dict[str, Any]
) -> tuple[Scenario | None, dict[KeyPath, str], list[Clash]]:
    """A scenario, or what is wrong field by field, or what clashes if no field is wrong."""
    try:
        return system.model_validate(data, context=context), {}, []
    except ValidationError as error:
        errors: dict[KeyPath, str] = {}
        clashes: list[Clash] = []
        for item in error.errors(include_url=False):
            cause = item.get("ctx", {}).get("error")
            if isinstance(cause, _ClashError):
                clashes += cause.clashes
            else:
                path, sentence = _translate(system, item, data)
                errors.setdefault(path, sentence)
        return None, errors, clashes


def _concerns(clash: Clash, broken: Iterable[KeyPath]) -> bool:
    """Whether a clash was judged by a field that is broken anyway."""
    return any(
        f"{name}.".startswith(f"{_dot(path)}.") or _dot(path).startswith(f"{name}.")
        for name in (clash.field, *clash.others)
        for path in broken
    )


def _examine(data: Any, overrides: Overrides, report: _Report, folder: Path, name: str) -> Scenario:
    """Lay overrides over plain data, check all, and raise together what is wrong."""
    systems = " or ".join(SYSTEMS)
    if not isinstance(data, dict):
        wrong = "is not a list of keys" if data is not None else "nothing is written here"
        report.refuse((), f"{wrong}; `heliostat new` writes a scenario to start from")
        raise report.error()
    data = _plain(data)
    _override(data, overrides, report)
    wanted = data.get("system")
    if isinstance(wanted, str) and wanted in SYSTEMS:
        system, context = SYSTEMS[wanted], {"folder": folder, "name": name}
        scenario, errors, clashes = _judge(system, data, context)
        if errors:
            _, _, clashes = _judge(system, _repaired(system, data, errors), context)
        for path, sentence in errors.items():
            report.refuse(path, sentence, _written_at(data, path))
        for clash in clashes:
            if not _concerns(clash, errors):
                path = tuple(clash.field.split("."))
                report.refuse(path, clash.sentence, _written_at(data, path))
        if scenario is not None and not report.found:
            return scenario
    elif wanted is None:
        report.refuse(("system",), f"missing; add system: {systems}")
    else:
        value = quote(wanted)
        report.refuse(("system",), f"{value} is not a system known here; write {systems}", value)
    raise report.error()


# Reading ---------------------------------------------------------------------------------------

_SHIPPED = files("heliostat") / "scenarios"
_TEMPLATE = "template"
_LARGEST = 2**20


def scenario_names() -> list[str]:
    """Names of the scenarios that come with the package, for `load`."""
    names = [entry.name for entry in _SHIPPED.iterdir()]
    return sorted(n[:-5] for n in names if n.endswith(".yaml") and n != f"{_TEMPLATE}.yaml")


def scenario_text(name: str) -> str:
    """Text of a shipped scenario, comments included.

    Args:
        name: One of `scenario_names`.

    Raises:
        ScenarioError: There is no such scenario.
    """
    if name not in scenario_names():
        raise _refused(name, _not_shipped(name))
    return (_SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")


def template_text() -> str:
    """A scenario to start from: every key with its meaning, unit and default."""
    return (_SHIPPED / f"{_TEMPLATE}.yaml").read_text(encoding="utf-8")


def scenario_schema() -> dict[str, Any]:
    """JSON Schema of scenario files, for editors that complete and check while one writes."""
    systems = list(SYSTEMS.values())
    references, schema = models_json_schema([(system, "validation") for system in systems])
    one_of = [references[(system, "validation")] for system in systems]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "heliostat scenario",
        "oneOf": one_of,
        **schema,
    }


def load(name_or_path: str | os.PathLike[str], overrides: Overrides | None = None) -> Scenario:
    """Read a scenario.

    Args:
        name_or_path: One of `scenario_names`, or the path of a YAML file.
        overrides: Values by dotted key, e.g. ``{"surface.rows": 16, "base_station.power":
            "30 dBm"}``. Text is read as YAML, so what `--set` passes on means what it would mean
            in the file; None resets to the default.

    Raises:
        ScenarioError: The file cannot be read or its contents cannot be; all problems are told.
    """
    given = os.fspath(name_or_path)
    if given in scenario_names():
        file, text, folder = f"{given}.yaml", scenario_text(given), Path(str(_SHIPPED))
    else:
        file, text = given, _file_text(given)
        folder = Path(given).absolute().parent
    return _read(text, overrides or {}, _printable(file), folder, Path(file).stem)


def parse(text: str, overrides: Overrides | None = None, *, name: str = "scenario") -> Scenario:
    """Read a scenario from text, as `load` does from a file.

    Args:
        text: YAML.
        overrides: See `load`.
        name: What to call the scenario, also in messages.

    Raises:
        ScenarioError: The text is no sound scenario; all problems are told.
    """
    return _read(text, overrides or {}, name, Path().absolute(), name)


def _read(text: str, overrides: Overrides, file: str, folder: Path, name: str) -> Scenario:
    report = _Report(file)
    try:
        data = _Reader(text, report).read()
    except _UnreadableError:
        raise report.error() from None
    return _examine(data, overrides, report, folder, name)


def _file_text(path: str) -> str:
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise _refused(path, "is a folder; give a scenario file in it")
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            raise _refused(path, "is not a scenario file; give a text file of at most 1 MiB")
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise _refused(path, _not_shipped(path)) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _refused(f"{path}:{line}", "is not UTF-8 text; save it as UTF-8") from None
    except ScenarioError:
        raise
    except (OSError, ValueError) as error:  # ValueError: no path can look like this
        reason = getattr(error, "strerror", None) or error
        raise _refused(path, f"cannot be read ({reason}); give another file") from None


def _refused(where: str, sentence: str) -> ScenarioError:
    return ScenarioError([Problem(_printable(where), "", "", sentence)])


def _not_shipped(name: str) -> str:
    shipped = scenario_names()
    if near := difflib.get_close_matches(name, shipped, n=1):
        return f"neither a file nor a shipped scenario; did you mean {near[0]}?"
    return f"neither a file nor a shipped scenario; shipped are {', '.join(shipped)}"
