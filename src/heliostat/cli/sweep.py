"""The command ``heliostat sweep``: run a study of any size."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heliostat.cli.console import UserError, print_table, staged, waiting
from heliostat.cli.progress import duration, event, event_of, progress_display, summary
from heliostat.interruption import on_interruption, write_line

if TYPE_CHECKING:
    from heliostat.batch.run import Progress
    from heliostat.batch.store import Store
    from heliostat.batch.study_file import Plan
    from heliostat.studies.engine import Engine

CLUSTER = "Options for an existing Dask cluster"


def sweep(
    study: Annotated[
        str,
        typer.Argument(help="A YAML file, or a packaged study, e.g. sensing/fig2."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; default results/NAME.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10**7,
            help="Trials per point; default that of the study. Trials beyond the stored ones are "
            "added.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**63 - 1, help="Seed of all random draws; default that of the study."
        ),
    ] = None,
    engine: Annotated[
        Literal["serial", "processes", "dask"] | None,
        typer.Option(
            help="Where trials run: in this process, in one process per core, or on a Dask cluster "
            "on this machine; default processes."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Number of processes; default one per core.")
    ] = None,
    chunk: Annotated[
        int | None,
        typer.Option(min=1, help="Trials per stored block; default about one second of work."),
    ] = None,
    stored: Annotated[
        bool,
        typer.Option(
            "--stored", help="Compute nothing; print the progress and write the results so far."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only estimate the time and the size of the results.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first failure.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete the results in the folder first.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Also write a CSV table.")] = False,
    mat: Annotated[bool, typer.Option("--mat", help="Also write a MATLAB file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as lines of JSON.")] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Address, e.g. tcp://host:8786.", rich_help_panel=CLUSTER
        ),
    ] = None,
    tls_ca: Annotated[
        Path | None,
        typer.Option(help="Certificate authority for a tls:// address.", rich_help_panel=CLUSTER),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate of this client.", rich_help_panel=CLUSTER)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Private key of this client.", rich_help_panel=CLUSTER)
    ] = None,
) -> None:
    """Run a study of any size; after an interruption, the same command continues it.

    Example: heliostat sweep examples/power-and-size.yaml --dry-run
    """
    with waiting("Reading the study"):
        from heliostat.batch.run import results_are_current, stored_dataset, write_results
        from heliostat.batch.store import StoreError
        from heliostat.batch.workers import usable_cores
        from heliostat.studies.engine import EngineError

        plan = _plan(study, trials, seed)
    kind = engine or ("dask" if scheduler else "processes")
    _check_engine(kind, workers, scheduler, (tls_ca, tls_cert, tls_key))
    count = 1 if kind == "serial" else workers or usable_cores()
    if dry_run:
        _print_estimate(plan, count, chunk)
        return
    folder = out or Path("results") / plan.study.name
    try:
        with (
            _open(folder, plan, chunk, count, fresh) as store,
            _engine(
                "none" if stored else kind, workers, scheduler, (tls_ca, tls_cert, tls_key)
            ) as compute,
        ):
            for note in plan.notes:
                typer.echo(f"Note: {note}", err=True)
            _note_versions(store)
            progress = _run(store, plan, compute, folder, strict, as_json)
            if csv or mat or not results_are_current(store, plan, folder):
                dataset = stored_dataset(store, plan)
                with staged(folder) as stage:
                    write_results(dataset, plan, stage, csv=csv, mat=mat)
    except (StoreError, EngineError) as error:
        if as_json:
            typer.echo(json.dumps({"event": "error", "message": str(error)}))
        if isinstance(error, StoreError):
            raise UserError(str(error)) from None
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    _print_end(progress, plan, folder, as_json)


def _plan(name: str, trials: int | None, seed: int | None) -> "Plan":
    from heliostat import studies
    from heliostat.batch.study_file import Plan, read_study

    system, _, figure = name.partition("/")
    if figure in studies.NAMES.get(system, []) and not Path(name).exists():
        plan = Plan(name, studies.find(name).trials, 0)
    else:
        plan = read_study(name)
    return replace(plan, trials=trials or plan.trials, seed=plan.seed if seed is None else seed)


def _check_engine(
    kind: str, workers: int | None, scheduler: str | None, tls: tuple[Path | None, ...]
) -> None:
    """Refuse contradictory options."""
    if scheduler is not None and kind != "dask":
        raise UserError(
            f"--scheduler {scheduler}: is for --engine dask only; leave one of them out."
        )
    if scheduler is not None and workers is not None:
        raise UserError(f"--workers {workers}: the scheduler has its own workers; leave it out.")
    if kind == "serial" and workers is not None:
        raise UserError(f"--workers {workers}: --engine serial has none; leave one of them out.")
    if any(tls) and scheduler is None:
        raise UserError(
            "--tls-ca, --tls-cert and --tls-key: are for --scheduler only; leave them out."
        )
    for option, file in zip(("ca", "cert", "key"), tls, strict=True):
        if file is not None and not file.is_file():
            raise UserError(f"--tls-{option} {file}: no such file; give an existing one.")


@contextmanager
def _engine(
    kind: str, workers: int | None, scheduler: str | None, tls: tuple[Path | None, ...]
) -> "Iterator[Engine]":
    """Provide the engine of the given kind."""
    from heliostat.batch.workers import local_workers
    from heliostat.studies.engine import serial

    if kind == "none":
        yield lambda function, tasks: iter(())
    elif kind == "serial":
        yield serial
    elif kind == "processes":
        with local_workers(workers) as engine:
            yield engine
    else:
        try:
            from distributed import Security

            from heliostat.batch.dask import existing_cluster, local_cluster
        except ImportError:
            raise UserError(
                "--engine dask: needs Dask, which is not installed; install heliostat[cluster]."
            ) from None
        if scheduler is None:
            with local_cluster(workers) as cluster:
                yield cluster
            return
        ca, cert, key = (None if file is None else str(file) for file in tls)
        security = Security(
            tls_ca_file=ca,
            tls_client_cert=cert,
            tls_client_key=key,
            require_encryption=bool(ca or cert or key),
        )
        with existing_cluster(scheduler, security) as cluster:
            yield cluster


@contextmanager
def _open(
    folder: Path, plan: "Plan", chunk: int | None, workers: int, fresh: bool
) -> "Iterator[Store]":
    """Open the store, with a suggested chunk if it is new."""
    from heliostat.batch.run import suggested_chunk, time_trials
    from heliostat.batch.store import open_store

    def choose() -> int:
        if chunk is not None:
            return min(chunk, plan.trials)
        if plan.trials == 1:
            return 1
        with waiting("Timing a trial"):
            return suggested_chunk(plan, time_trials(plan, points=1).trial, workers)

    with open_store(
        folder, plan.study, plan.identity(), trials=plan.trials, chunk=choose, fresh=fresh
    ) as store:
        if chunk is not None and store.chunk != min(chunk, plan.trials):
            raise UserError(
                f"--chunk {chunk}: {folder} was begun with {store.chunk}; leave it out, give "
                "another --out, or --fresh to delete its results."
            )
        yield store


def _run(
    store: "Store", plan: "Plan", engine: "Engine", folder: Path, strict: bool, as_json: bool
) -> "Progress":
    """Compute what is missing; if interrupted, say how to continue."""
    from heliostat.batch.run import run_blocks

    latest: Progress | None = None
    with progress_display(plan.study.name, as_json) as show:

        def on_progress(progress: "Progress") -> None:
            nonlocal latest
            if latest is None:
                if as_json:
                    event("begin", progress, study=plan.study.name, folder=str(folder))
                elif progress.damaged:
                    typer.echo(
                        f"Note: {progress.damaged} chunks are damaged and are computed again.",
                        err=True,
                    )
            latest = progress
            show(progress)

        def on_stop() -> None:  # Ctrl-C, or the end of a batch job's time
            if latest is not None:
                if as_json:
                    write_line(1, json.dumps(event_of("stopped", latest), allow_nan=False))
                write_line(
                    2,
                    f"{latest.trials_done} of {latest.trials} trials are stored in {folder}; the "
                    "same command continues from there.",
                )

        with on_interruption(on_stop):
            return run_blocks(store, plan, engine, strict=strict, on_progress=on_progress)


def _note_versions(store: "Store") -> None:
    """Note on the terminal if runs used different versions."""
    runs = store.attributes["runs"]
    versions = {f"{run['heliostat_version']} ({run['commit']})": None for run in runs}
    if len(versions) > 1:
        typer.echo(
            f"Note: computed by heliostat {' and '.join(versions)}; --fresh recomputes all trials.",
            err=True,
        )


def _print_estimate(plan: "Plan", workers: int, chunk: int | None) -> None:
    """Print the estimated time and size of a study."""
    from heliostat.batch.run import suggested_chunk, time_trials

    with waiting("Timing a few trials"):
        timing = time_trials(plan)
    study = plan.study
    seconds = plan.total * timing.trial / workers + timing.compilation
    chunk = min(chunk or suggested_chunk(plan, timing.trial, workers), plan.trials)
    blocks = len(study.grid) * math.ceil(plan.trials / chunk)
    rows = [
        ("axes", ", ".join(f"{name} ({len(values)})" for name, values in study.axes.items())),
        ("points", str(len(study.grid))),
        ("trials per point", str(plan.trials)),
        ("outputs", ", ".join(f"{n} [{q.unit}]" for n, q in study.outputs.items())),
        ("one trial", f"{duration(timing.trial)}, mean of {timing.points} points"),
        ("compilation", f"{duration(timing.compilation)} at these points, in each process"),
        ("total time", f"about {duration(seconds)} with {workers} at once"),
        ("chunks", f"{blocks} of up to {chunk} trials"),
        ("size", f"{plan.bytes_stored / 1e6:.3g} MB before compression"),
    ]
    print_table(f"{study.title}: estimate, nothing computed", [], rows)


def _print_end(progress: "Progress", plan: "Plan", folder: Path, as_json: bool) -> None:
    """Print the end of a run; exit with code 1 if results are missing."""
    if as_json:
        event(
            "end", progress, lost=list(progress.lost), stopped=progress.stopped, folder=str(folder)
        )
    else:
        done = not progress.computed and not progress.missing
        typer.echo("Nothing to do: all trials are stored." if done else summary(progress))
        if progress.failures:
            typer.echo(
                f"{progress.failures} trials lack at least one result; the variable remark gives "
                "the reasons."
            )
        for reason in progress.lost:
            typer.echo(f"Missing: {reason}.")
        written = "Data and store" if progress.missing else "Data, figure and store"
        typer.echo(f"{written}: {folder}.")
    if progress.stopped:
        typer.echo(f"--strict: stopped at the first failure: {progress.stopped}", err=True)
    if progress.missing and not progress.stopped:
        typer.echo(
            f"{progress.missing} of {progress.trials} trials are missing; the same command tries "
            "them again.",
            err=True,
        )
    if progress.trials_done and progress.failures == progress.trials_done:
        typer.echo("No trial has all results.", err=True)
    if progress.missing or progress.stopped or progress.failures == progress.trials:
        raise typer.Exit(1)
