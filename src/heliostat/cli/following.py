"""The command that follows a user over many periods."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heliostat.cli.options import (
    BalanceOption,
    ScenarioArgument,
    SetOption,
    WeightOption,
    check_weighing,
    length_of,
    overrides_of,
)
from heliostat.console import (
    UserError,
    show,
    staged,
    waiting,
)

if TYPE_CHECKING:
    pass


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
    from heliostat.scenario import load

    overrides = overrides_of(settings)
    loaded = load(scenario, overrides)
    if loaded.system != "localization":
        raise UserError(
            f"{loaded.name}: describes {loaded.system}; track is for localization scenarios."
        )
    check_weighing(weight, balance)
    if walk is not None and mobility is not None:
        raise UserError("--track and --mobility: both are given; leave one out.")
    radius = None if mobility is None else length_of("--mobility", mobility)
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
