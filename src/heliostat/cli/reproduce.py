"""The command ``reproduce``: the papers' figures and verdicts on their claims."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from heliostat.cli.console import UserError, print_table, progress, staged

WORDS = {True: "yes", False: "no", None: "undecided"}
"""Words for whether a claim holds."""


def reproduce(
    system: Annotated[
        Literal["localization", "sensing", "estimators"],
        typer.Argument(help="The paper's system, or the estimators of both."),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Figures, e.g. fig4, for sensing also patterns and scaling, for estimators also "
            "dwells and calibration; default every figure of the paper, or of the estimators."
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            "--draws",
            min=1,
            help="Trials at each point (channel draws for sensing); more trials give narrower "
            "confidence bands; default as defined by each study.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Seed of the random numbers.")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Output folder; default results/SYSTEM.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Compute the figures of a paper and check its claims about them.

    Example: heliostat reproduce sensing fig2 --draws 10
    """
    from heliostat import studies
    from heliostat.batch.workers import local_workers

    known = studies.NAMES[system]
    for name in names or []:
        if name not in known:
            raise UserError(f"{name}: is no figure of {system}; give some of {', '.join(known)}.")
    names = names or studies.default_names(system)
    folder = out or Path("results") / system
    with staged(folder):  # refuses a folder that cannot be written, before anything is computed
        pass
    verdicts = []
    with progress() as tell, local_workers() as engine:
        from heliostat.studies.reproduce import reproduce as compute

        for name in names:  # each is in place as soon as it is done
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
        typer.echo(json.dumps([asdict(verdict) for verdict in verdicts], indent=2))
        return
    rows = [(v.figure, v.claim, WORDS[v.holds], v.finding) for v in verdicts]
    print_table("Verdicts", ["figure", "claim", "holds", "finding"], rows)
    typer.echo(f"Wrote data, pictures and verdicts to {folder}.")
