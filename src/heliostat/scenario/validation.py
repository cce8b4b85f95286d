"""Validation of plain data against the models of a system, with one sentence per problem.

The errors of pydantic for single fields are translated. Conditions on several fields are checked
even if some fields are invalid: examples replace the invalid values, and violations that involve
them are not reported.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from heliostat.scenario.errors import Clash, ClashError, KeyPath, Report, dotted, undotted
from heliostat.scenario.fields import QuantityError, Section
from heliostat.scenario.yaml_reader import Overrides, look_up, override, plain
from heliostat.units import quote

AnySystem = TypeVar("AnySystem", bound=Section)

_WRONG = {
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_type": "is not a plain number",
    "finite_number": "is not finite",
    "greater_than": "is not above {gt:g}",
    "greater_than_equal": "is below {ge:g}",
    "less_than": "is not below {lt:g}",
    "less_than_equal": "is above {le:g}",
    "bool_type": "is neither true nor false",
    "bool_parsing": "is neither true nor false",
    "string_type": "is not a word",
    "literal_error": "is not one of {expected}",
    "dict_type": "is not a group of keys",
    "tuple_type": "is not a list",
    "missing": "has too few entries",
    "too_short": "has too few entries",
    "too_long": "has too many entries",
    "model_type": "is not a group of keys",
}
_NO_SUCH_KEY = "no such key"


def examine(
    data: Any,
    overrides: Overrides,
    report: Report,
    systems: Mapping[str, type[AnySystem]],
    context: Mapping[str, Any],
) -> AnySystem:
    """Apply overrides to plain data, in place, and validate the result.

    Args:
        data: Plain data read from a file.
        overrides: Values by dotted key.
        report: Line numbers of the data.
        systems: Models by the value of the key ``system``.
        context: Validation context for the model.

    Raises:
        ScenarioError: The data are invalid; lists all problems.
    """
    if not isinstance(data, dict):
        wrong = "is not a mapping of keys" if data is not None else "the file is empty"
        report.refuse((), f"{wrong}; `heliostat new` writes a scenario template")
        raise report.error()
    override(data, overrides, report)
    known, wanted = " or ".join(systems), data.get("system")
    system = systems.get(wanted) if isinstance(wanted, str) else None
    if system is not None:
        return check(system, data, report, context)
    if wanted is None:
        report.refuse(("system",), f"missing; add system: {known}")
    else:
        value = quote(wanted)
        report.refuse(("system",), f"{value} is not a known system; write {known}", value)
    raise report.error()


def check(
    model: type[AnySystem], data: Any, report: Report, context: Mapping[str, Any] | None = None
) -> AnySystem:
    """Return an instance of a model, made from plain data.

    Args:
        model: Model of the whole file.
        data: Plain data as read from the file.
        report: Collects the problems with their places; it may hold some already.
        context: Validation context of the model.

    Raises:
        ScenarioError: The report holds at least one problem.
    """
    checked, errors, clashes = _judge(model, data, context or {})
    if errors:
        _, _, clashes = _judge(model, _repaired(model, data, errors), context or {})
    for path, sentence in errors.items():
        report.refuse(path, sentence, _written_at(data, path))
    for clash in clashes:
        if not _concerns(clash, errors):
            path = undotted(clash.field)
            report.refuse(path, clash.sentence, _written_at(data, path))
    if checked is None or report.found:
        raise report.error()
    return checked


def _judge(
    system: type[AnySystem], data: Any, context: Mapping[str, Any]
) -> tuple[AnySystem | None, dict[KeyPath, str], list[Clash]]:
    """Return the scenario, or errors by field, or violated conditions if all fields are valid."""
    try:
        return system.model_validate(data, context=context), {}, []
    except ValidationError as error:
        errors: dict[KeyPath, str] = {}
        clashes: list[Clash] = []
        for item in error.errors(include_url=False):
            cause = item.get("ctx", {}).get("error")
            if isinstance(cause, ClashError):
                clashes += cause.clashes
            else:
                path, sentence = _translate(system, item, data)
                errors.setdefault(path, sentence)
        # A list with invalid entries also counts as too short.
        owners = {path[:length] for path in errors for length in range(1, len(path))}
        short = {
            tuple(i["loc"]) for i in error.errors(include_url=False) if i["type"] == "too_short"
        }
        for path in short & owners:
            errors.pop(path, None)
        return None, errors, clashes


def _translate(system: type[Section], item: Any, data: Any) -> tuple[KeyPath, str]:
    """Return the path of the field in a pydantic error, and a sentence about it."""
    path, kind, context = tuple(item["loc"]), item["type"], item.get("ctx", {})
    if kind == "missing" and isinstance(path[-1], str):
        return path, f"missing; add e.g. {path[-1]}: {_flow(example(system, path))}"
    if kind in ("extra_forbidden", "invalid_key"):
        return path, _unknown_key(system, path)
    entry: list[str] = []
    while path and isinstance(path[-1], int) and not _is_group(system, path):
        entry.insert(0, str(path[-1] + 1))
        path = path[:-1]
    if kind == "value_error":
        return path, _with_own_example(context["error"], example(system, path))
    value = quote(item["input"])
    if entry:
        whole = quote(look_up(data, path))
        value = whole if kind == "missing" else f"in {whole}, entry {'.'.join(entry)}, {value},"
    wrong = _WRONG.get(kind, "is not understood").format(**context)
    return path, f"{value} {wrong}; write e.g. {_flow(example(system, path))}"


def _with_own_example(error: ValueError, own: Any) -> str:
    """Return the sentence of an error with the field's example in place of its dimension's."""
    if isinstance(error, QuantityError) and isinstance(own, str):
        return str(error).replace(f"e.g. {error.example}", f"e.g. {own}")
    return str(error)


def _unknown_key(system: type[Section], path: KeyPath) -> str:
    last = str(path[-1])
    section = dotted(tuple(part for part in path[:-1] if isinstance(part, str)))
    split = [name.rpartition(".")[::2] for name in dotted_keys(system)]
    words = difflib.get_close_matches(last, {word for _, word in split}, cutoff=0.7)
    near = [(above, word) for above, word in split if word in words]
    near = [pair for pair in near if pair[0] == section] or near
    if near:
        here = dotted(path[:-1])
        near = [(here if above == section else above, word) for above, word in near]
        names = " or ".join(".".join(filter(None, pair)) for pair in near[:3])
        return f"{_NO_SUCH_KEY}; did you mean {names}?"
    siblings = ", ".join(word for above, word in split if above == section)
    owner = dotted(path[:-1]) or system.model_config.get("title", "a scenario")
    return f"{_NO_SUCH_KEY}; {owner} has {siblings or 'no keys'}"


def _flow(value: Any) -> str:
    """Return plain data as one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).split("\n")[0]


