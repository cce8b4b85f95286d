"""The command ``map``: a bound, the rate or the SNR over an area or at listed positions."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from heliostat.cli.console import UserError, progress, show, staged
from heliostat.cli.options import (
    AntennasOption,
    ScenarioArgument,
    SetOption,
    available_antennas,
    overrides_of,
    refuse_folder,
    refuse_of_other_system,
)
from heliostat.cli.positions import positions_of

if TYPE_CHECKING:
    from heliostat.scenario import AnyScenario


def map_command(
    scenario: ScenarioArgument,
    quantity: Annotated[
        Literal["peb", "reb", "rate", "snr", "cause", "position", "direction", "crb"] | None,
        typer.Option(
            help="Localization: peb or reb (position or heading error bound), rate, snr "
            "(signal-to-noise ratio), or cause (the paths that reach each point); default peb. "
            "Sensing: position or direction (error bounds), or crb (Cramér-Rao bound); default "
            "position."
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Figure to write: .png, .pdf or .svg; the data are written beside it as .nc, .csv "
            "and .geojson."
        ),
    ] = Path("map.png"),
    area: Annotated[
        str | None,
        typer.Option(
            metavar="X0,X1,Y0,Y1",
            help="Rectangle in meters, or corners of a polygon as X,Y X,Y X,Y; default around the "
            "scene.",
        ),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10**7,
            help="Approximate number of points. Default: 40000 for localization, 10000 with "
            "quantized phases or spherical waves; for sensing 10000, 150 with a design for each "
            "point.",
        ),
    ] = None,
    points_file: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with positions, instead of an area. Columns named in the first line: x "
            "and y in meters; optionally z in meters, name, and heading in degrees."
        ),
    ] = None,
    at: Annotated[
        Literal["users"] | None,
        typer.Option(
            help="users: at the users of a localization scenario, each with its own heading and "
            "array, instead of an area."
        ),
    ] = None,
    below: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE",
            help="Threshold, e.g. '10 cm': print the share of the served area with smaller values "
            "and draw its contour.",
        ),
    ] = None,
    steering: Annotated[
        Literal["each point", "fixed"] | None,
        typer.Option(
            help="each point: surface steered to each point; for sensing a design for each point, "
            "about 0.1 s. fixed: configuration of the scenario. Default: each point for "
            "localization with designed phases and without a focus, otherwise fixed."
        ),
    ] = None,
    antennas: AntennasOption = None,
    settings: SetOption = None,
) -> None:
    """Map an error bound, the rate or the signal-to-noise ratio over an area.

    Points are at the height of the scenario's user or target.

    Example: heliostat map street-canyon --below "10 cm" --area -20,20,-10,20 --out map.png
    """
    from heliostat.scenario import load

    loaded = load(scenario, overrides_of(settings))
    if out.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"--out {out}: the name has to end in .png, .pdf or .svg.")
    refuse_folder(out)
    if points_file is not None:
        written = [out.with_suffix(suffix) for suffix in (".nc", ".csv", ".geojson")]
        if points_file.resolve() in [path.resolve() for path in written]:
            raise UserError(f"--out {out}: the data would replace {points_file}; use another.")
    where = positions_of(area, points, at, points_file)
    if loaded.system == "sensing":
        refuse_of_other_system(loaded, antennas=antennas, at=at)
        if "headings" in where:
            raise UserError(f"--points-file {points_file}: a target has no heading; leave it out.")
    else:
        where["active_antennas"] = available_antennas(antennas, loaded)
    with staged(out.parent) as stage:
        table = _map(loaded, stage / out.name, quantity, steering, below, where)
    for note in loaded.notes:
        typer.echo(f"Note: {note}")
    _show(table, loaded.system)
    typer.echo(f"Wrote {out}, and the data as .nc, .csv and .geojson.")


def _show(table: Any, system: str) -> None:
    """Print the table of a map, or why it has no lines."""
    show(table)
    if not table.lines:
        reason = "no path reaches any of the positions"
        if system == "sensing":
            reason = "none of the positions is in front of enough surfaces"
        typer.echo(f"Note: No bound exists in this area: {reason}.")


def _map(
    scenario: "AnyScenario",
    file: Path,
    quantity: str | None,
    steering: Literal["each point", "fixed"] | None,
    below: str | None,
    where: dict[str, Any],
) -> Any:
    """Compute a map, write figure and data, and return its table."""
    from heliostat.api.map_quantities import QUANTITIES

    if quantity is not None and QUANTITIES[quantity].system != scenario.system:
        own = [name for name, entry in QUANTITIES.items() if entry.system == scenario.system]
        raise UserError(
            f"--quantity {quantity}: is for {QUANTITIES[quantity].system} scenarios, "
            f"{scenario.name} describes {scenario.system}; give {', '.join(own[:-1])} or {own[-1]}."
        )
    default = "peb" if scenario.system == "localization" else "position"
    threshold = _threshold(below, QUANTITIES[quantity or default].unit)
    with progress(delay=2.0) as advance:
        from heliostat.api.coverage import coverage
        from heliostat.plots.coverage import coverage_figure
        from heliostat.plots.style import save_figure
        from heliostat.reports import coverage as report
        from heliostat.reports import tables

        try:
            data = coverage(
                scenario,
                quantity,
                steering=steering,
                on_progress=lambda done, total: advance("map", done, total),
                **where,
            )
        except ValueError as error:
            if steering == "each point" and "steering" in str(error):
                raise UserError(f"--steering: {error}") from None
            raise
    save_figure(coverage_figure(data, below=threshold), file)
    tables.write_dataset(data, file.with_suffix(".nc"))
    report.write_csv(data, file.with_suffix(".csv"))
    report.write_geojson(data, file.with_suffix(".geojson"))
    return tables.listed(data.attrs["title"], report.rows(data, threshold))


def _threshold(text: str | None, unit: str) -> float | None:
    """The threshold of --below in the SI unit of the quantity."""
    if text is None:
        return None
    from heliostat.units import parse_quantity

    dimensions = {"m": "length", "rad": "angle", "1": "ratio", "bit/s": "rate"}
    try:
        if unit in dimensions:
            value = parse_quantity(text, dimensions[unit])
        else:
            value = float(text.removesuffix("rad²").removesuffix("rad2"))
    except ValueError as error:
        given = error if unit in dimensions else "it is not a number of rad2; write e.g. 1e-4 rad2"
        raise UserError(f"--below {text}: {given}.") from None
    if not 0 < value < math.inf:
        raise UserError(f"--below {text}: is not more than zero, or infinite; give another value.")
    return value
