"""What several commands take, and how it is refused."""

import math
from typing import TYPE_CHECKING, Annotated

import typer

from heliostat.console import (
    UserError,
)

if TYPE_CHECKING:
    import heliostat.maps
    import heliostat.scenario
    import heliostat.telling

LOCALIZATION, SENSING = "Options for localization scenarios", "Options for sensing scenarios"

ScenarioArgument = Annotated[
    str, typer.Argument(help="A YAML file, or a name that 'heliostat list' shows.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. surface.rows=16; repeatable."),
]
PdfOption = Annotated[bool, typer.Option("--pdf", help="Write the pictures as PDF too.")]
AntennasOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Active base station antennas; default as many as the period holds.",
        rich_help_panel=LOCALIZATION,
    ),
]


WeightOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Metres and radians that 1 bit/s is worth; default 1e-10.",
        rich_help_panel=LOCALIZATION,
    ),
]
BalanceOption = Annotated[
    float | None,
    typer.Option(
        help="Instead of a weight: 0 for rate alone, towards 1 for accuracy alone.",
        rich_help_panel=LOCALIZATION,
    ),
]


def overrides_of(settings: list[str] | None) -> dict[str, str]:
    """Overrides by dotted key, from key=value each.

    Args:
        settings: As they were typed.

    Raises:
        UserError: One has no key or no equals sign.
    """
    pairs = [setting.partition("=") for setting in settings or []]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise UserError(f"--set {key}{equals}: is no KEY=VALUE; give e.g. surface.rows=16.")
    return {key: value for key, _, value in pairs}


def refuse_of_other_system(scenario: "heliostat.scenario.AnyScenario", **options: object) -> None:
    """Refuse options that belong to the other system, if they are given.

    Args:
        scenario: What was loaded.
        options: As they were given; None where they were not.

    Raises:
        UserError: One was given.
    """
    other = "localization" if scenario.system == "sensing" else "sensing"
    for name, given in options.items():
        if given is not None:
            raise UserError(
                f"--{name} {given}: is for {other} scenarios, {scenario.name} describes "
                f"{scenario.system}; leave it out."
            )


def check_weighing(weight: float | None, balance: float | None) -> None:
    """Refuse what is no weight or balance, or both.

    Args:
        weight: As it was given.
        balance: Likewise.

    Raises:
        UserError: It is none.
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
    """The antennas asked for, or as many as the period holds pilots of.

    Args:
        antennas: As they were asked for.
        scenario: Whose period.

    Raises:
        UserError: They are more than it has or holds pilots of.
    """
    from heliostat.api import most_active_antennas

    most = most_active_antennas(scenario)
    if antennas is not None and antennas > most:
        raise UserError(
            f"--antennas: {antennas} is more than {scenario.name} has and its period holds pilots "
            f"of; give at most {most}."
        )
    return antennas or most


def length_of(option: str, text: str) -> float:
    """A length of 0 or more, in metres, from text with its unit.

    Args:
        option: It was given to.
        text: As it was typed.

    Raises:
        UserError: It is none.
    """
    from heliostat.units import parse_quantity

    try:
        value = parse_quantity(text, "length")
    except ValueError as error:
        raise UserError(f"{option}: {error}.") from None
    if value < 0:
        raise UserError(f"{option}: {text} is negative; give e.g. 7 m.")
    return value


def rectangle_of(text: str | None) -> "heliostat.maps.Area | None":
    """The area of a map, from four numbers.

    Args:
        text: As it was typed; None where it was not.

    Raises:
        UserError: It is none.
    """
    if text is None:
        return None
    (x0, x1), (y0, y1) = _sides("--area", text, "xy", "0,20,-10,10")
    from heliostat.maps import Area

    return Area(x0, x1, y0, y1)


def box_of(text: str | None) -> list[tuple[float, float]] | None:
    """The region of a search, lowest and highest x, y and z, from six numbers. [m]

    Args:
        text: As it was typed; None where it was not.

    Raises:
        UserError: It is none.
    """
    return None if text is None else _sides("--region", text, "xyz", "0,14,8,22,-2,4")


def _sides(option: str, text: str, axes: str, example: str) -> list[tuple[float, float]]:
    """Two ends along each axis. [m]"""
    names = ",".join(f"{axis}{end}" for axis in axes for end in "01")
    remedy = f"give {names} in metres, e.g. {example}."
    try:
        ends = [float(part) for part in text.split(",")]
    except ValueError:
        ends = []
    if len(ends) != 2 * len(axes):
        count = {"xy": "four", "xyz": "six"}[axes]
        raise UserError(f"{option}: {text} is not {count} numbers; {remedy}")
    if not all(math.isfinite(end) and abs(end) <= 1e8 for end in ends):
        raise UserError(f"{option}: {text} reaches too far; {remedy}")
    sides = list(zip(ends[::2], ends[1::2], strict=True))
    if not all(low < high for low, high in sides):
        raise UserError(f"{option}: {text} has an end before its beginning; {remedy}")
    return sides
