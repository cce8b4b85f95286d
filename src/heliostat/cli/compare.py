"""The command ``compare``: several scenarios, or several changes of one, side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heliostat.cli.console import UserError, present, staged, waiting
from heliostat.cli.options import PdfOption, overrides_of, polygon_or_rectangle_of

if TYPE_CHECKING:
    from heliostat.scenario import AnyScenario


def compare(
    scenarios: Annotated[
        list[str], typer.Argument(help="YAML files, or names that 'heliostat list' shows.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="With one scenario: a variant, with its keys separated by semicolons, e.g. "
            "'surface.rows=16; surface.columns=16'. With several scenarios: an override for all of "
            "them. Repeatable.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Output folder; default results/compare.")
    ] = None,
    quantity: Annotated[
        Literal["peb", "reb", "rate", "snr", "position", "direction", "crb"] | None,
        typer.Option(help="Quantity of the maps, as for 'heliostat map', except cause."),
    ] = None,
    area: Annotated[
        str | None,
        typer.Option(
            metavar="X0,X1,Y0,Y1",
            help="Area of the maps in meters; default around the first scene.",
        ),
    ] = None,
    points: Annotated[
        int | None, typer.Option(min=1, max=10**6, help="Approximate number of points of each map.")
    ] = None,
    pdf: PdfOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Evaluate several scenarios and write tables, distributions and difference maps.

    With one scenario, each --set gives a variant; a single variant is compared with the scenario.

    Example: heliostat compare street-canyon --set surface.bits=1 --set surface.bits=2
    """
    compared = _variants(scenarios, settings or [])
    systems = {scenario.system for scenario in compared.values()}
    if len(systems) > 1:
        kinds = ", ".join(f"{name} is {scenario.system}" for name, scenario in compared.items())
        raise UserError(f"compare: all scenarios must describe one system; {kinds}.")
    folder, where = out or Path("results") / "compare", polygon_or_rectangle_of(area)
    from heliostat.api.map_quantities import QUANTITIES

    (system,) = systems
    if quantity is not None and QUANTITIES[quantity].system != system:
        raise UserError(f"--quantity {quantity}: is not for {system} scenarios; leave it out.")
    with staged(folder) as stage, waiting("Evaluating all scenarios"):
        from heliostat.reports.comparison import comparison_report

        report = comparison_report(compared, quantity=quantity, area=where, points=points)
        report.write(stage, pdf=pdf)
    present(report, folder, as_json)


def _variants(names: list[str], settings: list[str]) -> "dict[str, AnyScenario]":
    """Scenarios to compare, by name."""
    from heliostat.scenario import load

    each = [overrides_of([part.strip() for part in text.split(";")]) for text in settings]
    if len(names) > 1:
        together = {key: value for overrides in each for key, value in overrides.items()}
        found = [load(name, together) for name in names]
        labels = [scenario.name for scenario in found]
        if len(set(labels)) < len(labels):
            labels = names
        if len(set(labels)) < len(labels):
            raise UserError("compare: a scenario is given twice; leave one of them out.")
        return dict(zip(labels, found, strict=True))
    if not each:
        raise UserError("compare: give two scenarios or more, or changes with --set.")
    base = load(names[0])
    variants = {
        text: base.updated(overrides) for text, overrides in zip(settings, each, strict=True)
    }
    if len(variants) < len(settings):
        raise UserError("--set: a variant is given twice; leave one of them out.")
    return variants if len(variants) > 1 else {base.name: base, **variants}
