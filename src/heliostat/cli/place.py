"""The command ``place``: positions of surfaces on the walls of a site."""

import math
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

from heliostat.cli.console import UserError, present, progress, staged
from heliostat.cli.options import (
    AntennasOption,
    PdfOption,
    ScenarioArgument,
    SetOption,
    available_antennas,
    finite_numbers,
    length_of,
    overrides_of,
)
from heliostat.cli.positions import positions_of

GRID = "Candidates"
WHERE = "Positions"


def place(
    scenario: ScenarioArgument,
    goal: Annotated[
        str,
        typer.Option(
            metavar="GOAL",
            help="Limit on the position error bound (PEB) or on the rate: 'peb below 10 cm', 'rate "
            "above 100 Mbit/s', or both joined by 'and'.",
        ),
    ],
    surfaces: Annotated[int, typer.Option(min=1, max=16, help="Number of surfaces to place.")] = 1,
    candidates: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Obstacles or walls that may carry surfaces. A wall of an obstacle is named by "
            "the direction that it faces, e.g. north-east/south. Default: the walls of --wall, or "
            "without any, all walls of all obstacles.",
            rich_help_panel=GRID,
        ),
    ] = None,
    wall: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=X0,Y0,X1,Y1",
            help="Further wall by its two ends in meters, with the outer side towards the base "
            "station; it does not block paths; repeatable.",
            rich_help_panel=GRID,
        ),
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help="Distance between neighboring positions on a wall, e.g. '2 m'; default a tenth "
            "of the longest wall, at most 5 m.",
            rich_help_panel=GRID,
        ),
    ] = None,
    heights: Annotated[
        str | None,
        typer.Option(
            metavar="H,...",
            help="Heights in meters; default those of the scenario's surfaces.",
            rich_help_panel=GRID,
        ),
    ] = None,
    turns: Annotated[
        str,
        typer.Option(
            metavar="DEG,...",
            help="Azimuths of the panels relative to the normal of the wall, in degrees.",
            rich_help_panel=GRID,
        ),
    ] = "-30,0,30",
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="ROWSxCOLUMNS,...",
            help="Sizes of the panels, e.g. 32x32,64x64; all surfaces of a set have one size. "
            "Default that of the scenario's first surface.",
            rich_help_panel=GRID,
        ),
    ] = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Keep the surfaces of the scenario and place further ones; without it they are "
            "replaced. The first one is the model for the others in either case.",
        ),
    ] = False,
    area: Annotated[
        str | None,
        typer.Option(
            metavar="X0,X1,Y0,Y1",
            help="Rectangle in meters, or corners of a polygon as X,Y X,Y X,Y; default around the "
            "scene. Points within obstacles do not count.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="Approximate number of points; default 2000, 500 with spherical waves or "
            "quantized phases.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    at: Annotated[
        Literal["users"] | None,
        typer.Option(
            help="users: for the users of the scenario, instead of an area.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    points_file: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with the positions of users, instead of an area; see heliostat map.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Output folder; default results/NAME-place.")
    ] = None,
    antennas: AntennasOption = None,
    settings: SetOption = None,
    pdf: PdfOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Choose where to mount surfaces, so that a goal is met at as many places as possible.

    Localization scenarios only. Writes the scenario with the chosen surfaces as site.yaml, which
    run and map accept.

    Example: heliostat place street-crossing --surfaces 2 --goal "peb below 1 cm"
    """
    from heliostat.scenario import load

    overrides = overrides_of(settings)
    loaded = load(scenario, overrides)
    if loaded.system != "localization":
        raise UserError(
            f"{loaded.name} describes {loaded.system}; place is for localization scenarios."
        )
    where = positions_of(area, points, at, points_file)
    chosen = None if candidates is None else [name.strip() for name in candidates.split(",")]
    folder = out or Path("results") / f"{loaded.name}-place"
    with suppress(OSError):
        if Path(scenario).resolve() == (folder / "site.yaml").resolve():
            raise UserError(f"--out {folder}: its site.yaml is the given scenario; use another.")
    with staged(folder) as stage, progress(delay=2.0) as advance:
        from heliostat.api.placement import place as placed
        from heliostat.api.placement_results import PlacementError
        from heliostat.reports.placement import placement_report

        try:
            found = placed(
                loaded,
                goal,
                surfaces,
                candidates=chosen,
                walls=_walls_of(wall),
                spacing=None if spacing is None else length_of("--spacing", spacing),
                heights=None if heights is None else _numbers_of("--heights", heights, "4,6"),
                turns=[math.radians(turn) for turn in _numbers_of("--turns", turns, "-30,0,30")],
                sizes=None if sizes is None else _sizes_of(sizes),
                keep=keep,
                active_antennas=available_antennas(antennas, loaded),
                on_progress=advance,
                **where,
            )
        except PlacementError as error:
            raise UserError(str(error)) from None
        report = placement_report(found, loaded, overrides)
        report.write(stage, pdf=pdf)
    present(report, folder, as_json)


def _numbers_of(option: str, text: str, example: str) -> list[float]:
    """Finite numbers separated by commas."""
    if not (found := finite_numbers(text)):
        raise UserError(f"{option}: {text} is not a list of finite numbers; give e.g. {example}.")
    return found


def _walls_of(texts: list[str] | None) -> dict[str, list[list[float]]]:
    """Both ends of each listed wall, by name."""
    walls: dict[str, list[list[float]]] = {}
    for text in texts or []:
        name, _, ends = text.partition("=")
        remedy = "give NAME=X0,Y0,X1,Y1 in meters, e.g. facade-north=0,10,30,10."
        numbers = finite_numbers(ends)
        if not name or len(numbers) != 4:
            raise UserError(f"--wall {text}: is not a name with four finite numbers; {remedy}")
        if name in walls:
            raise UserError(f"--wall {text}: {name} is given twice; rename one of them.")
        walls[name] = [numbers[:2], numbers[2:]]
    return walls


def _sizes_of(text: str) -> list[tuple[int, int]]:
    """Rows and columns of each size."""
    found = []
    for part in text.split(","):
        rows, _, columns = part.strip().partition("x")
        if not (rows.isdecimal() and columns.isdecimal()):
            raise UserError(f"--sizes {text}: is not a list of sizes; give e.g. 32x32,64x64.")
        found.append((int(rows), int(columns)))
    return found
