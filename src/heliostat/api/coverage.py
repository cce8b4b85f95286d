"""Public function for maps of a bound, the rate or the SNR, for both systems."""

import json
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from heliostat.api.arguments import checked_count, described, public
from heliostat.api.map_quantities import (
    QUANTITIES,
    MapQuantity,
    OnProgress,
    localization_values,
    sensing_values,
    values_of_users,
    variable,
    within_fraunhofer,
)
from heliostat.design.result import BeamformingDesign
from heliostat.maps.area import Area, area_around, grid_points
from heliostat.scenario import AnyScenario, LocalizationScenario, SensingScenario, provenance_of
from heliostat.scenario.panels import PanelSpec
from heliostat.scene.sensing import ANGLES

SteeringChoice: TypeAlias = Literal["each point", "fixed"]


DEFAULT_POINTS = {"localization": 40_000, "quantized": 10_000, "sensing": 10_000, "design": 150}
"""Approximate default numbers of points. A bound in closed form takes a microsecond, one for
quantized phases or for a fixed design half a millisecond, and a design 0.05 to 0.2 s."""


@public(LocalizationScenario, SensingScenario)
def coverage(
    scenario: AnyScenario,
    quantity: str | None = None,
    *,
    area: ArrayLike | None = None,
    points: int | None = None,
    positions: ArrayLike | None = None,
    headings: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    at_users: bool = False,
    active_antennas: int | None = None,
    steering: SteeringChoice | None = None,
    design: BeamformingDesign | None = None,
    on_progress: OnProgress | None = None,
) -> xr.Dataset:
    """Compute a bound, the rate or the SNR over an area or at listed positions.

    All positions of an area have the height of the scenario's user or target.

    Args:
        scenario: A scenario of either system; its user or target is moved.
        quantity: "peb" [m], "reb" [rad], "rate" [bit/s], "snr" [1] or "cause" for localization,
            default "peb"; "position" [m], "direction" [rad] or "crb" [rad²] for sensing, default
            "position". "cause" is the set of paths that reach a point, as an index into the sets
            that the attribute ``flag_meanings`` lists, separated by "; ".
        area: Rectangle (x0, x1, y0, y1), or corners of a polygon, [corner, 2]; default a rectangle
            around the scene. [m]
        points: Approximate number of points in the rectangle, or in the bounding box of the
            polygon; default 40,000 for localization, 10,000 with quantized phases at each point or
            spherical waves and for one sensing design, 150 for a sensing design at each point.
        positions: Positions in place of an area, [place, 2 or 3]; the default height is that of the
            user or the target. [m]
        headings: Heading of the user at each position; default that of the scenario. [rad]
        names: Names of the positions; default their numbers.
        at_users: Compute the quantity for the users of a localization scenario, each with its own
            position, heading and array, in place of an area.
        active_antennas: Number of active antennas for localization; default as many as fit into the
            period.
        steering: "each point" to steer the surface to each position (with the best quantized phases
            if the scenario has ``surface.bits``; for sensing, with a separate design for each
            position), or "fixed" for the configuration of the scenario. Default "each point" for
            localization with designed phases and without ``surface.focus``, otherwise "fixed".
        design: Design for a sensing scenario with steering "fixed"; default the result of
            `design_beamforming` for the scenario's target.
        on_progress: Function called with the number of finished positions and the total number.

    Returns:
        The quantity with its unit, over y and x, or over place; for sensing all three quantities.
        ``served`` is true where a bound can exist: where a path reaches a user; in front of enough
        surfaces for a target; and, if a polygon is given, only within it. ``near_field`` is true
        for positions within the Fraunhofer distance of a surface if plane waves are assumed, where
        the bound may be wrong. The dataset also contains the positions of the base station, of the
        surfaces and of the user, all users or the target [m], and the normals of the surfaces [1].

    Raises:
        TypeError: The argument is not a scenario.
        ValueError: An argument is out of range or belongs to the other system.
    """
    chosen = _quantity(scenario, quantity)
    each = _steers_each(scenario, steering)
    advance: OnProgress = on_progress or (lambda done, total: None)
    if at_users:
        if any(given is not None for given in (area, points, positions, headings, names)):
            raise ValueError(
                "at_users replaces area, points, positions, headings and names; leave those out."
            )
        if not isinstance(scenario, LocalizationScenario):
            raise ValueError("at_users is for localization scenarios; leave it out.")
        positions = [user.position for user in scenario.all_users]
        names = scenario.user_names
    places, axes = places_of(scenario, area, points, positions, names, each)
    dims = ("place",) if positions is not None else ("y", "x")
    shape = tuple(len(axes[dim][1]) for dim in dims)
    if isinstance(scenario, LocalizationScenario):
        if design is not None:
            raise ValueError(
                f"design is for sensing scenarios; {scenario.name} is a localization scenario."
            )
        if at_users:
            variables, served, conditions = values_of_users(
                scenario, chosen, active_antennas, each, advance
            )
        else:
            variables, served, conditions = localization_values(
                scenario, chosen, places, headings, active_antennas, each, advance
            )
    else:
        if active_antennas is not None or headings is not None:
            raise ValueError(
                "active_antennas and headings are for localization scenarios; leave them out."
            )
        variables, served, conditions = sensing_values(
            scenario, chosen, places, each, design, advance
        )
    polygon = {}
    if area is not None and np.ndim(area) == 2:
        served &= inside_polygon(np.asarray(area, dtype=float), places)
        polygon = {"polygon": np.ravel(np.asarray(area, dtype=float))}
    variables |= {
        "served": variable((served,), "1", "whether a bound can exist"),
        "near_field": variable(
            (_near_field(scenario, places),), "1", "within the Fraunhofer distance of a surface"
        ),
    }
    unfolded = {
        name: ((*dims, *inner), values.reshape(*shape, *values.shape[1:]), attributes)
        for name, ((values, *inner), attributes) in variables.items()
    }
    nodes, user = _nodes(scenario)
    data = xr.Dataset(
        unfolded | nodes,
        axes | ({"angle": list(ANGLES)} if scenario.system == "sensing" else {}),
    )
    data.attrs = {
        "title": f"{scenario.name}: {chosen.label}; {conditions}",
        "quantity": chosen.variable,
        "steering": "each point" if each else "fixed",
        "moved": user,
        "obstacles": _outlines(scenario),
        "seed": scenario.link.seed,
        **provenance_of(scenario),
        **polygon,
    }
    return data


