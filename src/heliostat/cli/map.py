"""The command ``map``: a bound or the rate over an area."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from heliostat.cli.console import UserError, progress, show, staged, waiting
from heliostat.cli.options import (
    LOCALIZATION,
    SENSING,
    AntennasOption,
    ScenarioArgument,
    SetOption,
    available_antennas,
    overrides_of,
    rectangle_of,
    refuse_of_other_system,
)

if TYPE_CHECKING:
    from heliostat.maps.area import Area
    from heliostat.maps.localization import Quantity
    from heliostat.maps.sensing import DesignUse, SensingQuantity
    from heliostat.reports.tables import Table
    from heliostat.scenario import LocalizationScenario, SensingScenario


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
        Path,
        typer.Option(help="Figure to write: .png, .pdf or .svg; the data are written to NAME.nc."),
    ] = Path("map.png"),
    area: Annotated[
        str | None,
        typer.Option(metavar="X0,X1,Y0,Y1", help="Area in metres; default around the scene."),
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
    """Map a bound or the rate over an area, as a figure and as data.

    Sensing scenarios: bounds for a target at each point, at the height of the scenario's target.

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
            raise UserError(f"--out {out}: is a folder; give the name of a file in it.")
    if loaded.system == "sensing":
        refuse_of_other_system(loaded, antennas=antennas, focus=focus)
        if quantity in ("peb", "reb", "rate"):
            raise UserError(
                f"--quantity {quantity}: is for localization scenarios, {loaded.name} describes "
                "sensing; give position or direction."
            )
        bound = cast("SensingQuantity", quantity or "position")
        use = design or "fixed"
        with staged(out.parent) as stage:
            file = stage / out.name
            table = _map_sensing(loaded, file, overrides, bound, use, rectangle, points)
    else:
        refuse_of_other_system(loaded, design=design)
        if quantity in ("position", "direction"):
            raise UserError(
                f"--quantity {quantity}: is for sensing scenarios, {loaded.name} describes "
                "localization; give peb, reb or rate."
            )
        shown = cast("Quantity", quantity or "peb")
        with staged(out.parent) as stage:
            file = stage / out.name
            table = _map_localization(
                loaded, file, overrides, shown, focus, rectangle, points, antennas
            )
    show(table)
    typer.echo(f"Wrote {out} and {out.with_suffix('.nc')}.")


def _map_localization(
    scenario: "LocalizationScenario",
    file: Path,
    overrides: Mapping[str, str],
    quantity: "Quantity",
    focus: Literal["fixed", "user"] | None,
    area: "Area | None",
    points: int | None,
    antennas: int | None,
) -> "Table":
    """Compute a map, write figure and data, and return its quantiles."""
    with progress(delay=2.0) as advance:
        from heliostat.api.localization import build
        from heliostat.maps import localization as localization_maps
        from heliostat.plots import localization as localization_plots
        from heliostat.plots import style
        from heliostat.reports import coverage, tables

        by_default = localization_maps.steers_by_default(scenario)
        follow = by_default if focus is None else focus == "user"
        if follow and not localization_maps.can_be_steered(scenario):
            raise UserError(
                "--focus user: surface.phases or surface.bits of this scenario fix the surface "
                "configuration; give --focus fixed."
            )
        count = available_antennas(antennas, scenario)
        scene, area = build(scenario), area or localization_maps.default_area(scenario)
        found = localization_maps.map_area(
            scene,
            *area.cells(points or localization_maps.POINTS),
            quantity,
            count,
            follow=follow,
            as_printed=scenario.model.as_printed,
            on_progress=lambda done, total: advance("map", done, total),
        )
    title = localization_maps.map_title(scenario, quantity, count, follow)
    style.save_figure(localization_plots.map_figure(found, scene, title), file)
    data = coverage.localization_dataset(found, scenario, title, overrides)
    data.to_netcdf(file.with_suffix(".nc"), engine="h5netcdf")
    return tables.listed(title, coverage.localization_rows(found))


def _map_sensing(
    scenario: "SensingScenario",
    file: Path,
    overrides: Mapping[str, str],
    quantity: "SensingQuantity",
    use: "DesignUse",
    area: "Area | None",
    points: int | None,
) -> "Table":
    """Compute a map, write figure and data, and return its quantiles."""
    with waiting("Designing for the scenario's target"):
        import jax.numpy as jnp

        from heliostat.maps import sensing as sensing_maps
        from heliostat.plots import sensing as sensing_plots
        from heliostat.plots import style
        from heliostat.reports import coverage, tables
        from heliostat.reports.export import patterned
        from heliostat.reports.sensing import designed

        design = designed(scenario) if use == "fixed" else None
    area = area or sensing_maps.default_area(scenario)
    x, y = area.cells(points or sensing_maps.POINTS[use])
    scene, dwell = scenario.build(), scenario.dwell
    with progress() as advance:

        def on_progress(done: int, total: int) -> None:
            advance("map", done, total)

        if design is None:
            found = sensing_maps.map_each(
                scene,
                x,
                y,
                patterns=dwell.patterns,
                min_snr=dwell.least_snr,
                on_progress=on_progress,
            )
        else:
            covariance, reflection = (tuple(map(jnp.asarray, p)) for p in patterned(design))
            found = sensing_maps.map_design(
                scene, covariance, reflection, x, y, on_progress=on_progress
            )
    title = sensing_maps.map_title(scenario, quantity, use)
    style.save_figure(sensing_plots.map_figure(found, quantity, scene, title), file)
    data = coverage.sensing_dataset(found, scenario, title, overrides)
    data.to_netcdf(file.with_suffix(".nc"), engine="h5netcdf")
    return tables.listed(title, coverage.sensing_rows(found, quantity))
