"""The command ``run``: bounds, designs, figures, data and report of one scenario."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from heliostat.cli.console import UserError, show, staged, waiting
from heliostat.cli.options import (
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
    refuse_of_other_system,
)

if TYPE_CHECKING:
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
    """Evaluate a scenario and write figures, data and a report.

    Localization scenarios: bounds, rate and the best allocation of the period.

    Sensing scenarios: transmit and reflective beamforming designed for the target, with bounds and
    powers.

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
    with staged(folder) as stage, waiting("Computing bounds, designs and figures"):
        if loaded.system == "sensing":
            results = _run_sensing(loaded, stage, overrides, method or "direct", pdf)
        else:
            count = available_antennas(antennas, loaded)
            results = _run_localization(loaded, stage, overrides, count, weight, balance, pdf)
    if as_json:
        document = results.document | {"folder": str(folder)}
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    for table in results.tables:
        show(table)
    for note in results.notes:
        typer.echo(f"Note: {note}")
    typer.echo(f"Wrote {folder / 'report.html'}, figures and data.")


class _Results(NamedTuple):
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
) -> _Results:
    from heliostat.reports import localization as localization_report

    found = localization_report.evaluate(
        scenario, active_antennas=antennas, weight=weight, balance=balance, overrides=overrides
    )
    localization_report.write(found, stage, pdf=pdf)
    return _Results(
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
) -> _Results:
    from heliostat.reports import sensing as sensing_report

    with warnings.catch_warnings():  # CVXPY's; every design is checked anyway
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        found = sensing_report.evaluate(scenario, method=method, overrides=overrides)
    sensing_report.write(found, stage, pdf=pdf)
    return _Results(
        sensing_report.tables(found), sensing_report.notes(found), sensing_report.document(found)
    )
