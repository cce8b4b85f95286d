"""The command ``sweep``: studies of any size, which can be stopped and continued."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heliostat.cli.console import UserError, print_table, staged, waiting
from heliostat.cli.progress import duration, event, event_of, told, watching
from heliostat.interruption import on_interruption, write_line

if TYPE_CHECKING:
    from heliostat.batch.run import Plan, Tally
    from heliostat.batch.store import Store
    from heliostat.studies.engine import Engine

CLUSTER = "Options for an existing Dask cluster"


def sweep(
    study: Annotated[
        str,
        typer.Argument(
            help="A YAML file, or a study that comes with heliostat, e.g. sensing/fig2."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study; default results/NAME.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10**7,
            help="Trials at each point; default as in the study. More trials than are stored are "
            "added to them.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**63 - 1, help="Seed of the random numbers; default as in the study."
        ),
    ] = None,
    engine: Annotated[
        Literal["serial", "processes", "dask"] | None,
        typer.Option(
            help="Execution: one point after the other, on all cores, or on a Dask cluster of this "
            "machine; default processes."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Number of processes; default one per core.")
    ] = None,
    chunk: Annotated[
        int | None,
        typer.Option(
            min=1, help="Trials computed and stored together; default about one second of work."
        ),
    ] = None,
    stored: Annotated[
        bool,
        typer.Option(
            "--stored", help="Compute nothing: show the progress and write the stored results."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the size of the study and the estimated time.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first failure.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Discard the results in the folder.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Write the data as CSV too.")] = False,
    mat: Annotated[
        bool, typer.Option("--mat", help="Write the data as a MATLAB file too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as lines of JSON.")] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="E.g. tcp://host:8786.", rich_help_panel=CLUSTER),
    ] = None,
    tls_ca: Annotated[
        Path | None,
        typer.Option(help="Certificate authority of a tls:// address.", rich_help_panel=CLUSTER),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="This client's certificate.", rich_help_panel=CLUSTER)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Its private key.", rich_help_panel=CLUSTER)
    ] = None,
) -> None:
    """Run a study of any size. After an interruption the same command continues it.

    Example: heliostat sweep examples/power-and-size.yaml --dry-run
    """
    with waiting("Reading the study"):
        from heliostat.batch.run import is_put_out, put_out, result
        from heliostat.batch.store import StoreError
        from heliostat.batch.workers import usable_cores
        from heliostat.studies.engine import EngineError

        plan = _plan(study, trials, seed)
    kind = engine or ("dask" if scheduler else "processes")
    _check_engine(kind, workers, scheduler, (tls_ca, tls_cert, tls_key))
    count = 1 if kind == "serial" else workers or usable_cores()
    if dry_run:
        _tell_size(plan, count, chunk)
        return
    folder = out or Path("results") / plan.study.name
    try:
        with (
            _opened(folder, plan, chunk, count, fresh) as store,
            _engine(
                "none" if stored else kind, workers, scheduler, (tls_ca, tls_cert, tls_key)
            ) as compute,
        ):
            _tell_versions(store)
            tally = _carried_out(store, plan, compute, folder, strict, as_json)
            if csv or mat or not is_put_out(store, plan, folder):
                dataset = result(store, plan)
                with staged(folder) as stage:
                    put_out(dataset, plan, stage, csv=csv, mat=mat)
    except (StoreError, EngineError) as error:
        if as_json:
            typer.echo(json.dumps({"event": "error", "message": str(error)}))
        if isinstance(error, StoreError):
            raise UserError(str(error)) from None
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    _tell_end(tally, plan, folder, as_json)


def _plan(name: str, trials: int | None, seed: int | None) -> "Plan":
    from heliostat import studies
    from heliostat.batch.run import Plan
    from heliostat.batch.study_file import read_study

    system, _, figure = name.partition("/")
    if figure in studies.NAMES.get(system, []) and not Path(name).exists():
        return Plan(name, trials or studies.find(name).trials, seed or 0)
    asked = read_study(name)
    return Plan(asked.source, trials or asked.trials, asked.seed if seed is None else seed)


def _check_engine(
    kind: str, workers: int | None, scheduler: str | None, tls: tuple[Path | None, ...]
) -> None:
    """Refuse options that exclude each other."""
    if scheduler is not None and kind != "dask":
        raise UserError(f"--scheduler {scheduler}: is for --engine dask; leave one of them out.")
    if scheduler is not None and workers is not None:
        raise UserError(f"--workers {workers}: the scheduler has workers; leave it out.")
    if kind == "serial" and workers is not None:
        raise UserError(f"--workers {workers}: --engine serial has none; leave one of them out.")
    if any(tls) and scheduler is None:
        raise UserError("--tls-ca, --tls-cert and --tls-key: are for --scheduler; leave them out.")
    for option, file in zip(("ca", "cert", "key"), tls, strict=True):
        if file is not None and not file.is_file():
            raise UserError(f"--tls-{option} {file}: there is no such file.")


@contextmanager
def _engine(
    kind: str, workers: int | None, scheduler: str | None, tls: tuple[Path | None, ...]
) -> "Iterator[Engine]":
    """The engine that computes the points, for the duration of the body."""
    from heliostat.batch.workers import all_cores
    from heliostat.studies.engine import serial

    if kind == "none":
        yield lambda function, tasks: iter(())
    elif kind == "serial":
        yield serial
    elif kind == "processes":
        with all_cores(workers) as engine:
            yield engine
    else:
        try:
            from distributed import Security

            from heliostat.batch.dask import existing_cluster, own_cluster
        except ImportError:
            raise UserError(
                "--engine dask: needs Dask, which is not installed; install heliostat[cluster]."
            ) from None
        if scheduler is None:
            with own_cluster(workers) as cluster:
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
def _opened(
    folder: Path, plan: "Plan", chunk: int | None, workers: int, fresh: bool
) -> "Iterator[Store]":
    """The study's store; a new store gets a suitable chunk size."""
    from heliostat.batch.run import good_chunk, timing
    from heliostat.batch.store import opened

    def choose() -> int:
        if chunk is not None:
            return min(chunk, plan.trials)
        if plan.trials == 1:
            return 1
        with waiting("Timing a trial"):
            return good_chunk(plan, timing(plan, points=1).trial, workers)

    with opened(
        folder, plan.study, plan.asked(), trials=plan.trials, chunk=choose, fresh=fresh
    ) as store:
        if chunk is not None and store.chunk != min(chunk, plan.trials):
            raise UserError(
                f"--chunk {chunk}: {folder} was begun with {store.chunk}; leave it out, give "
                "another --out, or --fresh to throw away what is there."
            )
        yield store


