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

PERIODS = 50
"""Default number of periods without a recorded track."""
MAX_DWELLS = 12
"""Default maximum number of dwells."""


def track(
    scenario: ScenarioArgument,
    walk: Annotated[
        Path | None,
        typer.Option(
            "--track",
            metavar="FILE.csv",
            help="Position of the user in each period: columns x and y in meters and optionally "
            "heading_deg.",
            rich_help_panel=LOCALIZATION,
        ),
    ] = None,
    periods: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help=f"Number of periods; default {PERIODS}, or the length of the track.",
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
    assumed_errors: Annotated[
        bool,
        typer.Option(
            "--assumed-errors",
            help="Use the true pose plus random errors of the sizes in the scenario's section "
            "errors, as in the paper, instead of estimates from pilots.",
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
            help='Standard deviation of the position at which the search stops, e.g. "0.2 m"; 0 m '
            "to use all dwells; default the bound of one dwell designed for the true position.",
            rich_help_panel=SENSING,
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="X0,X1,Y0,Y1,Z0,Z1",
            help="Box to search, in meters; default a box in front of the surfaces, whose size is "
            "their distance to the base station.",
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

    Localization scenarios: the surfaces and the time allocation follow simulated estimates.

    Sensing scenarios: scan a region, estimate the position, and design for the estimate.

    Example: heliostat track localization-table-1 --periods 50 --mobility "7 m"

    Example: heliostat track street-crossing --track examples/walk-round-the-corner.csv

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
            from heliostat.api.tracking import TrackError, read_track, run_protocol
            from heliostat.protocol.next_period import TradeOffObjective
            from heliostat.reports.tracking import Track, tracking_report

            try:
                recorded = None if walk is None else read_track(walk)
                run = run_protocol(
                    loaded,
                    periods or (PERIODS if recorded is None else len(recorded)),
                    mobility=radius,
                    track=recorded,
                    weight=weight,
                    balance=balance,
                    assumed_errors=assumed_errors,
                )
            except TrackError as error:
                raise UserError(str(error)) from None
            motion = walk or (loaded.errors.mobility if radius is None else radius)
            objective = TradeOffObjective(weight, balance)
            tracked = Track(loaded, run, objective, motion, assumed_errors, overrides)
            report = tracking_report(tracked)
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
        **({"assumed-errors": assumed_errors} if assumed_errors else {}),
    )
    goal = None if accuracy is None else length_of("--accuracy", accuracy)
    box = box_of(region)
    with staged(folder) as stage, waiting("Searching for the target"):
        from heliostat.api.target_search import SearchError, find_target
        from heliostat.reports.target_search import Search, target_search_report

        most = dwells or MAX_DWELLS
        try:
            found = find_target(loaded, most, accuracy=goal, region=box)
        except SearchError as error:
            raise UserError(str(error)) from None
        report = target_search_report(Search(loaded, overrides, most, found))
        report.write(stage, pdf=pdf)
    present(report, folder, as_json)
