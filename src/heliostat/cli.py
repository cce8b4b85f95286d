"""The command line: parse, call one library function, show; no physics.

Whatever is slow to import, JAX and Matplotlib above all, is imported by the command that needs it.
"""

import itertools
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    import heliostat.report
    import heliostat.scenario

app = typer.Typer(
    help="What an intelligent reflecting surface can do for localization and communication.\n\n"
    "Example: heliostat run factory-hall",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

ScenarioArgument = Annotated[
    str, typer.Argument(help="A YAML file, or a name that 'heliostat list' shows.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. surface.rows=16; repeatable."),
]
AntennasOption = Annotated[
    int | None,
    typer.Option(min=1, help="Active base station antennas; default as many as the period holds."),
]


class UserError(ValueError):
    """What was asked cannot be done; the message tells a person what to do instead."""


def _show_version(wanted: bool) -> bool:
    if wanted:
        import heliostat

        typer.echo(f"heliostat {heliostat.__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take the options that belong to no command."""


@app.command()
def run(
    scenario: ScenarioArgument,
    settings: SetOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; default results/ and the scenario's name.")
    ] = None,
    antennas: AntennasOption = None,
    weight: Annotated[
        float | None,
        typer.Option(min=0, help="Metres and radians that 1 bit/s is worth; default 1e-10."),
    ] = None,
    balance: Annotated[
        float | None,
        typer.Option(help="Instead of a weight: 0 for rate alone, towards 1 for accuracy alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Evaluate a deployment: bounds, rate and best allocation, with pictures, data and a report.

    Example: heliostat run factory-hall --set surface.rows=16 --balance 0.5
    """
    overrides = _overrides(settings)
    loaded = _localization(scenario, overrides)
    if weight is not None and balance is not None:
        raise UserError("--weight and --balance: both are given; leave one out.")
    if weight is not None and not math.isfinite(weight):
        raise UserError(f"--weight: {weight:g} is not finite; give e.g. 1e-10.")
    if balance is not None and not 0 <= balance < 1:
        raise UserError(f"--balance: {balance:g} is not in [0, 1); give e.g. 0.5.")
    folder = out or Path("results") / loaded.name
    with _staged(folder) as stage, _waiting("Computing bounds, allocation and map"):
        from heliostat import report

        found = report.evaluate(
            loaded,
            active_antennas=_available(antennas, loaded),
            weight=weight,
            balance=balance,
            overrides=overrides,
        )
        _write_run(found, stage)
    if as_json:
        told = report.document(found) | {"folder": str(folder)}
        typer.echo(json.dumps(told, indent=2, allow_nan=False))
    else:
        _show(f"{loaded.name}: bounds and rate", report.bounds_rows(found))
        _show(f"Best allocation, {report.weighing(found)}", report.allocation_rows(found))
        _show("Steered by estimates, with the scenario's errors", report.error_rows(found))
        for note in report.notes(found):
            typer.echo(f"Note: {note}")
        typer.echo(f"Wrote {folder / 'report.html'}, with pictures and data beside it.")


def _write_run(found: "heliostat.report.Deployment", folder: Path) -> None:
    """Write pictures, data and report into an existing folder."""
    from heliostat import plots, report

    height = found.scenario.user.position[2]
    figures = {
        "scene": (
            plots.scene_figure(found.scene),
            "The scene from above and in space. Arrays and panel are drawn larger than they are.",
        ),
        "trade-off": (
            plots.trade_off_figure(found.trade_off, found.allocation, found.bounds.reason),
            "Error against rate for every number of active antennas.",
        ),
        "peb-map": (
            plots.map_figure(found.area_map, found.scene, found.map_title),
            f"Position error bound of a user at a height of {height:g} m with the same heading.",
        ),
    }
    for name, (figure, _) in figures.items():
        for suffix in ("png", "pdf"):
            plots.save_figure(figure, folder / f"{name}.{suffix}")
    report.dataset(found).to_netcdf(folder / "results.nc", engine="h5netcdf")
    pictures = {caption: folder / f"{name}.png" for name, (_, caption) in figures.items()}
    (folder / "report.html").write_text(report.page(found, pictures), encoding="utf-8")


@app.command("map")
def map_command(
    scenario: ScenarioArgument,
    quantity: Annotated[
        Literal["peb", "reb", "rate"], typer.Option(help="What the map shows.")
    ] = "peb",
    out: Annotated[
        Path, typer.Option(help="Picture to write: .png, .pdf or .svg; the data go beside it.")
    ] = Path("map.png"),
    area: Annotated[
        str | None, typer.Option(metavar="X0,X1,Y0,Y1", help="In metres; default around the scene.")
    ] = None,
    points: Annotated[int, typer.Option(min=1, max=10**7, help="About how many places.")] = 40_000,
    antennas: AntennasOption = None,
    focus: Annotated[
        Literal["fixed", "user"] | None,
        typer.Option(
            help="Keep the surface as it is set, or steer it at the user in each place; default "
            "fixed if the scenario gives a focus or phases, else user."
        ),
    ] = None,
    settings: SetOption = None,
) -> None:
    """Compute a bound or the rate over an area, as a picture and as data.

    Example: heliostat map street-canyon --quantity peb --area -20,20,-10,20 --out map.png
    """
    overrides = _overrides(settings)
    loaded = _localization(scenario, overrides)
    rectangle = _rectangle(area)
    if out.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"--out {out}: the name has to end in .png, .pdf or .svg.")
    with suppress(OSError):  # what cannot be looked at is refused below
        if out.is_dir():
            raise UserError(f"--out {out}: is a folder; give the name of a picture in it.")
    with _staged(out.parent) as stage:
        with _progress(delay=2.0) as tell:
            from heliostat import plots, report

            follow = report.follows_user(loaded) if focus is None else focus == "user"
            if follow and not report.is_steered(loaded):
                raise UserError(
                    "--focus user: surface.phases or surface.bits of this scenario set the surface "
                    "for one place; give --focus fixed."
                )
            count = _available(antennas, loaded)
            found = report.map_scenario(
                loaded,
                quantity,
                area=rectangle,
                points=points,
                active_antennas=count,
                follow=follow,
                on_progress=lambda done, total: tell("map", done, total),
            )
        title = report.map_title(loaded, quantity, count, follow)
        figure = plots.map_figure(found, loaded.build(), title)
        plots.save_figure(figure, stage / out.name)
        data = report.map_dataset(found, loaded, title, overrides)
        data.to_netcdf(stage / f"{out.stem}.nc", engine="h5netcdf")
    _show(title, report.map_rows(found))
    typer.echo(f"Wrote {out} and {out.with_suffix('.nc')}.")


@app.command()
def new(file: Annotated[Path, typer.Argument(help="Where to write it, e.g. hall.yaml.")]) -> None:
    """Write a scenario to start from, every key with its meaning, unit and default.

    Example: heliostat new hall.yaml
    """
    from heliostat.scenario import template_text

    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(template_text())
    except FileExistsError:
        raise UserError(f"{file}: exists already; give another name.") from None
    except OSError as error:
        raise UserError(
            f"{file}: cannot be written ({error.strerror}); give another name."
        ) from None
    typer.echo(f"Wrote {file}. Change it, then: heliostat run {file}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors that complete and check.

    Example: heliostat schema > scenario.schema.json
    """
    from heliostat.scenario import scenario_schema

    typer.echo(json.dumps(scenario_schema(), indent=2))


@app.command("list")
def list_command() -> None:
    """List the scenarios and the studies that come with heliostat.

    Example: heliostat list
    """
    from heliostat import studies
    from heliostat.scenario import scenario_names, scenario_text

    scenarios = {name: _first_sentence(scenario_text(name)) for name in scenario_names()}
    _table("Scenarios, for heliostat run and map", [], scenarios.items())
    for system, figures in studies.NAMES.items():
        titles = [studies.find(f"{system}/{figure}").title for figure in figures]
        title = f"Studies, for heliostat reproduce {system}"
        _table(title, [], zip(figures, titles, strict=True))


@app.command()
def cite() -> None:
    """Print BibTeX of heliostat and of the papers whose systems it has.

    Example: heliostat cite >> references.bib
    """
    from heliostat.citation import citation

    typer.echo(citation(), nl=False)


WORDS = {True: "yes", False: "no", None: "undecided"}
"""Whether a claim holds, in words."""


@app.command()
def reproduce(
    system: Annotated[Literal["localization"], typer.Argument(help="The paper's system.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="Figures, e.g. fig4; default all.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials at each point; default the paper's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of all that is random.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; default results/ and the system.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Compute a paper's figures, and whether the data bear out what it claims about them.

    Example: heliostat reproduce localization fig4 fig7
    """
    from heliostat import studies

    known = studies.NAMES[system]
    for name in names or []:
        if name not in known:
            raise UserError(f"{name}: is no figure of {system}; give some of {', '.join(known)}.")
    folder = out or Path("results") / system
    with _staged(folder):  # refuses a folder that cannot be written, before anything is computed
        pass
    verdicts = []
    with _progress() as tell:
        from heliostat.studies.reproduce import reproduce as compute

        for name in names or known:  # each is in place as soon as it is done
            with _staged(folder) as stage:
                verdicts += compute(
                    system, stage, names=[name], trials=trials, seed=seed, on_progress=tell
                )
    if as_json:
        typer.echo(json.dumps([asdict(verdict) for verdict in verdicts], indent=2))
        return
    rows = [(v.figure, v.claim, WORDS[v.holds], v.finding) for v in verdicts]
    _table("Verdicts", ["figure", "claim", "holds", "finding"], rows)
    typer.echo(f"Wrote data, pictures and verdicts to {folder}.")


# Asking ------------------------------------------------------------------------------------------


def _overrides(settings: list[str] | None) -> dict[str, str]:
    """Overrides by dotted key, from key=value each."""
    pairs = [setting.partition("=") for setting in settings or []]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise UserError(f"--set {key}{equals}: is no KEY=VALUE; give e.g. surface.rows=16.")
    return {key: value for key, _, value in pairs}


def _localization(
    name: str, overrides: Mapping[str, str]
) -> "heliostat.scenario.LocalizationScenario":
    from heliostat.scenario import LocalizationScenario, load

    scenario = load(name, overrides)
    if not isinstance(scenario, LocalizationScenario):
        raise UserError(
            f"{name}: system: describes {scenario.system}; give a scenario of localization."
        )
    return scenario


def _available(antennas: int | None, scenario: "heliostat.scenario.LocalizationScenario") -> int:
    """The antennas asked for, or as many as the period holds pilots of."""
    from heliostat.api import most_active_antennas

    most = most_active_antennas(scenario)
    if antennas is not None and antennas > most:
        raise UserError(
            f"--antennas: {antennas} is more than {scenario.name} has and its period holds pilots "
            f"of; give at most {most}."
        )
    return antennas or most


def _rectangle(text: str | None) -> "heliostat.report.Area | None":
    if text is None:
        return None
    remedy = "give x0,x1,y0,y1 in metres, e.g. 0,20,-10,10."
    try:
        x0, x1, y0, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--area: {text} is not four numbers; {remedy}") from None
    if not all(math.isfinite(end) and abs(end) <= 1e8 for end in (x0, x1, y0, y1)):
        raise UserError(f"--area: {text} reaches too far; {remedy}")
    if not (x0 < x1 and y0 < y1):
        raise UserError(f"--area: {text} has an end before its beginning; {remedy}")
    from heliostat.report import Area

    return Area(x0, x1, y0, y1)


# Writing -----------------------------------------------------------------------------------------


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A temporary folder; what is in it moves into ``folder`` at the end, unless anything fails.

    Raises:
        UserError: Nothing can be written there; told before the body runs.
    """
    new_homes: list[Path] = []
    stage: Path | None = None
    try:
        try:
            there = folder.is_dir()
            home = folder if there else folder.parent
            new_homes = [place for place in (home, *home.parents) if not place.exists()]
            for place in (folder, *folder.parents):
                if place.exists() and not place.is_dir():
                    raise NotADirectoryError(None, f"{place} is a file")
            home.mkdir(parents=True, exist_ok=True)
            stage = home / f".heliostat-{os.urandom(4).hex()}"
            stage.mkdir()
            yield stage
            if there:
                for file in stage.iterdir():  # all or none: look before the first is moved
                    if (folder / file.name).is_dir():
                        raise IsADirectoryError(None, f"{folder / file.name} is a folder")
                for file in stage.iterdir():
                    os.replace(file, folder / file.name)
            else:
                stage.rename(folder)
        finally:
            if stage is not None:
                shutil.rmtree(stage, ignore_errors=True)
            for place in new_homes:  # empty ones only
                with suppress(OSError):
                    place.rmdir()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"--out {folder}: cannot be written ({reason}); give another folder."
        ) from None


# Showing -----------------------------------------------------------------------------------------


def _show(title: str, rows: "list[heliostat.report.Row]") -> None:
    if rows:
        _table(title, [], [(row.label, row.text) for row in rows])


def _table(title: str, heads: list[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, with colours if a terminal shows it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_header=bool(heads), leading=len(heads) and 1)
    for head in heads:
        table.add_column(head)
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console().print(Text(title, style="bold"), table)


_STYLES = {"yes": "green", "no": "red"}


@contextmanager
def _waiting(message: str) -> Iterator[None]:
    """Something that moves on a terminal while the body runs."""
    from rich.console import Console

    with Console(stderr=True).status(message):
        yield


@contextmanager
def _progress(delay: float = 0.0) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each name that is told as (name, done, total), on a terminal.

    Args:
        delay: Show it only once the body takes longer. [s]
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda name, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeElapsedColumn(), console=console, transient=True)
    tasks: dict[str, Any] = {}
    begun = time.monotonic()

    def tell(name: str, done: int, total: int) -> None:
        if name not in tasks:
            tasks[name] = bar.add_task(name, total=total)
        bar.update(tasks[name], completed=done)
        if time.monotonic() - begun >= delay:
            bar.start()

    try:
        yield tell
    finally:
        bar.stop()


def _first_sentence(text: str) -> str:
    """The first sentence of the comment at the top of a scenario."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    comment = " ".join(line.lstrip("# ") for line in lines)
    return re.split(r"(?<=\w\w\.) ", comment, maxsplit=1)[0]
