"""The command ``plan``: a page in the browser on which the objects of a scenario are moved."""

from typing import Annotated

import typer

from heliostat.cli.console import UserError


def plan(
    scenario: Annotated[
        str | None,
        typer.Argument(
            help="A YAML file, or a name that 'heliostat list' shows; default a start page with "
            "all packaged scenarios."
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port; default a free one.", show_default=False)
    ] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address without opening it.")
    ] = False,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address of this machine to listen on. Others than 127.0.0.1 can be reached from "
            "the network: the page then needs a random token, which the printed address contains.",
        ),
    ] = "127.0.0.1",
) -> None:
    """Open a page in the browser on which to move base station, surfaces and users.

    The page shows bounds, rates and maps while objects are moved. It needs no network; Ctrl-C ends
    it.

    Example: heliostat plan street-crossing
    """
    from heliostat.scenario import load

    own = None if scenario is None else load(scenario)
    try:
        from heliostat.planner.server import opened
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        from heliostat.planner.notebook import NEEDS_EXTRA

        raise UserError(NEEDS_EXTRA) from None
    if host in ("0.0.0.0", "::"):
        raise UserError(f"--host {host}: give one address of this machine, e.g. 192.168.0.10.")
    try:
        planner = opened(own, host, port)
    except OSError as error:
        where = f"--host {host}" if port == 0 else f"--host {host} --port {port}"
        raise UserError(
            f"{where}: cannot be opened ({error.strerror or error}); give another address or port."
        ) from None
    typer.echo(f"Planner at {planner.address} (Ctrl-C ends it)")
    if not no_browser:
        import webbrowser

        webbrowser.open(planner.address)
    planner.run()
