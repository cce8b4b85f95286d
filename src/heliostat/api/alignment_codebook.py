"""Public function that designs the surface configurations of the alignment stage."""

from typing import Literal, TypeAlias, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from numpy.typing import ArrayLike

from heliostat.api.arguments import checked_count, public
from heliostat.api.localization import build, chosen_antennas
from heliostat.api.localization_results import SweepDesign
from heliostat.scenario import LocalizationScenario

Criterion: TypeAlias = Literal["worst", "mean"]


@public(LocalizationScenario)
def design_sweep(
    scenario: LocalizationScenario,
    positions: ArrayLike,
    configurations: int = 4,
    criterion: Criterion = "worst",
    *,
    active_antennas: int | None = None,
    starts: int = 8,
    seed: int = 0,
    key: PRNGKeyArray | None = None,
) -> SweepDesign:
    r"""Design surface configurations with a small PEB over a region of possible user positions.

    Minimizes the largest position error bound, :math:`\max_q \mathrm{PEB}_q`, or the mean square,
    :math:`\frac1Q\sum_q\mathrm{PEB}_q^2`, over the steering directions of all configurations, by
    descents from random starts. The result is a local minimum.

    Args:
        scenario: A localization scenario with designed, continuous phases. The heading of its user
            is used at every position.
        positions: Possible user positions in front of the surface, [position, 3]. [m]
        configurations: Number of configurations.
        criterion: "worst" for the largest PEB, "mean" for the root mean square PEB.
        active_antennas: :math:`N_B`; default as many as fit into the period.
        starts: Number of random starts.
        seed: Seed of the starts.
        key: Key of a random gain phase; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: An argument is out of range, the scenario's phases are not designed or have
            limited resolution, or the PEB is infinite at some position for every design found.
    """
    # Only this function needs SciPy's optimizers.
    from heliostat.design import alignment_codebook  # noqa: PLC0415

    if criterion not in get_args(Criterion):
        raise ValueError(f"criterion is {criterion!r}; it must be 'worst' or 'mean'.")
    configurations = checked_count("configurations", configurations)
    starts = checked_count("starts", starts)
    surface = scenario.panel
    if (
        not scenario.single_path
        or surface.phases != "designed"
        or surface.bits is not None
        or scenario.model.as_printed
    ):
        raise ValueError(
            f"{scenario.name} needs one surface with plane waves, surface.phases: designed, no "
            "surface.bits and model.as_printed: false; design_sweep designs continuous phases for "
            "the exact bound."
        )
    places = np.asarray(positions, dtype=float)
    if places.ndim != 2 or places.shape[1] != 3 or not len(places):
        raise ValueError(
            f"positions has the shape {places.shape}; it needs (position, 3), x, y, z in meters."
        )
    ahead = (places - np.asarray(surface.position)) @ np.asarray(surface.facing)
    if not np.isfinite(places).all() or np.any(ahead <= 0):
        raise ValueError("positions must be finite and in front of the surface.")
    scene = build(scenario, key)
    design = alignment_codebook.design_sweep(
        scene,
        jnp.asarray(places),
        configurations,
        active_antennas=int(chosen_antennas(scenario, active_antennas)),
        criterion=criterion,
        starts=starts,
        seed=seed,
    )
    array, (across, up) = scene.surface.array, np.asarray(design.sweep.focus)
    direction = (
        across * np.asarray(array.horizontal)
        + up * np.asarray(array.vertical)
        + np.sqrt(1 - across**2 - up**2) * np.asarray(array.normal)
    )
    distance = np.linalg.norm(places.mean(axis=0) - np.asarray(surface.position))
    return SweepDesign(
        focus=np.asarray(surface.position) + distance * direction,
        sweep=np.asarray(design.sweep.offset) * [surface.columns, surface.rows],
        peb=np.asarray(design.peb),
        value=float(design.value),
    )
