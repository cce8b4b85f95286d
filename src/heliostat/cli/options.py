"""Options shared by several commands, and their checks."""

import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heliostat.cli.console import UserError

if TYPE_CHECKING:
    import heliostat.scenario

LOCALIZATION, SENSING = "Options for localization scenarios", "Options for sensing scenarios"

ScenarioArgument = Annotated[
    str, typer.Argument(help="A YAML file, or a name that 'heliostat list' shows.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. surface.rows=16; repeatable."),
]
PdfOption = Annotated[bool, typer.Option("--pdf", help="Write the figures as PDF too.")]
AntennasOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Active antennas of the base station; default as many as fit into the period.",
        rich_help_panel=LOCALIZATION,
    ),
]


WeightOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Weight of the rate against the sum of both error bounds, in (m + rad) s/bit; "
        "default 1e-10.",
        rich_help_panel=LOCALIZATION,
    ),
]
BalanceOption = Annotated[
    float | None,
    typer.Option(
        help="Unit-free alternative to the weight, in [0, 1): 0 for the rate alone, close to 1 "
        "for accuracy.",
        rich_help_panel=LOCALIZATION,
    ),
]


def overrides_of(settings: list[str] | None) -> dict[str, str]:
    """Overrides of a scenario by dotted key.

    Args:
        settings: Texts KEY=VALUE.

    Raises:
        UserError: A text has no key or no equals sign.
    """
    pairs = [setting.partition("=") for setting in settings or []]
    for key, equals, value in pairs:
        if not (key and equals):
            raise UserError(
                f"--set {key}{equals}{value}: is not KEY=VALUE; give e.g. surface.rows=16."
            )
    return {key: value for key, _, value in pairs}


def refuse_of_other_system(scenario: "heliostat.scenario.AnyScenario", **options: object) -> None:
    """Refuse options that belong to the other system.

    Args:
        scenario: The loaded scenario.
        options: Values of these options; None for an option that was not given.

    Raises:
        UserError: One of them was given.
    """
    other = "localization" if scenario.system == "sensing" else "sensing"
    for name, given in options.items():
        if given is not None:
            value = "" if given is True else f" {given}"
            raise UserError(
                f"--{name}{value}: is for {other} scenarios, but {scenario.name} describes "
                f"{scenario.system}; leave it out."
            )


def refuse_folder(out: Path) -> None:
    """Refuse a folder where a file is to be written.

    Args:
        out: Value of --out.

    Raises:
        UserError: It is a folder.
    """
    with suppress(OSError):  # a path that cannot be examined is refused when it is written
        if out.is_dir():
            raise UserError(
                f"--out {out}: cannot be written (it is a folder); give the name of a file in it."
            )


def check_weighing(weight: float | None, balance: float | None) -> None:
    """Check the weight and the balance of a time allocation.

    Args:
        weight: Value of --weight, if given.
        balance: Value of --balance, if given.

    Raises:
        UserError: Both are given, or one is out of range.
    """
    if weight is not None and balance is not None:
        raise UserError("--weight and --balance: both are given; leave one out.")
    if weight is not None and not math.isfinite(weight):
        raise UserError(f"--weight: {weight:g} is not finite; give e.g. 1e-10.")
    if balance is not None and not 0 <= balance < 1:
        raise UserError(f"--balance: {balance:g} is not in [0, 1); give e.g. 0.5.")


def available_antennas(
    antennas: int | None, scenario: "heliostat.scenario.LocalizationScenario"
) -> int:
    """Number of active antennas; default as many as fit into the period.

    Args:
        antennas: Value of --antennas, if given.
        scenario: The loaded scenario.

    Raises:
        UserError: The base station has fewer, or the period is too short for their pilots.
    """
    from heliostat.api.localization import most_active_antennas

    most = most_active_antennas(scenario)
    if antennas is not None and antennas > most:
        raise UserError(
            f"--antennas: {antennas} is more than {scenario.name} has, or than fit into its "
            f"period; give at most {most}."
        )
    return antennas or most


def length_of(option: str, text: str) -> float:
    """A length of 0 or more. [m]

    Args:
        option: Name of the option, for the message.
        text: A number with a unit.

    Raises:
        UserError: The text is no such length.
    """
    from heliostat.units import parse_quantity

    try:
        value = parse_quantity(text, "length")
    except ValueError as error:
        raise UserError(f"{option}: {error}.") from None
    if value < 0:
        raise UserError(f"{option}: {text} is negative; give e.g. 7 m.")
    return value


def finite_numbers(text: str) -> list[float]:
    """Parse numbers separated by commas; an empty list if one of them is not a finite number.

    Args:
        text: Text to parse.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def polygon_or_rectangle_of(text: str | None) -> list[float] | list[list[float]] | None:
    """The area of a map: x0, x1, y0, y1, or the corners of a polygon.

    Args:
        text: Value of --area, if given: four numbers, or pairs of numbers separated by spaces.

    Raises:
        UserError: The text describes neither.
    """
    if text is None:
        return None
    corners = text.split()
    if len(corners) >= 3:
        pairs = [finite_numbers(corner) for corner in corners]
        if not all(len(pair) == 2 for pair in pairs):
            raise UserError(
                f"--area {text}: is not a list of corners; give X,Y of each in meters, e.g. "
                "'0,0 20,0 20,10'."
            )
        return pairs
    (x0, x1), (y0, y1) = _sides("--area", text, "xy", "0,20,-10,10")
    return [x0, x1, y0, y1]


def box_of(text: str | None) -> list[tuple[float, float]] | None:
    """The region of a search: lowest and highest x, y and z. [m]

    Args:
        text: Value of --region, if given: six numbers.

    Raises:
        UserError: The text describes no box.
    """
    return None if text is None else _sides("--region", text, "xyz", "0,14,8,22,-2,4")


def _sides(option: str, text: str, axes: str, example: str) -> list[tuple[float, float]]:
    """Two ends along each axis. [m]"""
    names = ",".join(f"{axis}{end}" for axis in axes for end in "01")
    remedy = f"give {names} in meters, e.g. {example}."
    ends = finite_numbers(text)
    if len(ends) != 2 * len(axes):
        count = {"xy": "four", "xyz": "six"}[axes]
        raise UserError(f"{option}: {text} is not {count} finite numbers; {remedy}")
    if not all(abs(end) <= 1e8 for end in ends):
        raise UserError(f"{option}: {text} reaches too far; {remedy}")
    sides = list(zip(ends[::2], ends[1::2], strict=True))
    if not all(low < high for low, high in sides):
        raise UserError(f"{option}: {text} has an end before its beginning; {remedy}")
    return sides
