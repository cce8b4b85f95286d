"""Public function for bounds and rate with a surface that is steered by inaccurate estimates."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from heliostat.api.arguments import checked_count, public
from heliostat.api.localization import build, chosen_antennas, pose_information_by_form
from heliostat.api.localization_results import ErrorEffect
from heliostat.bounds.pose import error_bounds
from heliostat.protocol.errors import ErrorLevels, draw_errors
from heliostat.protocol.period import as_steered
from heliostat.rates.effective import eadr
from heliostat.scenario import LocalizationScenario
from heliostat.scenario.random_keys import purpose_key
from heliostat.scene.localization import LocalizationScene


@public(LocalizationScenario)
def under_errors(
    scenario: LocalizationScenario,
    active_antennas: int | None = None,
    *,
    trials: int = 200,
    key: PRNGKeyArray | None = None,
) -> ErrorEffect:
    """Simulate bounds and rate with a surface steered by inaccurate and outdated estimates.

    Position errors and mobility are drawn as in eqs. (1) and (21) of the localization paper.
    Heading and gain errors, (22) and (23), affect only the allocation of the next period, not the
    steering.

    Args:
        scenario: A localization scenario with ``errors``.
        active_antennas: :math:`N_B`; default as many as fit into the period.
        trials: Number of trials.
        key: Random key of the trials; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: ``active_antennas`` or ``trials`` is out of range, the scenario has neither
            position errors nor mobility, or its phases are not designed.
    """
    trials = checked_count("trials", trials)
    antennas = chosen_antennas(scenario, active_antennas)
    if reason := no_error_effect(scenario):
        raise ValueError(reason)
    # Phases are steered in each trial and quantized afterwards.
    scene = build(scenario.updated({"surface.bits": None}), key)
    draws = purpose_key(scenario.link.seed if key is None else key, "errors")
    keys = jax.vmap(lambda i: jax.random.fold_in(draws, i))(jnp.arange(trials))
    errors = scenario.errors
    levels = ErrorLevels(
        *(jnp.asarray(level, dtype=float) for level in (errors.position, errors.heading)),
        *(jnp.asarray(level, dtype=float) for level in (errors.mobility, errors.gain_variance)),
    )
    peb, reb, rate = (
        np.asarray(x)
        for x in _trials(
            scenario.model.as_printed, scenario.panel.bits, scene, antennas, levels, keys
        )
    )
    return ErrorEffect(
        trials=trials,
        peb_median=float(np.median(peb)),
        peb_90=float(np.quantile(peb, 0.9, method="higher")),
        reb_median=float(np.median(reb)),
        eadr_mean=float(np.mean(rate)),
        eadr_10=float(np.quantile(rate, 0.1)),
    )


def no_error_effect(scenario: LocalizationScenario) -> str:
    """Return the reason why errors do not affect the steering; empty if they do."""
    if not scenario.single_path:
        return (
            f"{scenario.name} has several paths or spherical waves; steering errors are simulated "
            "for one surface and plane waves."
        )
    if scenario.panel.phases != "designed":
        return (
            f"surface.phases of {scenario.name} are {scenario.panel.phases}, so estimates do "
            "not steer the surface; errors have an effect on designed phases only."
        )
    if not (scenario.errors.position or scenario.errors.mobility):
        return (
            f"{scenario.name} has no errors; set errors.position, errors.mobility or both, for "
            'example {"errors.position": "1 m"}.'
        )
    return ""


@partial(jax.jit, static_argnums=(0, 1))
def _trials(
    as_printed: bool,
    bits: int | None,
    scene: LocalizationScene,
    antennas: Array,
    levels: ErrorLevels,
    keys: Array,
) -> tuple[Array, Array, Array]:
    def trial(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        steered = as_steered(scene, draw_errors(levels, key))
        if bits is not None:
            steered = steered.quantized(bits)
        bounds = error_bounds(pose_information_by_form(as_printed, steered, antennas))
        return *bounds, eadr(steered, antennas)

    return jax.lax.map(trial, keys, batch_size=50)
