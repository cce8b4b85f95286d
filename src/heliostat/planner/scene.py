"""Description of a scenario for the page: objects, walls, and fields with their meaning."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import numpy as np
import yaml
from pydantic.fields import FieldInfo

from heliostat.geometry.walls import walls_of
from heliostat.scenario import SYSTEMS, AnyScenario, LocalizationScenario
from heliostat.scenario.fields import Section
from heliostat.scenario.panels import PanelSpec
from heliostat.scenario.validation import example, field_kinds, is_list, section_type


def scene_of(scenario: AnyScenario) -> dict[str, Any]:
    """Return what the page draws: the objects with their keys, obstacles, and walls."""
    obstacles = scenario.obstacles if isinstance(scenario, LocalizationScenario) else ()
    walls = [
        {
            "name": wall.name,
            "start": wall.start.tolist(),
            "end": wall.end.tolist(),
            "azimuth_deg": float(np.degrees(wall.azimuth)),
        }
        for obstacle in obstacles
        for wall in walls_of(
            obstacle.name,
            np.asarray(obstacle.footprint, dtype=float),
            obstacle.base,
            obstacle.base + obstacle.height,
            scenario.site.bearing,
        )
    ]
    return {
        "name": scenario.name,
        "system": scenario.system,
        "objects": list(_objects(scenario)),
        "obstacles": [
            {"name": each.name, "footprint": [list(corner) for corner in each.footprint]}
            for each in obstacles
        ],
        "walls": walls,
    }


def _objects(scenario: AnyScenario) -> Iterator[dict[str, Any]]:
    """Yield key, kind, name and position of each object, and the normal of each surface."""
    yield _object("base_station", "base station", "base station", scenario.base_station.position)
    if isinstance(scenario, LocalizationScenario):
        names = [name.removeprefix("the ") for name in scenario.panel_names]
        panels: list[tuple[str, str, PanelSpec]] = list(
            zip(scenario.panel_keys, names, scenario.panels, strict=True)
        )
        users = zip(scenario.user_keys, scenario.user_names, scenario.all_users, strict=True)
        moved = [(key, name.removeprefix("the "), user.position) for key, name, user in users]
    else:
        panels = [
            (f"surfaces.{i}", f"surface {i}", panel) for i, panel in enumerate(scenario.surfaces)
        ]
        moved = [("target", "target", scenario.target.position)]
    for key, name, panel in panels:
        yield _object(key, "surface", name, panel.position) | {
            "normal": list(panel.facing),
            "vectors": panel.turned_by == "horizontal",
        }
    for key, name, position in moved:
        yield _object(key, "target" if key == "target" else "user", name, position)


def _object(key: str, kind: str, name: str, position: tuple[float, ...]) -> dict[str, Any]:
    return {"key": key, "kind": kind, "name": name, "position": list(position)}


def fields_of(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the fields of a scenario in groups, with values, meanings and examples.

    Args:
        data: The sections as plain data with all defaults; they need not be valid.
    """
    system = SYSTEMS[data["system"]]
    groups: list[dict[str, Any]] = []
    for name, info in system.model_fields.items():
        kind, value = section_type(info), data.get(name)
        if kind is None or (name in ("surface", "surfaces", "user", "users") and value is None):
            continue
        if not is_list(info):
            groups.append(_group(name, name, kind, value))
            continue
        listed = value if isinstance(value, list) else []
        if name != "obstacles":
            for i, entry in enumerate(listed):
                own = entry.get("name") if isinstance(entry, dict) else None
                groups.append(_group(f"{name}.{i}", own or f"{name}.{i}", kind, entry))
        text = yaml.safe_dump(value or [], sort_keys=False, default_flow_style=None, width=60)
        whole = {"key": name, "label": name, "value": text, "help": info.description, "long": True}
        title = f"all {name}" if name != "obstacles" else name
        groups.append({"key": name, "title": title, "help": info.description, "fields": [whole]})
    return groups


def _group(key: str, title: str, kind: type[Section], values: Any) -> dict[str, Any]:
    """Fields of one section."""
    given = values if isinstance(values, dict) else {}
    fields = []
    for name, info in kind.model_fields.items():
        fields.append(
            {
                "key": f"{key}.{name}",
                "label": name.replace("_", " "),
                "value": "" if given.get(name) is None else _flow(given[name]),
                "help": info.description or "",
                "example": _flow(example(kind, (name,))),
                "choices": _choices(info),
                "whole": _is_whole(info),
            }
        )
    help_text = (kind.__doc__ or "").strip().splitlines()[0]
    return {"key": key, "title": title.replace("_", " "), "help": help_text, "fields": fields}


def _choices(info: FieldInfo) -> list[str]:
    """Values of a field that allows only a few; empty for others."""
    kinds = field_kinds(info)
    if bool in kinds:
        return ["true", "false"]
    if any(kind in kinds for kind in (int, float, str)):
        return []
    found = [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    optional = [""] if type(None) in kinds else []
    return [*optional, *map(str, found)]


def _is_whole(info: FieldInfo) -> bool:
    """Whether a field takes whole numbers only."""
    kinds = field_kinds(info)
    return int in kinds and float not in kinds


def _flow(value: Any) -> str:
    """Return plain data as one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
