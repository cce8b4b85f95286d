"""The command ``track``: tracking of a user over many periods, or search for a target."""

from pathlib import Path
from typing import Annotated

import typer

from heliostat.cli.console import UserError, present, staged, waiting
from heliostat.cli.options import (
    LOCALIZATION,
    SENSING,
    BalanceOption,
    PdfOption,
    ScenarioArgument,
    SetOption,
    WeightOption,
    box_of,
    check_weighing,
    length_of,
    overrides_of,
    refuse_of_other_system,
)

MAX_DWELLS = 12
"""Default maximum number of dwells."""


def track(
    scenario: ScenarioArgument,
    walk: Annotated[
        Path | None,
        typer.Option(
            "--track",
            metavar="FILE.csv",
            help="Position of the user in each period: columns x and y in metres and optionally "
            "heading_deg.",
            rich_help_panel=LOCALIZATION,
        ),
    ] = None,
    periods: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="Number of periods; default 50, or the length of the track.",
            rich_help_panel=LOCALIZATION,
        ),
    ] = None,
    mobility: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help='Largest step of the user in each period without a track, e.g. "7 m"; default '
            "the scenario's errors.mobility.",
            rich_help_panel=LOCALIZATION,
        ),
    ] = None,
    weight: WeightOption = None,
    balance: BalanceOption = None,
    invented_errors: Annotated[
        bool,
        typer.Option(
            "--invented-errors",
            help="Replace the estimates by the true pose with the scenario's errors.",
            rich_help_panel=LOCALIZATION,
        ),
    ] = False,
    dwells: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help=f"Maximum number of dwells; default {MAX_DWELLS}.",
            rich_help_panel=SENSING,
        ),
    ] = None,
    accuracy: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help='Position standard deviation to stop at, e.g. "0.2 m"; 0 m for all dwells; '
            "default the bound of one dwell designed for the target's true position.",
            rich_help_panel=SENSING,
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="X0,X1,Y0,Y1,Z0,Z1",
            help="Box to search, in metres; default a box in front of the surfaces, as large "
            "as their distance to the base station.",
            rich_help_panel=SENSING,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Output folder; default results/NAME-track."),
    ] = None,
    settings: SetOption = None,
    pdf: PdfOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Track a user over many periods, or search for a target over many dwells.

    Localization scenarios: in each period pilots, estimate, data and the next time allocation. The
    surface is steered by the estimates, and periods in which the user is lost are counted.

    Sensing scenarios: scan, estimate, and design for the estimate until the position is known well
    enough. The bounds are compared with those of a known target.

    Example: heliostat track localization-table-1 --periods 50 --mobility "7 m"

    Example: heliostat track sensing-two-surfaces --region 0,14,8,22,-2,4
    """
    from heliostat.scenario import load

    overrides = overrides_of(settings)
    loaded = load(scenario, overrides)
    folder = out or Path("results") / f"{loaded.name}-track"
    if loaded.system == "localization":
        refuse_of_other_system(loaded, dwells=dwells, accuracy=accuracy, region=region)
        check_weighing(weight, balance)
        if walk is not None and mobility is not None:
            raise UserError("--track and --mobility: both are given; leave one out.")
        radius = None if mobility is None else length_of("--mobility", mobility)
        with staged(folder) as stage, waiting("Tracking the user"):
            from heliostat.api.tracking import TrackError
            from heliostat.protocol.tracking import TradeOffObjective
            from heliostat.reports import tracking

            try:
                tracked = tracking.run_track(
                    loaded,
                    tracking.Walk(periods, walk, radius),
                    TradeOffObjective(weight, balance),
                    invented_errors=invented_errors,
                    overrides=overrides,
                )
            except TrackError as error:
                raise UserError(str(error)) from None
            report = tracking.tracking_report(tracked)
            report.write(stage, pdf=pdf)
        present(report, folder, as_json)
        return
    refuse_of_other_system(
        loaded,
        track=walk,
        periods=periods,
        mobility=mobility,
        weight=weight,
        balance=balance,
        **({"invented-errors": invented_errors} if invented_errors else {}),
    )
    goal = None if accuracy is None else length_of("--accuracy", accuracy)
    box = box_of(region)
    with staged(folder) as stage, waiting("Searching for the target"):
        from heliostat.api.target_search import SearchError
        from heliostat.reports import target_search

        try:
            found = target_search.search(
                loaded, dwells or MAX_DWELLS, accuracy=goal, region=box, overrides=overrides
            )
        except SearchError as error:
            raise UserError(str(error)) from None
        report = target_search.target_search_report(found)
        report.write(stage, pdf=pdf)
    present(report, folder, as_json)
