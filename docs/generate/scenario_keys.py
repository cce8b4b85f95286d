"""Tables of all scenario keys in Markdown, from the JSON Schema of the scenarios."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from heliostat.scenario import SYSTEMS, scenario_schema
from heliostat.units import DIMENSIONS

_UNITS = re.compile(r"\\s\*\((.*?)\)\\s\*\$(?:\|\^(\w+)\$)?")
"""The units in the pattern of a quantity, and the word that may stand in its place."""
_LARGEST = 1e8
"""Limit of plain numbers that only excludes typing errors; it is not shown."""


def scenario_keys(system: str) -> str:
    """Return headings and tables of all keys of a system's scenarios.

    Args:
        system: A name of `heliostat.scenario.SYSTEMS`.
    """
    definitions = scenario_schema()["$defs"]
    top = definitions[SYSTEMS[system].__name__]
    seen: set[str] = set()
    sections = []
    plain = {}
    for name, field in top["properties"].items():
        target, many = _section(field)
        if target is None or target in seen:
            plain[name] = field
        else:
            seen.add(target)
            sections.append((f"{name}.0" if many else name, target, field))
    lines = _table("", plain, top)
    for name, target, field in sections:
        section = definitions[target]
        lines += [f"### {system}: {name.removesuffix('.0')}", "", section["description"], ""]
        if name.endswith(".0"):
            lines += [f"A list; the keys of its first entry are `{name}.` and so on.", ""]
        if "description" in field:
            lines += [field["description"], ""]
        lines += _table(f"{name}.", section["properties"], section)
    return "\n".join(lines)


def units() -> str:
    """Return a table of the units of each kind of quantity."""
    rows = ["| quantity | units | example |", "|---|---|---|"]
    for name, dimension in DIMENSIONS.items():
        allowed = ", ".join(f"`{unit}`" for unit in dimension.units)
        rows.append(f"| {name} | {allowed} | `{dimension.example}` |")
    return "\n".join(rows)


def _table(prefix: str, fields: Mapping[str, Any], section: Mapping[str, Any]) -> list[str]:
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        default = "required" if name in section.get("required", []) else _default(field)
        cells = [f"`{prefix}{name}`", _value(field), default, _escaped(_description(field))]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _section(field: Mapping[str, Any]) -> tuple[str | None, bool]:
    """Definition that a field refers to, and whether the field is a list of them."""
    for option in _options(field):
        if "$ref" in option:
            return option["$ref"].rpartition("/")[2], False
        if "$ref" in option.get("items", {}):
            return option["items"]["$ref"].rpartition("/")[2], True
    return None, False


def _options(field: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Alternatives of a field, without null."""
    options = field.get("anyOf", [field])
    return (option for option in options if option.get("type") != "null")


def _description(field: Mapping[str, Any]) -> str:
    target, _ = _section(field)
    text = str(field.get("description", ""))
    return f"{text} Keys as below." if target else text


def _default(field: Mapping[str, Any]) -> str:
    default = field.get("default")
    if default is None:
        return "see meaning" if "efault" in field.get("description", "") else "none"
    return _code(default)


def _value(field: Mapping[str, Any]) -> str:
    example = field.get("examples", [""])[0]
    return " or ".join(_kind(option, example) for option in _options(field))


def _kind(option: Mapping[str, Any], example: object) -> str:
    if "$ref" in option:
        return "section"
    if words := option.get("enum", [option["const"]] if "const" in option else []):
        return ", ".join(f"`{word}`" for word in words)
    if found := _UNITS.search(option.get("pattern", "")):
        units, word = found[1].replace(r"\/", "/").split("|"), found[2]
        name = next(n for n, d in DIMENSIONS.items() if set(d.units) == set(units))
        shown = DIMENSIONS[name].example if example == word else example
        return f"{name}, e.g. `{shown}`" + (f", or `{word}`" if word else "")
    kind = option["type"]
    if kind == "array":
        return _list(option)
    if kind in ("integer", "number"):
        return f"{kind}{_range(option)}"
    return {"string": "text", "boolean": "`true`, `false`"}[kind]


def _list(option: Mapping[str, Any]) -> str:
    entries = option.get("prefixItems")
    if entries:
        return f"{len(entries)} numbers{_range(entries[0])}"
    inner = option["items"]
    if "$ref" in inner:
        return "list of sections"
    return f"list, each {_list(inner)}" if inner.get("type") == "array" else "list"


def _range(option: Mapping[str, Any]) -> str:
    low = option.get("minimum", option.get("exclusiveMinimum"))
    high = option.get("maximum", option.get("exclusiveMaximum"))
    above = "exclusiveMinimum" in option
    parts = []
    if low is not None and abs(low) < _LARGEST:
        parts.append(f"{'above' if above else 'from'} {low:g}")
    if high is not None and high < _LARGEST:
        parts.append(f"{'below' if 'exclusiveMaximum' in option else 'to'} {high:g}")
    return " " + " ".join(parts) if parts else ""


def _code(value: object) -> str:
    if isinstance(value, str):
        return f"`{value}`"
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).strip()
    return f"`{text.removesuffix('...').strip()}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("[", "\\[").replace("*", "\\*")
