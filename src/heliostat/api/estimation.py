"""Public functions that simulate echoes and estimate directions and positions of a target."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from heliostat.api.arguments import described, noise_key, public
from heliostat.api.sensing_arguments import checked_covariances, checked_reflections
from heliostat.estimation.direction import cosine_grid, likeliest_direction
from heliostat.estimation.triangulation import (
    PARALLEL,
    iterated_least_squares,
    largest_sine,
    stansfield,
)
from heliostat.observation.echoes import simulate_echo, transmitted_signal
from heliostat.scenario import SensingScenario
from heliostat.scene.sensing import SensingScene


@dataclass(frozen=True)
class Echoes:
    """Echoes received by the base station through each surface."""

    samples: tuple[np.ndarray, ...]
    """Received samples of each surface, complex [pattern, antenna, snapshot]. [√W]"""
    transmitted: tuple[np.ndarray, ...]
    """Transmitted samples of each surface, complex [pattern, antenna, snapshot]. [√W]"""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""


@dataclass(frozen=True)
class Directions:
    """Maximum-likelihood directions of the target at each surface."""

    angles: np.ndarray
    """Elevation and azimuth. [surface, 2] [rad]"""
    covariance: np.ndarray
    """Covariance of both angles, from the information at the estimate. [surface, 2, 2] [rad²]"""
    target_gain: np.ndarray
    """Complex gain of the target. [surface] [1]"""
    snr: np.ndarray
    """SNR of the matched filter's output. [surface] [1]"""
    reduced_chi2: np.ndarray
    """Residual energy over its expectation under noise alone. [surface] [1]"""
    second_echo_p_value: np.ndarray
    """Upper bound on the p-value of a second echo in the best-fitting direction, under noise alone.
    [surface] [1]"""
    fits: np.ndarray
    """Whether ``reduced_chi2`` is within five standard deviations of 1 and ``second_echo_p_value``
    is above 0.001. [surface]"""
    detected: np.ndarray
    """Whether the fitted echo exceeds the noise threshold. [surface]"""
    converged: np.ndarray
    """Whether the maximization of the likelihood converged. [surface]"""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""


@dataclass(frozen=True)
class Position:
    """Position of a target, estimated from its directions at the surfaces."""

    position: np.ndarray
    """Position. [xyz] [m]"""
    covariance: np.ndarray
    """Covariance, propagated from the covariances of the directions. [m²]"""
    converged: bool
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""


