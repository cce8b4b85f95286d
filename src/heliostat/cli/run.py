"""The commands ``run`` and ``map``."""

import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast

import typer

from heliostat.cli.console import (
    UserError,
    progress,
    show,
    staged,
    waiting,
)
from heliostat.cli.options import (
    LOCALIZATION,
    SENSING,
    AntennasOption,
    BalanceOption,
    PdfOption,
    ScenarioArgument,
    SetOption,
    WeightOption,
    available_antennas,
    check_weighing,
    overrides_of,
    rectangle_of,
    refuse_of_other_system,
)

if TYPE_CHECKING:
    import heliostat.maps.localization
    import heliostat.reports.tables
    import heliostat.scenario


def run(
    scenario: ScenarioArgument,
    settings: SetOption = None,
    out: Annotated[Path | None, typer.Option(help="Output folder; default results/NAME.")] = None,
    antennas: AntennasOption = None,
    weight: WeightOption = None,
    balance: BalanceOption = None,
    method: Annotated[
        Literal["direct", "sdr"] | None,
        typer.Option(
            help="Design method: direct, or sdr, the paper's slow algorithm; default direct.",
            rich_help_panel=SENSING,
        ),
    ] = None,
    pdf: PdfOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Evaluate a deployment, with pictures, data and a report.

    Localization scenarios: bounds, rate and the best allocation of the period.

    Sensing scenarios: beams and surfaces designed for the target, their bounds and powers.

    Example: heliostat run factory-hall --set surface.rows=16 --balance 0.5
    """
    from heliostat.scenario import load

    overrides = overrides_of(settings)
    loaded = load(scenario, overrides)
    if loaded.system == "sensing":
        refuse_of_other_system(loaded, antennas=antennas, weight=weight, balance=balance)
        method = method or "direct"
        if method == "sdr" and loaded.dwell.patterns > 1:
            raise UserError(
                f"--method sdr: designs 1 pattern, {loaded.name} has {loaded.dwell.patterns}; "
                "add --set dwell.patterns=1, or leave it out."
            )
    else:
        refuse_of_other_system(loaded, method=method)
        check_weighing(weight, balance)
    folder = out or Path("results") / loaded.name
    with staged(folder) as stage, waiting("Computing bounds, designs and pictures"):
        if loaded.system == "sensing":
            told = _run_sensing(loaded, stage, overrides, method or "direct", pdf)
        else:
            count = available_antennas(antennas, loaded)
            told = _run_localization(loaded, stage, overrides, count, weight, balance, pdf)
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
    """Results of a run as tables, notes and a JSON document."""

    tables: "list[heliostat.reports.tables.Table]"
    notes: list[str]
    document: dict[str, Any]


def _run_localization(
    scenario: "heliostat.scenario.LocalizationScenario",
    stage: Path,
    overrides: Mapping[str, str],
    antennas: int,
    weight: float | None,
    balance: float | None,
    pdf: bool,
) -> _Told:
    from heliostat.reports import localization as localization_report

    found = localization_report.evaluate(
        scenario, active_antennas=antennas, weight=weight, balance=balance, overrides=overrides
    )
    localization_report.write(found, stage, pdf=pdf)
    return _Told(
        localization_report.tables(found),
        localization_report.notes(found),
        localization_report.document(found),
    )


def _run_sensing(
    scenario: "heliostat.scenario.SensingScenario",
    stage: Path,
    overrides: Mapping[str, str],
    method: Literal["direct", "sdr"],
    pdf: bool,
) -> _Told:
    from heliostat.reports import sensing as sensing_report

    with warnings.catch_warnings():  # of CVXPY; every design is checked before it is returned
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        found = sensing_report.evaluate(scenario, method=method, overrides=overrides)
    sensing_report.write(found, stage, pdf=pdf)
    return _Told(
        sensing_report.tables(found), sensing_report.notes(found), sensing_report.document(found)
    )


def map_command(
    scenario: ScenarioArgument,
    quantity: Annotated[
        Literal["peb", "reb", "rate", "position", "direction"] | None,
        typer.Option(
            help="Quantity of the map: peb, reb or rate for localization, default peb; position or "
            "direction bound for sensing, default position."
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
            help="Approximate number of points; default 40000 for localization, 10000 for one "
            "sensing design, 60 for a design at each point.",
        ),
    ] = None,
    antennas: AntennasOption = None,
    focus: Annotated[
        Literal["fixed", "user"] | None,
        typer.Option(
            help="Surface configuration: fixed, or steered at the user at each point; default "
            "fixed if the scenario gives a focus or phases, otherwise user.",
            rich_help_panel=LOCALIZATION,
        ),
    ] = None,
    design: Annotated[
        Literal["fixed", "each"] | None,
        typer.Option(
            help="Design for the scenario's target only, or a quick design (2 starts instead of 8) "
            "for each point; default fixed.",
            rich_help_panel=SENSING,
        ),
    ] = None,
    settings: SetOption = None,
) -> None:
    """Compute a bound or the rate over an area, as a picture and as data.

    Sensing scenarios: the bounds of a target at each point, at the height of the scenario's target.

    Example: heliostat map street-canyon --quantity peb --area -20,20,-10,20 --out map.png
    """
    from heliostat.scenario import load

    overrides = overrides_of(settings)
    loaded = load(scenario, overrides)
    rectangle = rectangle_of(area)
    if out.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"--out {out}: the name has to end in .png, .pdf or .svg.")
    with suppress(OSError):  # a path that cannot be examined is refused below
        if out.is_dir():
            raise UserError(f"--out {out}: is a folder; give the name of a picture in it.")
    if loaded.system == "sensing":
        refuse_of_other_system(loaded, antennas=antennas, focus=focus)
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
        refuse_of_other_system(loaded, design=design)
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
    area: "heliostat.maps.localization.Area | None",
    points: int,
    antennas: int | None,
) -> "heliostat.reports.tables.Table":
    """Compute a map, write picture and data, and return its quantiles."""
    with progress(delay=2.0) as tell:
        from heliostat.plots import localization as localization_plots
        from heliostat.reports import localization as localization_report
        from heliostat.reports import tables

        follow = localization_report.follows_user(scenario) if focus is None else focus == "user"
        if follow and not localization_report.is_steered(scenario):
            raise UserError(
                "--focus user: surface.phases or surface.bits of this scenario set the surface "
                "for one place; give --focus fixed."
            )
        count = available_antennas(antennas, scenario)
        found = localization_report.map_scenario(
            scenario,
            quantity,
            area=area,
            points=points,
            active_antennas=count,
            follow=follow,
            on_progress=lambda done, total: tell("map", done, total),
        )
    title = localization_report.map_title(scenario, quantity, count, follow)
    localization_plots.save_figure(
        localization_plots.map_figure(found, scenario.build(), title), file
    )
    data = localization_report.map_dataset(found, scenario, title, overrides)
    data.to_netcdf(file.with_suffix(".nc"), engine="h5netcdf")
    return tables.listed(title, localization_report.map_rows(found))


def _map_sensing(
    scenario: "heliostat.scenario.SensingScenario",
    file: Path,
    overrides: Mapping[str, str],
    quantity: Literal["position", "direction"],
    use: Literal["fixed", "each"],
    area: "heliostat.maps.localization.Area | None",
    points: int | None,
) -> "heliostat.reports.tables.Table":
    """Compute a map, write picture and data, and return its quantiles."""
    with waiting("Designing for the scenario's target"):
        from heliostat.plots import localization as localization_plots
        from heliostat.plots import sensing as sensing_plots
        from heliostat.reports import sensing as sensing_report
        from heliostat.reports import tables

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
    localization_plots.save_figure(figure, file)
    data = sensing_report.map_dataset(found, scenario, title, overrides)
    data.to_netcdf(file.with_suffix(".nc"), engine="h5netcdf")
    return tables.listed(title, sensing_report.map_rows(found, quantity))