def _written_at(data: Any, path: KeyPath) -> str:
    value = look_up(data, path)
    return "" if value is None else quote(value)


def _repaired(system: type[Section], data: Any, errors: Mapping[KeyPath, str]) -> Any:
    """Return a copy with examples in place of invalid values and without unknown keys."""
    copy = plain(data)
    for path, sentence in errors.items():
        if not path:  # about the file as a whole
            continue
        owner = look_up(copy, path[:-1])
        if sentence.startswith(_NO_SUCH_KEY):
            owner.pop(path[-1])
        else:
            owner[path[-1]] = example(system, path)
    return copy


def _concerns(clash: Clash, broken: Iterable[KeyPath]) -> bool:
    """Whether a condition involves an invalid field."""
    return any(
        f"{name}.".startswith(f"{dotted(path)}.") or dotted(path).startswith(f"{name}.")
        for name in (clash.field, *clash.others)
        for path in broken
    )


def section_type(info: FieldInfo) -> type[Section] | None:
    """Return the section type of a field, or of the entries of its list."""
    return next(
        (
            kind
            for kind in field_kinds(info)
            if isinstance(kind, type) and issubclass(kind, Section)
        ),
        None,
    )


def field_kinds(info: FieldInfo) -> list[Any]:
    """Return the types that a field may have, and those of the entries of its list."""
    kinds = [info.annotation]
    for kind in kinds:  # grows meanwhile
        kinds += get_args(kind)
    return kinds


def is_list(info: FieldInfo) -> bool:
    """Whether a field is a list of sections."""
    return section_type(info) is not None and any(
        get_origin(kind) is tuple for kind in field_kinds(info)
    )


def _is_group(system: type[Section], path: KeyPath) -> bool:
    """Whether the list entry at a path is a section."""
    field = tuple(part for part in path if isinstance(part, str))
    return isinstance(example(system, field), list) and isinstance(example(system, path), dict)


def dotted_keys(system: type[Section]) -> Iterator[str]:
    """Yield all dotted keys of a system, each section before its keys."""
    for name, info in system.model_fields.items():
        yield name
        if nested := section_type(info):
            yield from (f"{name}.{inner}" for inner in dotted_keys(nested))


def example(system: type[Section], path: KeyPath) -> Any:
    """Return a valid value of the field at a path; for a section its required keys.

    An index selects an entry of a list of sections and is ignored within any other value.
    """
    section, listed = system, False
    found: Any = None
    for name in path:
        if isinstance(name, int):
            found, listed = found[0] if listed else found, False
            continue
        if (info := section.model_fields.get(name)) is None:  # a key within a plain mapping
            continue
        if nested := section_type(info):
            section, listed = nested, is_list(info)
            musts = (k for k, inner in nested.model_fields.items() if inner.is_required())
            found = {must: example(nested, (must,)) for must in musts}
        else:
            listed = False
        if nested is None or info.examples:
            found = (info.examples or [None])[0]
    return found
