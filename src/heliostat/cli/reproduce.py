"""The command that reproduces the papers' figures."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from heliostat.cli.console import UserError, print_table, progress, staged


def reproduce(
    system: Annotated[
        Literal["localization", "sensing", "estimators", "sites"],
        typer.Argument(
            help="localization or sensing: the figures of that paper. estimators: studies of the "
            "estimators of both systems. sites: studies of several paths and of the near field."
        ),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Studies, such as fig4; 'heliostat list' shows their names. Default: all figures "
            "of the paper, all studies of sites, or those of estimators except dwells and "
            "calibration."
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            "--draws",
            min=1,
            help="Number of trials at each point (for sensing: draws of the channels). More "
            "trials give narrower confidence intervals. Default: that of each study.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Seed of the random numbers.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Output folder. Default: results/SYSTEM.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Compute the figures of a paper and check its claims about them against the data.

    The verdict is undecided if the 95 % confidence interval contains the threshold of the claim.

    Example: heliostat reproduce sensing fig2 --draws 10
    """
    from heliostat import studies
    from heliostat.batch.workers import local_workers

    known = studies.NAMES[system]
    for name in names or []:
        if name not in known:
            raise UserError(f"{name} is not a figure of {system}; choose from {', '.join(known)}.")
    names = names or studies.default_names(system)
    folder = out or Path("results") / system
    with staged(folder):  # reports a folder that cannot be written before anything is computed
        pass
    verdicts = []
    with progress() as tell, local_workers() as engine:
        from heliostat.studies.reproduce import reproduce as compute

        for name in names:  # the results of each are written as soon as it is finished
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
        typer.echo(json.dumps([verdict.record() for verdict in verdicts], indent=2))
        return
    rows = [(v.figure, v.claim, v.answer, v.finding) for v in verdicts]
    print_table("Verdicts", ["figure", "claim", "holds", "measured"], rows)
    typer.echo(f"Wrote data, pictures and verdicts to {folder}.")
