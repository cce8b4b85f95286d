"""The command line: each command parses its options, calls one library function and prints.

Slow imports, JAX and Matplotlib above all, are made by the commands that need them.
"""

import os
import warnings
from typing import Annotated

import typer

from heliostat.cli.compare import compare
from heliostat.cli.imports import import_app
from heliostat.cli.info import cite, list_command, new, schema
from heliostat.cli.map import map_command
from heliostat.cli.place import place
from heliostat.cli.plan import plan
from heliostat.cli.reproduce import reproduce
from heliostat.cli.run import run
from heliostat.cli.sweep import sweep
from heliostat.cli.track import track
from heliostat.model_warning import ModelWarning

app = typer.Typer(
    help="Error bounds, certified designs and estimators for intelligent reflecting surfaces in "
    "localization, communication and sensing.\n\n"
    "Example: heliostat run factory-hall",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> bool:
    if wanted:
        from heliostat._version import __version__

        typer.echo(f"heliostat {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options that belong to no command."""
    # A design takes thousands of small steps, too small for OpenBLAS to gain from threads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # The commands print the notes on a scenario themselves.
    warnings.simplefilter("ignore", ModelWarning)


app.command()(run)
app.command("map")(map_command)
app.command()(compare)
app.command()(place)
app.command()(plan)
app.command()(track)
app.add_typer(import_app, name="import")
app.command()(new)
app.command()(schema)
app.command("list")(list_command)
app.command()(cite)
app.command()(reproduce)
app.command()(sweep)