def _outlines(scenario: AnyScenario) -> str:
    """Names and footprints of the obstacles, as JSON."""
    found = scenario.obstacles if isinstance(scenario, LocalizationScenario) else ()
    return json.dumps([{"name": each.name, "footprint": each.footprint} for each in found])


def steers_each_by_default(scenario: AnyScenario) -> bool:
    """Return whether the surface is steered to each position by default, see `coverage`."""
    return isinstance(scenario, LocalizationScenario) and all(
        panel.phases == "designed" and panel.focus is None for panel in scenario.panels
    )


def default_area(scenario: AnyScenario) -> Area:
    """Return a rectangle that contains all nodes of the scene, with a margin."""
    nodes, _ = _nodes(scenario)
    return area_around(np.vstack([nodes[name][1] for name in nodes if name != "normals"]))


# Arguments ---------------------------------------------------------------------------------------


def _quantity(scenario: AnyScenario, name: str | None) -> MapQuantity:
    own = {key: q for key, q in QUANTITIES.items() if q.system == scenario.system}
    if name is None:
        return next(iter(own.values()))
    if name not in own:
        raise ValueError(
            f"quantity is {described(name)}; {scenario.name} is a {scenario.system} scenario, for "
            f"which it must be one of {', '.join(own)}."
        )
    return own[name]


def _steers_each(scenario: AnyScenario, steering: str | None) -> bool:
    if steering is None:
        return steers_each_by_default(scenario)
    if steering not in get_args(SteeringChoice):
        raise ValueError(f"steering is {described(steering)}; it must be 'each point' or 'fixed'.")
    if (
        steering == "each point"
        and isinstance(scenario, LocalizationScenario)
        and (keys := _undesigned(scenario))
    ):
        raise ValueError(
            f"steering is 'each point', but {keys[0]}.phases of this scenario are not designed; "
            "give 'fixed'."
        )
    return steering == "each point"


def _undesigned(scenario: LocalizationScenario) -> list[str]:
    """Keys of the surfaces whose phases are not designed."""
    panels = zip(scenario.panel_keys, scenario.panels, strict=True)
    return [key for key, panel in panels if panel.phases != "designed"]


