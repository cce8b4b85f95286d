"""The command ``import``: channel files from ray tracers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heliostat.cli.console import UserError, print_table, staged, waiting
from heliostat.cli.options import ScenarioArgument, SetOption, overrides_of, refuse_folder

if TYPE_CHECKING:
    import heliostat.api.ray_tracing
    import heliostat.scenario

import_app = typer.Typer(help="Import channels from a ray tracer.", no_args_is_help=True)

DEFAULT_SCENARIO = "sensing-street"


@import_app.callback()
def _import() -> None:
    """Import channels from a ray tracer."""


@import_app.command()
def sionna(
    scene: Annotated[
        str,
        typer.Option(
            metavar="SCENE",
            help="Scene that Sionna RT contains, e.g. simple_street_canyon, or a Mitsuba XML file.",
        ),
    ],
    scenario: ScenarioArgument = DEFAULT_SCENARIO,
    settings: SetOption = None,
    out: Annotated[Path, typer.Option(help="Channel file to write.")] = Path("channels.npz"),
    reflections: Annotated[
        int, typer.Option(min=0, max=10, help="Largest number of reflections of a path.")
    ] = 3,
) -> None:
    """Trace the channels of a scenario with Sionna RT and write a channel file.

    Positions of the scenario are coordinates of the scene. The key link.channels of a sensing
    scenario names the file. This command needs the extra "raytrace" of heliostat.

    Example: heliostat import sionna --scene simple_street_canyon --out street.npz
    """
    from heliostat.api.ray_tracing import RayTracingError, trace_channels

    if out.suffix != ".npz":
        raise UserError(f"--out {out}: is not a .npz file; give e.g. street.npz.")
    refuse_folder(out)
    loaded = _without_channels(scenario, overrides_of(settings))
    try:
        with waiting("Tracing paths"):
            found = trace_channels(loaded, scene, reflections=reflections)
    except RayTracingError as error:
        raise UserError(str(error)) from None
    with staged(out.parent) as stage:
        found.save(stage / out.name)
    _show(found)
    if loaded.system == "sensing":
        channels = {"link.channels": str(out.absolute()), "link.rician": None}
        for note in loaded.updated({**channels, "link.exponent": None}).notes:
            print(f"Note: {note}")
    print(f"Wrote {out}.")


def _without_channels(
    source: str, overrides: dict[str, Any]
) -> "heliostat.scenario.LocalizationScenario | heliostat.scenario.SensingScenario":
    """Load a scenario whose channel file does not exist yet or has other dimensions."""
    from heliostat.scenario import ScenarioError, load

    try:
        return load(source, overrides)
    except ScenarioError as error:
        if not any(problem.field == "link.channels" for problem in error.problems):
            raise
        return load(source, {**overrides, "link.channels": None, "link.rician": "0 dB"})


def _show(channels: "heliostat.api.ray_tracing.RayTracedChannels") -> None:
    """Print the paths from the base station to each surface."""
    import numpy as np

    heads = ["Surface", "Paths", "Direct path", "Strongest to others", "Mean power to free space"]
    rows = []
    for i, paths in enumerate(channels.paths):
        others = paths.power[1:].sum()
        ratio = f"{10 * np.log10(paths.power[0] / others):.1f} dB" if others > 0 else "no others"
        excess = 10 * np.log10(paths.power.sum() / paths.free_space)
        seen = "yes" if 0 in paths.n_reflections else "no"
        rows.append([f"surfaces.{i}", str(len(paths.power)), seen, ratio, f"{excess:+.1f} dB"])
    print_table("Paths from the base station to the surfaces", heads, rows)
