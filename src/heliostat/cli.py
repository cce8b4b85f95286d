"""The command line: parse, call one library function, show; no physics.

Whatever is slow to import, JAX and Matplotlib above all, is imported by the command that needs it.
"""

import json
import math
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast

import typer

from heliostat.console import (
    UserError,
    first_sentence,
    print_table,
    progress,
    show,
    staged,
    waiting,
)

if TYPE_CHECKING:
    import heliostat.maps
    import heliostat.scenario
    import heliostat.telling

app = typer.Typer(
    help="What an intelligent reflecting surface can do for localization, communication and "
    "sensing.\n\n"
    "Example: heliostat run factory-hall",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

LOCALIZATION, SENSING = "Options for localization scenarios", "Options for sensing scenarios"

ScenarioArgument = Annotated[
    str, typer.Argument(help="A YAML file, or a name that 'heliostat list' shows.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. surface.rows=16; repeatable."),
]
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
    # A design takes thousands of small steps, in which OpenBLAS's threads would but wait for turns.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@app.command()
def run(
    scenario: ScenarioArgument,
    settings: SetOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; default results/ and the scenario's name.")
    ] = None,
    antennas: AntennasOption = None,
    weight: WeightOption = None,
    balance: BalanceOption = None,
    method: Annotated[
        Literal["direct", "sdr"] | None,
        typer.Option(
            help="How to design: direct, or sdr, the paper's slow algorithm; default direct.",
            rich_help_panel=SENSING,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Evaluate a deployment, with pictures, data and a report.

    Localization scenarios: bounds, rate and the best allocation of the period.

    Sensing scenarios: beams and surfaces designed for the target, their bounds and powers.

    Example: heliostat run factory-hall --set surface.rows=16 --balance 0.5
    """
    overrides = _overrides(settings)
    loaded = _loaded(scenario, overrides)
    if loaded.system == "sensing":
        _refuse(loaded, antennas=antennas, weight=weight, balance=balance)
        method = method or "direct"
        if method == "sdr" and loaded.dwell.patterns > 1:
            raise UserError(
                f"--method sdr: designs 1 pattern, {loaded.name} has {loaded.dwell.patterns}; "
                "add --set dwell.patterns=1, or leave it out."
            )
    else:
        _refuse(loaded, method=method)
        _check_weighing(weight, balance)
    folder = out or Path("results") / loaded.name
    with staged(folder) as stage, waiting("Computing bounds, designs and pictures"):
        if loaded.system == "sensing":
            told = _run_sensing(loaded, stage, overrides, method or "direct")
        else:
            count = _available(antennas, loaded)
            told = _run_localization(loaded, stage, overrides, count, weight, balance)
    if as_json:
        document = told.document | {"folder": str(folder)}
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    for table in told.tables:
        show(table)
    for note in told.notes:
        typer.echo(f"Note: {note}")
    typer.echo(f"Wrote {folder / 'report.html'}, with pictures and data beside it.")


class _Told(NamedTuple):
    """What a run found out, for people and for programs."""

    tables: "list[heliostat.telling.Table]"
    notes: list[str]
    document: dict[str, Any]


def _run_localization(
    scenario: "heliostat.scenario.LocalizationScenario",
    stage: Path,
    overrides: Mapping[str, str],
    antennas: int,
    weight: float | None,
    balance: float | None,
) -> _Told:
    from heliostat import report

    found = report.evaluate(
        scenario, active_antennas=antennas, weight=weight, balance=balance, overrides=overrides
    )
    report.write(found, stage)
    return _Told(report.tables(found), report.notes(found), report.document(found))


def _run_sensing(
    scenario: "heliostat.scenario.SensingScenario",
    stage: Path,
    overrides: Mapping[str, str],
    method: Literal["direct", "sdr"],
) -> _Told:
    from heliostat import sensing_report

    with warnings.catch_warnings():  # CVXPY's doubts; a design is checked before it is returned
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        found = sensing_report.evaluate(scenario, method=method, overrides=overrides)
    sensing_report.write(found, stage)
    return _Told(
        sensing_report.tables(found), sensing_report.notes(found), sensing_report.document(found)
    )


@app.command("map")
def map_command(
    scenario: ScenarioArgument,
    quantity: Annotated[
        Literal["peb", "reb", "rate", "position", "direction"] | None,
        typer.Option(
            help="What the map shows: peb, reb or rate for localization, default peb; position or "
            "direction for sensing, default position."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Picture to write: .png, .pdf or .svg; the data go beside it.")
    ] = Path("map.png"),
    area: Annotated[
        str | None, typer.Option(metavar="X0,X1,Y0,Y1", help="In metres; default around the scene.")
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10**7,
            help="About how many places; default 40000 for localization, 10000 for one sensing "
            "design, 60 for a design at each place.",
        ),
    ] = None,
    antennas: AntennasOption = None,
    focus: Annotated[
        Literal["fixed", "user"] | None,
        typer.Option(
            help="Keep the surface as it is set, or steer it at the user in each place; default "
            "fixed if the scenario gives a focus or phases, else user.",
            rich_help_panel=LOCALIZATION,
        ),
    ] = None,
    design: Annotated[
        Literal["fixed", "each"] | None,
        typer.Option(
            help="Keep the design made for the scenario's target, or make a quick one (2 starts "
            "instead of 8) for each place; default fixed.",
            rich_help_panel=SENSING,
        ),
    ] = None,
    settings: SetOption = None,
) -> None:
    """Compute a bound or the rate over an area, as a picture and as data.

    Sensing scenarios: of a target at each place, at the height of the scenario's.

    Example: heliostat map street-canyon --quantity peb --area -20,20,-10,20 --out map.png
    """
    overrides = _overrides(settings)
    loaded = _loaded(scenario, overrides)
    rectangle = _rectangle(area)
    if out.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"--out {out}: the name has to end in .png, .pdf or .svg.")
    with suppress(OSError):  # what cannot be looked at is refused below
        if out.is_dir():
            raise UserError(f"--out {out}: is a folder; give the name of a picture in it.")
    if loaded.system == "sensing":
        _refuse(loaded, antennas=antennas, focus=focus)
        if quantity in ("peb", "reb", "rate"):
            raise UserError(
                f"--quantity {quantity}: is for localization scenarios, {loaded.name} describes "
                "sensing; give position or direction."
            )
        bound = cast("Literal['position', 'direction']", quantity or "position")
        use = design or "fixed"
        with staged(out.parent) as stage:
            file = stage / out.name
            told = _map_sensing(loaded, file, overrides, bound, use, rectangle, points)
    else:
        _refuse(loaded, design=design)
        if quantity in ("position", "direction"):
            raise UserError(
                f"--quantity {quantity}: is for sensing scenarios, {loaded.name} describes "
                "localization; give peb, reb or rate."
            )
        shown = cast("Literal['peb', 'reb', 'rate']", quantity or "peb")
        count = points or 40_000
        with staged(out.parent) as stage:
            file = stage / out.name
            told = _map_localization(
                loaded, file, overrides, shown, focus, rectangle, count, antennas
            )
    show(told)
    typer.echo(f"Wrote {out} and {out.with_suffix('.nc')}.")


def _map_localization(
    scenario: "heliostat.scenario.LocalizationScenario",
    file: Path,
    overrides: Mapping[str, str],
    quantity: Literal["peb", "reb", "rate"],
    focus: Literal["fixed", "user"] | None,
    area: "heliostat.maps.Area | None",
    points: int,
    antennas: int | None,
) -> "heliostat.telling.Table":
    """Compute a map and write picture and data; its quantiles."""
    with progress(delay=2.0) as tell:
        from heliostat import plots, report, telling

        follow = report.follows_user(scenario) if focus is None else focus == "user"
        if follow and not report.is_steered(scenario):
            raise UserError(
                "--focus user: surface.phases or surface.bits of this scenario set the surface "
                "for one place; give --focus fixed."
            )
        count = _available(antennas, scenario)
        found = report.map_scenario(
            scenario,
            quantity,
            area=area,
            points=points,
            active_antennas=count,
            follow=follow,
            on_progress=lambda done, total: tell("map", done, total),
        )
    title = report.map_title(scenario, quantity, count, follow)
    plots.save_figure(plots.map_figure(found, scenario.build(), title), file)
    data = report.map_dataset(found, scenario, title, overrides)
    data.to_netcdf(file.with_suffix(".nc"), engine="h5netcdf")
    return telling.listed(title, report.map_rows(found))


def _map_sensing(
    scenario: "heliostat.scenario.SensingScenario",
    file: Path,
    overrides: Mapping[str, str],
    quantity: Literal["position", "direction"],
    use: Literal["fixed", "each"],
    area: "heliostat.maps.Area | None",
    points: int | None,
) -> "heliostat.telling.Table":
    """Compute a map and write picture and data; its quantiles."""
    with waiting("Designing for the scenario's target"):
        from heliostat import plots, sensing_plots, sensing_report, telling

        made = sensing_report.designed(scenario) if use == "fixed" else None
    with progress() as tell:
        found = sensing_report.map_scenario(
            scenario,
            made,
            area=area,
            points=points,
            on_progress=lambda done, total: tell("map", done, total),
        )
    title = sensing_report.map_title(scenario, quantity, use)
    figure = sensing_plots.map_figure(found, quantity, scenario.build(), title)
    plots.save_figure(figure, file)
    data = sensing_report.map_dataset(found, scenario, title, overrides)
    data.to_netcdf(file.with_suffix(".nc"), engine="h5netcdf")
    return telling.listed(title, sensing_report.map_rows(found, quantity))


@app.command()
def track(
    scenario: ScenarioArgument,
    walk: Annotated[
        Path | None,
        typer.Option(
            "--track",
            metavar="FILE.csv",
            help="Where the user is in each period: columns x and y in metres and, if it turns, "
            "heading_deg.",
        ),
    ] = None,
    periods: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="How many; default 50, or all of the track."),
    ] = None,
    mobility: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help='Without a track the user jumps up to so far in each period, e.g. "7 m"; default '
            "the scenario's errors.mobility.",
        ),
    ] = None,
    weight: WeightOption = None,
    balance: BalanceOption = None,
    invented_errors: Annotated[
        bool,
        typer.Option(
            "--invented-errors",
            help="Put the paper's uniform errors, the scenario's own, in place of estimates.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write; default results/, the scenario's name and -track."),
    ] = None,
    settings: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Follow a user over many periods: pilots, estimate, data, next allocation.

    For localization scenarios. The surface is steered by what is really estimated from noisy
    pilots; periods in which the user is lost are counted.

    Example: heliostat track localization-table-1 --periods 50 --mobility "7 m"
    """
    overrides = _overrides(settings)
    loaded = _loaded(scenario, overrides)
    if loaded.system != "localization":
        raise UserError(
            f"{loaded.name}: describes {loaded.system}; track is for localization scenarios."
        )
    _check_weighing(weight, balance)
    if walk is not None and mobility is not None:
        raise UserError("--track and --mobility: both are given; leave one out.")
    radius = None if mobility is None else _length("--mobility", mobility)
    folder = out or Path("results") / f"{loaded.name}-track"
    with staged(folder) as stage, waiting("Following the user"):
        from heliostat import protocol_report
        from heliostat.protocol_api import TrackError

        try:
            found = protocol_report.follow(
                loaded,
                periods,
                file=walk,
                mobility=radius,
                weight=weight,
                balance=balance,
                invented_errors=invented_errors,
                overrides=overrides,
            )
        except TrackError as error:
            raise UserError(str(error)) from None
        protocol_report.write(found, stage)
    if as_json:
        document = protocol_report.document(found) | {"folder": str(folder)}
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    show(protocol_report.table(found))
    for note in protocol_report.notes(found):
        typer.echo(f"Note: {note}")
    typer.echo(f"Wrote {folder}: path.png, periods.png, track.csv and track.nc.")


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="Where to write it, e.g. hall.yaml.")],
    system: Annotated[
        Literal["localization", "sensing"], typer.Option(help="What the scenario describes.")
    ] = "localization",
) -> None:
    """Write a scenario to start from, every key with its meaning, unit and default.

    Example: heliostat new hall.yaml
    """
    from heliostat.scenario import template_text

    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(template_text(system))
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

    scenarios = {name: first_sentence(scenario_text(name)) for name in scenario_names()}
    print_table("Scenarios, for heliostat run, map and track", [], scenarios.items())
    for system, figures in studies.NAMES.items():
        titles = [studies.find(f"{system}/{figure}").title for figure in figures]
        title = f"Studies, for heliostat reproduce {system}"
        print_table(title, [], zip(figures, titles, strict=True))


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
    system: Annotated[
        Literal["localization", "sensing", "estimators"],
        typer.Argument(help="The paper's system, or the estimators of both."),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Figures, e.g. fig4, or for sensing also patterns and scaling; default every "
            "figure of the paper, or of the estimators."
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            "--draws",
            min=1,
            help="Trials at each point, for sensing draws of the channels: the more, the narrower "
            "the bands; default what each study has.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of all that is random.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; default results/ and the system.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Compute a paper's figures, and whether the data bear out what it claims about them.

    Example: heliostat reproduce sensing fig2 --draws 10
    """
    from heliostat import studies
    from heliostat.studies.engines import all_cores

    known = studies.NAMES[system]
    for name in names or []:
        if name not in known:
            raise UserError(f"{name}: is no figure of {system}; give some of {', '.join(known)}.")
    names = names or studies.default_names(system)
    folder = out or Path("results") / system
    with staged(folder):  # refuses a folder that cannot be written, before anything is computed
        pass
    verdicts = []
    with progress() as tell, all_cores() as engine:
        from heliostat.studies.reproduce import reproduce as compute

        for name in names:  # each is in place as soon as it is done
            with staged(folder) as stage:
                verdicts += compute(
                    system,
                    stage,
                    names=[name],
                    trials=trials,
                    seed=seed,
                    on_progress=tell,
                    engine=engine,
                )
    if as_json:
        typer.echo(json.dumps([asdict(verdict) for verdict in verdicts], indent=2))
        return
    rows = [(v.figure, v.claim, WORDS[v.holds], v.finding) for v in verdicts]
    print_table("Verdicts", ["figure", "claim", "holds", "finding"], rows)
    typer.echo(f"Wrote data, pictures and verdicts to {folder}.")


# Asking ------------------------------------------------------------------------------------------


def _overrides(settings: list[str] | None) -> dict[str, str]:
    """Overrides by dotted key, from key=value each."""
    pairs = [setting.partition("=") for setting in settings or []]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise UserError(f"--set {key}{equals}: is no KEY=VALUE; give e.g. surface.rows=16.")
    return {key: value for key, _, value in pairs}


def _loaded(name: str, overrides: Mapping[str, str]) -> "heliostat.scenario.AnyScenario":
    from heliostat.scenario import load

    return load(name, overrides)


def _refuse(scenario: "heliostat.scenario.AnyScenario", **options: object) -> None:
    """Refuse options that belong to the other system, if they are given."""
    other = "localization" if scenario.system == "sensing" else "sensing"
    for name, given in options.items():
        if given is not None:
            raise UserError(
                f"--{name} {given}: is for {other} scenarios, {scenario.name} describes "
                f"{scenario.system}; leave it out."
            )


def _check_weighing(weight: float | None, balance: float | None) -> None:
    """Refuse what is no weight or balance, or both."""
    if weight is not None and balance is not None:
        raise UserError("--weight and --balance: both are given; leave one out.")
    if weight is not None and not math.isfinite(weight):
        raise UserError(f"--weight: {weight:g} is not finite; give e.g. 1e-10.")
    if balance is not None and not 0 <= balance < 1:
        raise UserError(f"--balance: {balance:g} is not in [0, 1); give e.g. 0.5.")


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


def _length(option: str, text: str) -> float:
    """A length of 0 or more, in metres, from text with its unit."""
    from heliostat.units import parse_quantity

    try:
        value = parse_quantity(text, "length")
    except ValueError as error:
        raise UserError(f"{option}: {error}.") from None
    if value < 0:
        raise UserError(f"{option}: {text} is negative; give e.g. 7 m.")
    return value


def _rectangle(text: str | None) -> "heliostat.maps.Area | None":
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
    from heliostat.maps import Area

    return Area(x0, x1, y0, y1)
