"""Validation of positions, coefficients and covariances for functions of sensing scenarios."""

from collections.abc import Sequence, Sized
from typing import Any, Literal, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from heliostat.scenario import SensingScenario

Method: TypeAlias = Literal["direct", "sdr"]
"""Method of a beamforming design: a descent, or the paper's semidefinite programs."""
LARGEST = 1e18
"""Largest coefficient [1] or entry of a covariance [W], as for quantities of a scenario."""


def checked_positions(scenario: SensingScenario, given: ArrayLike) -> np.ndarray:
    """Return validated target positions, [position xyz], in front of every surface. [m]

    Args:
        scenario: The scenario with the surfaces.
        given: Positions, [position, 3]. [m]

    Raises:
        ValueError: The shape is wrong, or a position is not finite or behind a surface.
    """
    places = np.asarray(given, dtype=float)
    if places.ndim != 2 or places.shape[1] != 3 or not len(places):
        raise ValueError(
            f"positions has the shape {places.shape}; it needs (position, 3), x, y, z in meters."
        )
    if not np.isfinite(places).all():
        raise ValueError("positions contains numbers that are not finite.")
    for i, surface in enumerate(scenario.surfaces):
        ahead = (places - np.asarray(surface.position)) @ np.asarray(surface.facing)
        if (behind := np.flatnonzero(ahead <= 0)).size:
            place = ", ".join(f"{x:g}" for x in places[behind[0]])
            raise ValueError(
                f"positions[{behind[0]}] is ({place}), behind surfaces.{i} of {scenario.name}; "
                "leave it out, or turn or move that surface."
            )
    return places


def _entries(scenario: SensingScenario, given: Any, name: str, wanted: str) -> list[np.ndarray]:
    """Return one complex array per surface."""
    count = len(scenario.surfaces)
    each = list(given) if isinstance(given, Sequence) or np.ndim(given) else []
    if len(each) != count:
        shape = getattr(given, "shape", (len(each),))
        raise ValueError(
            f"{name} has the shape {tuple(shape)}; {scenario.name} needs {wanted}, the first of "
            f"length {count}."
        )
    entries = [np.asarray(entry, dtype=complex) for entry in each]
    for i, entry in enumerate(entries):
        if not np.isfinite(entry).all():
            raise ValueError(f"{name}[{i}] contains numbers that are not finite.")
        if np.abs(entry).max(initial=0.0) > LARGEST:  # their powers are not finite
            raise ValueError(f"{name}[{i}] contains numbers above {LARGEST:g}; give SI units.")
    return entries


def checked_reflections(scenario: SensingScenario, given: Any) -> tuple[Array, ...]:
    """Return validated coefficients by surface, [pattern element] each.

    Args:
        scenario: The scenario that determines the shapes.
        given: [surface, element] or [surface, pattern, element], or one array per surface. [1]

    Raises:
        ValueError: An array has the wrong shape, is not finite, or has entries above `LARGEST`.
    """
    settings = []
    wanted = "(surface, element) or (surface, pattern, element)"
    for i, entry in enumerate(_entries(scenario, given, "reflection", wanted)):
        elements = scenario.elements[i]
        patterns = entry[None] if entry.ndim == 1 else entry
        if patterns.ndim != 2 or patterns.shape[1] != elements or not len(patterns):
            raise ValueError(
                f"reflection[{i}] has the shape {entry.shape}; {scenario.name} needs "
                f"({elements},) or (patterns, {elements}): the elements of surface {i}."
            )
        settings.append(jnp.asarray(patterns))
    return tuple(settings)


def checked_covariances(
    scenario: SensingScenario,
    given: Any,
    settings: Sequence[Sized],
) -> tuple[Array, ...]:
    """Return validated covariances by surface, [pattern tx tx] each.

    Args:
        scenario: The scenario that determines the shapes.
        given: [surface, tx, tx], used for all patterns, or [surface, pattern, tx, tx], or one array
            per surface. [W]
        settings: For each surface a sequence with one item per pattern, such as its coefficients.

    Raises:
        ValueError: An array has the wrong shape, is not finite, has entries above `LARGEST`, or is
            not a covariance.
    """
    sent, antennas = [], scenario.base_station.antennas
    wanted = "(surface, tx, tx) or (surface, pattern, tx, tx)"
    for i, entry in enumerate(_entries(scenario, given, "covariance", wanted)):
        single, patterns = (antennas, antennas), (len(settings[i]), antennas, antennas)
        if entry.shape not in (single, patterns):
            raise ValueError(
                f"covariance[{i}] has the shape {entry.shape}; {scenario.name} needs {single}, or "
                f"{patterns} with an axis of patterns: the base station's antennas."
            )
        size = np.abs(entry).max()
        if np.abs(entry - np.conj(np.swapaxes(entry, -1, -2))).max() > 1e-9 * size:
            raise ValueError(f"covariance[{i}] is not Hermitian, so it is no covariance.")
        if np.linalg.eigvalsh(entry).min() < -1e-9 * size * antennas:
            raise ValueError(f"covariance[{i}] has a negative eigenvalue, so it is no covariance.")
        sent.append(jnp.asarray(np.broadcast_to(entry, patterns)))
    return tuple(sent)