@public(SensingScenario)
def simulate_echoes(
    scenario: SensingScenario,
    covariance: ArrayLike | Sequence[ArrayLike],
    reflection: ArrayLike | Sequence[ArrayLike],
    *,
    neglect_reradiated: bool = False,
    key: PRNGKeyArray | None = None,
) -> Echoes:
    """Simulate noisy echoes through each surface.

    The share of ``dwell.symbols`` of each surface and pattern is rounded down to whole snapshots.

    Args:
        scenario: A sensing scenario.
        covariance: Transmit covariances as for `direction_bounds`. [W]
        reflection: Coefficients as for `direction_bounds`. [1]
        neglect_reradiated: Neglect the surfaces' noise that is reflected by the target, as in the
            bounds.
        key: Random key of the noise; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of sensing.
        ValueError: As for `direction_bounds`.
    """
    settings = checked_reflections(scenario, reflection)
    sent = checked_covariances(scenario, covariance, settings)
    scene, root = scenario.build(), noise_key(scenario, key)
    samples, transmitted = [], []
    for i, (psi, covar) in enumerate(zip(settings, sent, strict=True)):
        snapshots = max(1, scenario.dwell.symbols // (scene.n_surfaces * len(psi)))
        signal = jax.vmap(partial(transmitted_signal, snapshots=snapshots))(covar)
        own = jax.random.fold_in(root, i)
        samples.append(_echoes(scene, i, psi, signal, neglect_reradiated, own))
        transmitted.append(np.asarray(signal))
    return Echoes(tuple(samples), tuple(transmitted))


def _echoes(
    scene: SensingScene,
    index: int,
    reflection: Array,
    signal: Array,
    neglect_reradiated: bool,
    key: PRNGKeyArray,
) -> np.ndarray:
    def pattern(psi: Array, sent: Array, own: PRNGKeyArray) -> Array:
        return simulate_echo(
            scene.link(index),
            psi,
            scene.angles()[index],
            scene.target_gain[index],
            sent,
            neglect_reradiated=neglect_reradiated,
            key=own,
        )

    keys = jax.random.split(key, len(reflection))
    return np.asarray(jax.vmap(pattern)(reflection, signal, keys))


@public(SensingScenario)
def estimate_direction(
    scenario: SensingScenario, echoes: Echoes, reflection: ArrayLike | Sequence[ArrayLike]
) -> Directions:
    """Estimate the direction of the target at each surface by maximum likelihood.

    Args:
        scenario: A sensing scenario; its target's position is not used.
        echoes: Echoes, e.g. from `simulate_echoes`.
        reflection: Coefficients of the surfaces as for `direction_bounds`. [1]

    Raises:
        TypeError: The scenario is not one of sensing.
        ValueError: An array has the wrong shape.
    """
    if not isinstance(echoes, Echoes):
        raise TypeError(
            f"echoes is {described(echoes)}; it must be Echoes, e.g. from simulate_echoes."
        )
    settings = checked_reflections(scenario, reflection)
    scene, found = scenario.build(), []
    counts = (len(echoes.samples), len(echoes.transmitted))
    if counts != (len(settings),) * 2:
        raise ValueError(
            f"echoes have {counts[0]} surfaces received and {counts[1]} sent; {scenario.name} has "
            f"{len(settings)}."
        )
    for i, psi in enumerate(settings):
        samples, sent = np.asarray(echoes.samples[i]), np.asarray(echoes.transmitted[i])
        wanted = (len(psi), scenario.base_station.antennas)
        if samples.shape != sent.shape or samples.shape[:2] != wanted:
            raise ValueError(
                f"echoes of surface {i} have the shapes {samples.shape} received and {sent.shape} "
                f"sent; {scenario.name} needs {wanted} and the snapshots for both: patterns, "
                "base_station.antennas."
            )
        link = scene.link(i)
        grid = cosine_grid(link.array)
        found.append(likeliest_direction(link, psi, jnp.asarray(sent), jnp.asarray(samples), grid))

    names = [each.name for each in fields(Directions) if each.name != "notes"]
    columns: dict[str, Any] = {
        name: np.stack([np.asarray(getattr(each, name)) for each in found]) for name in names
    }
    return Directions(**columns)


@public(SensingScenario)
def triangulate(
    scenario: SensingScenario,
    angles: ArrayLike,
    covariance: ArrayLike,
    method: str = "least_squares",
) -> Position:
    """Estimate a target's position from its directions at two or more surfaces.

    Args:
        scenario: A sensing scenario.
        angles: Elevation and azimuth at each surface. [surface, 2] [rad]
        covariance: Covariance of both angles. [surface, 2, 2] [rad²]
        method: "least_squares" for iterated weighted least squares, "stansfield" for the linear
            method.

    Raises:
        TypeError: The scenario is not one of sensing.
        ValueError: The method is unknown, an array has the wrong shape or is not a covariance, or
            the lines of sight do not intersect in front of the surfaces.
    """
    methods: dict[str, Any] = {"least_squares": iterated_least_squares, "stansfield": stansfield}
    if method not in methods:
        raise ValueError(f"method is {method!r}; it must be {' or '.join(map(repr, methods))}.")
    count = len(scenario.surfaces)
    if count < 2:
        raise ValueError(f"{scenario.name} has 1 surface; a position needs 2 or more.")
    seen, spread = np.asarray(angles, dtype=float), np.asarray(covariance, dtype=float)
    for name, array, shape in (
        ("angles", seen, (count, 2)),
        ("covariance", spread, (count, 2, 2)),
    ):
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError(
                f"{name} has the shape {array.shape}; {scenario.name} needs {shape}, all finite."
            )
    if not np.allclose(spread, np.swapaxes(spread, 1, 2), rtol=1e-6, atol=0.0):
        raise ValueError("covariance is not symmetric.")
    if np.linalg.eigvalsh(spread).min() <= 0:
        raise ValueError("covariance has an eigenvalue that is not positive.")
    scene = scenario.build()
    sine = float(largest_sine(scene, jnp.asarray(seen)))
    if sine < PARALLEL:
        raise ValueError(
            f"The lines of sight differ by {np.degrees(np.arcsin(sine)):.2g} degrees at most: the "
            "target is on the line through the surfaces, or very far away; use a surface that "
            "sees it from the side."
        )
    found = eqx.filter_jit(methods[method])(scene, jnp.asarray(seen), jnp.asarray(spread))
    if bool(found.behind.any()):
        which = ", ".join(str(i) for i in np.flatnonzero(np.asarray(found.behind)))
        raise ValueError(
            f"The lines of sight diverge: they are nearest to each other behind surface {which}; "
            "at least one direction is wrong."
        )
    return Position(np.asarray(found.position), np.asarray(found.covariance), bool(found.converged))
