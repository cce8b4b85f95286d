"""Quantities that can be mapped, and their values at each position."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from heliostat.api.localization import build, chosen_antennas, most_active_antennas
from heliostat.design.result import BeamformingDesign, patterned
from heliostat.maps import localization as localization_maps
from heliostat.maps.area import facing
from heliostat.scenario import (
    AnyScenario,
    LocalizationScenario,
    SensingScenario,
)
from heliostat.scenario.localization.visibility import visible_paths
from heliostat.scenario.panels import PanelSpec

OnProgress: TypeAlias = Callable[[int, int], None]


class MapQuantity(NamedTuple):
    """A quantity that can be mapped."""

    system: str
    variable: str
    """Name in the dataset."""
    unit: str
    label: str


QUANTITIES: dict[str, MapQuantity] = {
    "peb": MapQuantity("localization", "peb", "m", "position error bound (PEB)"),
    "reb": MapQuantity("localization", "reb", "rad", "heading error bound (REB)"),
    "rate": MapQuantity("localization", "rate", "bit/s", "effective rate"),
    "snr": MapQuantity("localization", "snr", "1", "signal-to-noise ratio (SNR) of the data"),
    "cause": MapQuantity("localization", "cause", "1", "paths that reach the point"),
    "position": MapQuantity("sensing", "position_bound", "m", "position error bound"),
    "direction": MapQuantity(
        "sensing", "direction_bound", "rad", "direction error bound of the worst surface"
    ),
    "crb": MapQuantity(
        "sensing", "crb", "rad²", "Cramér-Rao bound (CRB) of the direction, worst surface"
    ),
}
"""Quantities by the name that `coverage` accepts; the first of a system is its default."""


Variables: TypeAlias = dict[str, tuple[tuple[Any, ...], dict[str, str]]]


def variable(values: tuple[Any, ...], unit: str, label: str) -> Any:
    """Return a variable of a map.

    Args:
        values: Its array over the positions, and the names of further dimensions.
        unit: Its unit.
        label: Its meaning.
    """
    return values, {"units": unit, "long_name": label}


def localization_values(
    scenario: LocalizationScenario,
    quantity: MapQuantity,
    places: np.ndarray,
    headings: ArrayLike | None,
    active_antennas: int | None,
    each: bool,
    on_progress: OnProgress,
) -> tuple[Variables, np.ndarray, str]:
    """Compute the values at each position, whether it is served, and the conditions in words.

    Args:
        scenario: A loaded scenario.
        quantity: The quantity of the map.
        places: The positions, [point, xyz]. [m]
        headings: Heading of the user at each position; default that of the scenario. [rad]
        active_antennas: Number of active antennas; default as many as fit into the period.
        each: Whether the surfaces are steered to each position.
        on_progress: Called with the number of finished positions and of all positions.

    Raises:
        ValueError: An argument is out of range.
    """
    turned = None
    if headings is not None:
        turned = np.asarray(headings, dtype=float)
        if turned.shape != (len(places),) or not np.isfinite(turned).all():
            raise ValueError(f"headings needs {len(places)} finite numbers, one per position.")
    if quantity.variable == "cause":
        return _causes(scenario, quantity, places)
    active = int(chosen_antennas(scenario, active_antennas))
    scenario = with_one_wavefront(scenario, places)
    bits, resolution = tuple(panel.bits for panel in scenario.panels), _resolution(scenario)
    if each and any(bits):
        scenario = scenario.updated({f"{key}.bits": None for key in scenario.panel_keys})
    visible = visible_paths(scenario, places)
    values = localization_maps.quantity_at(
        build(scenario.without_obstacles()),  # paths blocked to its user may be clear elsewhere
        places,
        quantity.variable,  # type: ignore[arg-type]
        active,
        localization_maps.Steering(each, bits if each and any(bits) else ()),
        visible=visible,
        headings=turned,
        as_printed=scenario.model.as_printed,
        on_progress=on_progress,
    )
    variables = {quantity.variable: variable((values,), quantity.unit, quantity.label)}
    surfaces = "surface" if len(scenario.panels) == 1 else f"{len(scenario.panels)} surfaces"
    setting = "steered at each point" if each else "in a fixed configuration"
    surface = f"{surfaces} {setting}"
    if scenario.direct != "blocked":
        surface += ", direct path"
    if any(scenario.spherical):
        surface += ", spherical waves"
    conditions = f"active antennas: {active}, {surface}{resolution}"
    return variables, np.asarray(visible.any(axis=1)), conditions


def values_of_users(
    scenario: LocalizationScenario,
    quantity: MapQuantity,
    active_antennas: int | None,
    each: bool,
    on_progress: OnProgress,
) -> tuple[Variables, np.ndarray, str]:
    """Compute `localization_values` for each user with its own position, heading and array.

    Args:
        scenario: A loaded scenario.
        quantity: The quantity of the map.
        active_antennas: Number of active antennas, for each user at most as many as fit into the
            period; default as many as fit.
        each: Whether the surfaces are steered to each user.
        on_progress: Called with the number of finished users and of all users.

    Raises:
        ValueError: ``active_antennas`` is out of range.
    """
    users = scenario.all_users
    places = np.array([user.position for user in users], dtype=float)
    if quantity.variable == "cause":
        return _causes(scenario, quantity, places)
    values, served, conditions = [], [], ""
    for i in range(len(users)):
        alone = scenario.for_user(i)
        antennas = active_antennas
        if i > 0 and antennas is not None:
            antennas = min(antennas, most_active_antennas(alone))
        variables, reached, own = localization_values(
            alone, quantity, places[i : i + 1], None, antennas, each, lambda done, total: None
        )
        (found,), attributes = variables[quantity.variable]
        values.append(found)
        served.append(reached)
        conditions = conditions or own
        on_progress(i + 1, len(users))
    whole = (np.concatenate(values),), attributes
    return {quantity.variable: whole}, np.concatenate(served), conditions


def _causes(
    scenario: LocalizationScenario, quantity: MapQuantity, places: np.ndarray
) -> tuple[Variables, np.ndarray, str]:
    """The set of paths that reaches each position, and whether it is outside all obstacles."""
    sets, value = np.unique(visible_paths(scenario, places), axis=0, return_inverse=True)
    names = [name.removeprefix("the ") for name in scenario.path_names]
    meanings = [
        ", ".join(name for name, seen in zip(names, each, strict=True) if seen) or "no path"
        for each in sets
    ]
    outside = np.ones(len(places), dtype=bool)
    for obstacle in scenario.obstacles:
        outside &= ~obstacle.contains(places)
    attributes = {"flag_meanings": "; ".join(meanings)}
    variable = (value.ravel(),), {"units": quantity.unit, "long_name": quantity.label} | attributes
    return {quantity.variable: variable}, outside, "obstacles and orientation of the surfaces"


def sensing_values(
    scenario: SensingScenario,
    quantity: MapQuantity,
    places: np.ndarray,
    each: bool,
    design: BeamformingDesign | None,
    on_progress: OnProgress,
) -> tuple[Variables, np.ndarray, str]:
    """Compute bounds for a target at each position, whether it is served, and the conditions.

    Args:
        scenario: A loaded scenario.
        quantity: The quantity of the map.
        places: The positions, [point, xyz]. [m]
        each: Whether the surfaces are steered to each position.
        design: Design for fixed steering; default that of the scenario's target.
        on_progress: Called with the number of finished positions and of all positions.

    Raises:
        ValueError: An argument is out of range.
    """
    # The designs take long to import.
    from heliostat.api.sensing import designed  # noqa: PLC0415
    from heliostat.maps import sensing as sensing_maps  # noqa: PLC0415

    scene = scenario.build()
    if each:
        if design is not None:
            raise ValueError("design is for steering 'fixed'; leave one of them out.")
        found = sensing_maps.bounds_of_designs(
            scene,
            places,
            patterns=scenario.dwell.patterns,
            min_snr=scenario.dwell.required_snr,
            on_progress=on_progress,
        )
        count = sensing_maps.REFERENCES
        conditions = f"a design for each point, from the best of {count} reference designs"
    else:
        covariance, reflection = (
            tuple(map(jnp.asarray, entries))
            for entries in patterned(designed(scenario) if design is None else design)
        )
        found = sensing_maps.bounds_at(
            scene, covariance, reflection, places, on_progress=on_progress
        )
        conditions = "one design for the scenario's target" if design is None else "a given design"
    values: dict[str, tuple[Any, ...]] = {
        "position": (found.position_bound,),
        "direction": (np.sqrt(found.crb),),
        "crb": (found.crb,),
    }
    variables = {
        QUANTITIES[name].variable: variable(entry, QUANTITIES[name].unit, QUANTITIES[name].label)
        for name, entry in values.items()
    }
    ahead = facing(scene.surfaces, places)
    variables |= {
        "direction_std": variable(
            (found.direction_std, "surface", "angle"), "rad", "bound on elevation and azimuth"
        ),
        "facing": variable((ahead, "surface"), "1", "whether a surface faces the point"),
    }
    every = each or quantity.variable != "position_bound"
    served = ahead.sum(axis=1) >= (ahead.shape[1] if every else 2)
    return variables, served, conditions


def with_one_wavefront(scenario: LocalizationScenario, places: np.ndarray) -> LocalizationScenario:
    """Return a scenario with spherical waves if any position needs them, else with plane waves.

    Args:
        scenario: A scenario; it is returned as it is unless ``model.wavefront`` is "auto".
        places: The positions, [point, xyz]. [m]
    """
    if scenario.model.wavefront != "auto":
        return scenario
    near = any(within_fraunhofer(scenario, panel, places).any() for panel in scenario.panels)
    return scenario.updated({"model.wavefront": "spherical" if near else "plane"})


def _resolution(scenario: LocalizationScenario) -> str:
    """Phase resolution of the surfaces in words, empty if all phases are continuous."""
    words = [
        "continuous" if bits is None else f"{bits} bit{'s' * (bits > 1)}"
        for bits in (panel.bits for panel in scenario.panels)
    ]
    if set(words) == {"continuous"}:
        return ""
    if len(set(words)) == 1:
        return f", phases of {words[0]}"
    each = (f"{name} {word}" for name, word in zip(scenario.panel_names, words, strict=True))
    return f", phases: {', '.join(each)}"


def within_fraunhofer(scenario: AnyScenario, surface: PanelSpec, places: np.ndarray) -> np.ndarray:
    """Return whether each position is within the Fraunhofer distance of a surface.

    Args:
        scenario: The scenario, for its wavelength.
        surface: One of its surfaces.
        places: The positions, [point, xyz]. [m]
    """
    distance = np.linalg.norm(places - np.asarray(surface.position), axis=1)
    return np.asarray(distance < surface.fraunhofer_distance(scenario.wavelength))
