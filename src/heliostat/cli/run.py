"""The command ``run``: bounds, designs, figures, data and report of one scenario."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from heliostat.cli.console import UserError, present, staged, waiting
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
            help="Design method: direct, or sdr (the paper's semidefinite relaxation, slow); "
            "default direct.",
            rich_help_panel=SENSING,
        ),
    ] = None,
    thorough: Annotated[
        bool,
        typer.Option(
            "--thorough",
            help="Compute the best lower bound on any design; 6 s for two surfaces of 16 elements, "
            "up to two minutes for 256.",
            rich_help_panel=SENSING,
        ),
    ] = False,
    pdf: PdfOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Evaluate a scenario and write figures, data and a report.

    Localization scenarios: error bounds, data rate and the best division into pilots and data.

    Sensing scenarios: transmit and reflective beamforming for the target, bounds and powers.

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
        refuse_of_other_system(loaded, method=method, thorough=thorough or None)
        check_weighing(weight, balance)
        antennas = available_antennas(antennas, loaded)
    folder = out or Path("results") / loaded.name
    with staged(folder) as stage, waiting("Computing bounds, designs and figures"):
        from heliostat.reports.run import report

        found = report(
            loaded,
            stage,
            active_antennas=antennas,
            weight=weight,
            balance=balance,
            method=method or "direct",
            thorough=thorough,
            pdf=pdf,
            overrides=overrides,
        )
    present(found, folder, as_json)