def places_of(
    scenario: AnyScenario,
    area: ArrayLike | None,
    points: int | None,
    positions: ArrayLike | None,
    names: Sequence[str] | None,
    each: bool,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return all positions, row by row of an area, and the coordinates of the dataset.

    Args:
        scenario: A scenario.
        area: See `coverage`.
        points: See `coverage`.
        positions: See `coverage`.
        names: See `coverage`.
        each: Whether the surface is steered to each position, for the default number of points.

    Raises:
        ValueError: An argument is out of range.
    """
    moved = scenario.user if isinstance(scenario, LocalizationScenario) else scenario.target
    height = float(moved.position[2])
    if positions is not None:
        if area is not None or points is not None:
            raise ValueError("positions replace area and points; leave those out.")
        places = np.asarray(positions, dtype=float)
        if places.ndim != 2 or places.shape[1] not in (2, 3) or not len(places):
            raise ValueError(
                f"positions has the shape {places.shape}; it needs (place, 2) or (place, 3), x, y "
                "and z in meters."
            )
        if places.shape[1] == 2:
            places = np.column_stack([places, np.full(len(places), height)])
        if not np.isfinite(places).all():
            raise ValueError("positions contains numbers that are not finite.")
        labels = [str(i) for i in range(len(places))] if names is None else list(names)
        if len(labels) != len(places):
            raise ValueError(
                f"names has {len(labels)} entries for {len(places)} positions; give one for each."
            )
        names_axis: dict[str, Any] = {"place": ("place", labels)}
        return places, names_axis | {
            axis: ("place", places[:, i], {"units": "m"}) for i, axis in enumerate("xyz")
        }
    if names is not None:
        raise ValueError("names are for positions; leave them out.")
    if points is None:
        kind: str = scenario.system
        if each and isinstance(scenario, SensingScenario):
            kind = "design"
        elif isinstance(scenario, LocalizationScenario) and (
            scenario.model.wavefront != "plane"
            or (each and any(panel.bits for panel in scenario.panels))
        ):
            kind = "quantized"
        points = DEFAULT_POINTS[kind]
    x, y = _rectangle(scenario, area).cells(checked_count("points", points))
    axes = {"x": ("x", x, {"units": "m"}), "y": ("y", y, {"units": "m"})}
    return grid_points(x, y, height), axes | {"z": ((), height, {"units": "m"})}


def _rectangle(scenario: AnyScenario, area: ArrayLike | None) -> Area:
    if area is None:
        return default_area(scenario)
    corners = np.asarray(area, dtype=float)
    polygon = corners.ndim == 2 and corners.shape[1] == 2 and len(corners) >= 3
    if not (polygon or corners.shape == (4,)):
        raise ValueError(
            f"area has the shape {corners.shape}; it needs 4 numbers, x0, x1, y0, y1 in meters, or "
            "(corner, 2) with 3 corners or more."
        )
    if polygon:
        low, high = corners.min(axis=0), corners.max(axis=0)
        corners = np.array([low[0], high[0], low[1], high[1]])
    x0, x1, y0, y1 = (float(end) for end in corners)
    if not (np.isfinite(corners).all() and x0 < x1 and y0 < y1):
        raise ValueError(f"area from {x0:g} to {x1:g} and {y0:g} to {y1:g} has no extent.")
    return Area(x0, x1, y0, y1)


def inside_polygon(corners: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return whether each position lies within a polygon.

    Args:
        corners: Corners of the polygon, [corner, 2]. [m]
        places: The positions, [position, 2 or 3]. [m]
    """
    from matplotlib.path import Path  # noqa: PLC0415

    return Path(corners).contains_points(places[:, :2])


def _near_field(scenario: AnyScenario, places: np.ndarray) -> np.ndarray:
    """Whether each position is in the near field of a surface whose waves are assumed plane."""
    near = np.zeros(len(places), dtype=bool)
    if isinstance(scenario, LocalizationScenario) and scenario.model.wavefront != "plane":
        return near
    for surface in _surfaces(scenario):
        near |= within_fraunhofer(scenario, surface, places)
    return near


def _surfaces(scenario: AnyScenario) -> Sequence[PanelSpec]:
    return scenario.panels if isinstance(scenario, LocalizationScenario) else scenario.surfaces


def _nodes(scenario: AnyScenario) -> tuple[dict[str, Any], str]:
    """Positions of the nodes, normals of the surfaces, and the name of the node that is moved."""
    surfaces = _surfaces(scenario)
    moved: Any
    if not isinstance(scenario, LocalizationScenario):
        name, moved = "target", ("xyz", scenario.target.position)
    elif scenario.users is None:
        name, moved = "user", ("xyz", scenario.user.position)
    else:
        name, moved = "user", (("listed_user", "xyz"), [u.position for u in scenario.users])
    meters = {"units": "m"}
    nodes = {
        "base_station": ("xyz", np.asarray(scenario.base_station.position, dtype=float), meters),
        "surfaces": (("surface", "xyz"), np.array([s.position for s in surfaces], float), meters),
        "normals": (
            ("surface", "xyz"),
            np.array([s.facing for s in surfaces], float),
            {"units": "1"},
        ),
        name: (moved[0], np.asarray(moved[1], dtype=float), meters),
    }
    return nodes, name
