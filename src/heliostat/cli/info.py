"""The commands ``new``, ``schema``, ``list`` and ``cite``."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from heliostat.cli.console import UserError, print_table


def new(
    file: Annotated[Path, typer.Argument(help="File to write, e.g. hall.yaml.")],
    system: Annotated[
        Literal["localization", "sensing"], typer.Option(help="System that the scenario describes.")
    ] = "localization",
) -> None:
    """Write a scenario template: every key with its meaning, unit and default.

    Example: heliostat new hall.yaml
    """
    from heliostat.scenario import template_text

    try:
        if file.exists():
            raise UserError(f"{file}: exists already; give another name.")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(template_text(system))
    except OSError as error:
        raise UserError(
            f"{file}: cannot be written ({error.strerror}); give another name."
        ) from None
    typer.echo(f"Wrote {file}. Edit it, then: heliostat run {file}")


def schema() -> None:
    """Print the JSON Schema of scenario files, for completion and checks in editors.

    Example: heliostat schema > scenario.schema.json
    """
    from heliostat.scenario import scenario_schema

    typer.echo(json.dumps(scenario_schema(), indent=2))


def list_command() -> None:
    """List the packaged scenarios and studies.

    Example: heliostat list
    """
    from heliostat import studies
    from heliostat.scenario import scenario_names, scenario_summary

    scenarios = {name: scenario_summary(name) for name in scenario_names()}
    print_table(
        "Scenarios, for heliostat run, map, compare, place, plan and track", [], scenarios.items()
    )
    for system, titles in studies.TITLES.items():
        title = f"Studies, for heliostat reproduce {system} and sweep {system}/NAME"
        print_table(title, [], titles.items())


def cite() -> None:
    """Print BibTeX entries of heliostat and of the two papers.

    Example: heliostat cite >> references.bib
    """
    from heliostat.provenance import citation

    typer.echo(citation(), nl=False)