def _carried_out(
    store: "Store", plan: "Plan", engine: "Engine", folder: Path, strict: bool, as_json: bool
) -> "Tally":
    """Compute the missing trials; after an interruption say how to continue."""
    from heliostat.batch.run import carry_out

    latest: Tally | None = None
    with watching(plan.study.name, as_json) as watch:

        def on_progress(tally: "Tally") -> None:
            nonlocal latest
            if latest is None:
                if as_json:
                    event("begin", tally, study=plan.study.name, folder=str(folder))
                elif tally.damaged:
                    typer.echo(
                        f"Note: {tally.damaged} chunks were damaged and are computed again.",
                        err=True,
                    )
            latest = tally
            watch(tally)

        def on_stop() -> None:  # Ctrl-C, or the end of a batch job's time
            if latest is not None:
                if as_json:
                    write_line(1, json.dumps(event_of("stopped", latest), allow_nan=False))
                write_line(
                    2,
                    f"{latest.trials_done} of {latest.trials} trials are stored in {folder}; the "
                    "same command goes on from there.",
                )

        with on_interruption(on_stop):
            return carry_out(store, plan, engine, strict=strict, on_progress=on_progress)


def _tell_versions(store: "Store") -> None:
    """Print a note if several versions of heliostat contributed."""
    runs = store.facts["runs"]
    versions = {f"{run['heliostat_version']} ({run['commit']})": None for run in runs}
    if len(versions) > 1:
        typer.echo(
            f"Note: computed by heliostat {' and '.join(versions)}; --fresh computes all anew.",
            err=True,
        )


def _tell_size(plan: "Plan", workers: int, chunk: int | None) -> None:
    """Print the size of a study and the estimated time."""
    from heliostat.batch.run import good_chunk, timing

    with waiting("Timing a few trials"):
        timed = timing(plan)
    study = plan.study
    seconds = plan.total * timed.trial / workers
    chunk = min(chunk or good_chunk(plan, timed.trial, workers), plan.trials)
    blocks = len(study.grid) * math.ceil(plan.trials / chunk)
    rows = [
        ("axes", ", ".join(f"{name} ({len(values)})" for name, values in study.axes.items())),
        ("points", str(len(study.grid))),
        ("trials at each", str(plan.trials)),
        ("outputs", ", ".join(f"{n} [{q.unit}]" for n, q in study.outputs.items())),
        ("one trial", f"{duration(timed.trial)}, the mean at points tried: {timed.points}"),
        ("compilation", f"{duration(timed.first)} at these points, in each process"),
        ("in all", f"about {duration(seconds + timed.first)} with {workers} at once"),
        ("chunks", f"{blocks} of up to {chunk} trials"),
        ("size", f"{plan.bytes_stored / 1e6:.3g} MB before compression"),
    ]
    print_table(f"{study.title}: nothing was computed", [], rows)


def _tell_end(tally: "Tally", plan: "Plan", folder: Path, as_json: bool) -> None:
    """Print the outcome; exit with code 1 if results are missing."""
    if as_json:
        event("end", tally, lost=list(tally.lost), stopped=tally.stopped, folder=str(folder))
    else:
        done = not tally.computed and not tally.missing
        typer.echo("Nothing to do: every point is stored." if done else told(tally))
        if tally.failures:
            typer.echo(
                f"{tally.failures} trials lack at least one result; the variable remark says why."
            )
        for reason in tally.lost:
            typer.echo(f"Missing: {reason}.")
        typer.echo(f"{'Data and store' if tally.missing else 'Data, picture, store'}: {folder}.")
    if tally.stopped:
        typer.echo(f"--strict: stopped at the first failure: {tally.stopped}", err=True)
    if tally.missing and not tally.stopped:
        typer.echo(
            f"{tally.missing} of {tally.trials} trials are missing; the same command tries them "
            "again.",
            err=True,
        )
    if tally.trials_done and tally.failures == tally.trials_done:
        typer.echo("No trial has all results.", err=True)
    if tally.missing or tally.stopped or tally.failures == tally.trials:
        raise typer.Exit(1)
