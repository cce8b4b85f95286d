"""Errors of a target's position from directions with errors: both methods against the bound."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.estimation.triangulation import iterated_least_squares, stansfield
from heliostat.plots.style import styled
from heliostat.scenario import SensingScenario, load, of_system
from heliostat.scenario.random_keys import purpose_key
from heliostat.scene.sensing import SensingScene
from heliostat.studies.estimators.attainment import attainment, methods_against_bound
from heliostat.studies.figures import log_axis
from heliostat.studies.study import Quantity, Study, Verdict

ERRORS = [0.1, 0.3, 1.0, 3.0, 10.0]
"""Standard deviation of each angle. [deg]"""
METHODS = {"stansfield": "Stansfield", "least_squares": "iterated least squares"}


@functools.cache
def _scene() -> SensingScene:
    scenario = of_system(load("sensing-two-surfaces"), SensingScenario, "this study")
    # The cached arrays outlive the trace that needs them first.
    with jax.ensure_compile_time_eval():
        return scenario.build()


def sample(key: PRNGKeyArray) -> Array:
    """Errors of unit variance of both angles at both surfaces.

    Args:
        key: Random key of the trial.
    """
    return jax.random.normal(purpose_key(key, "errors"), (2, 2))


def point(errors: Array, *, error_deg: Array) -> Mapping[str, Array]:
    """One position by each method, from the same directions."""
    scene = _scene()
    std = error_deg * jnp.pi / 180
    covariance = jnp.broadcast_to(std**2 * jnp.eye(2), (2, 2, 2))
    angles = scene.angles() + std * errors
    truth = scene.target.position
    outputs = {}
    for name, method in (("stansfield", stansfield), ("least_squares", iterated_least_squares)):
        error = method(scene, angles, covariance).position - truth
        outputs[name], outputs[f"{name}_offset"] = jnp.sum(error**2), error
    bound = iterated_least_squares(scene, scene.angles(), covariance).covariance
    return outputs | {"bound": jnp.sqrt(jnp.trace(bound))}


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on attainment of the bound by both methods."""
    level = dataset.error_deg.values
    ratio = {name: attainment(dataset[name], dataset.bound) for name in METHODS}
    small, large = level <= 3, level == 10
    close = all(bool((r.low[small] <= 1.02).all()) for r in ratio.values())
    far = any(bool((r.low[large] > 1.02).all()) for r in ratio.values())

    def ratios(where: np.ndarray) -> str:
        return ", ".join(
            f"{label} {ratio[name].ratio[where].max():.3f}" for name, label in METHODS.items()
        )

    bias = {
        label: np.linalg.norm(dataset[f"{name}_offset"].mean("trial").values, axis=-1)
        for name, label in METHODS.items()
    }
    return [
        Verdict(
            "Position",
            "up to 3 degrees both methods come within 2 % of the bound",
            close,
            f"error over bound at most {ratios(small)}",
        ),
        Verdict(
            "Position",
            "at 10 degrees at least one of them does not come within 2 % of the bound",
            far,
            f"error over bound {ratios(large)}; bias "
            + ", ".join(f"{label} {b[large][0]:.2f} m" for label, b in bias.items()),
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Errors of the position against the errors of the directions."""
    level = dataset.error_deg.values
    with styled():
        figure = plt.figure(figsize=(7.5, 5.4))
        axes = methods_against_bound(figure, level, dataset, METHODS, factor=1.0)
        log_axis(axes, level, "standard deviation of each angle [deg]")
        axes.set_ylabel("root mean square error of the position [m]")
    return figure


STUDY = Study(
    name="estimators/position",
    sample=sample,
    point=point,
    axes={"error_deg": ERRORS},
    outputs={
        "stansfield": Quantity("m2", (), "squared error, Stansfield"),
        "least_squares": Quantity("m2", (), "squared error, iterated least squares"),
        "stansfield_offset": Quantity("m", ("xyz",), "error, Stansfield"),
        "least_squares_offset": Quantity("m", ("xyz",), "error, iterated least squares"),
        "bound": Quantity("m", (), "lower bound on the root mean square error"),
    },
    inner={"xyz": np.arange(3)},
    axis_units={"error_deg": "deg"},
    trials=2000,
    provenance={"scenario": "sensing-two-surfaces"},
    verdicts=verdicts,
    draw=draw,
)
