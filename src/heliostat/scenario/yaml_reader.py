"""YAML reader that records line numbers, and overrides of the data it returns."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, TypeAlias

import yaml

from heliostat.scenario.errors import KeyPath, Report, ScenarioError, printable
from heliostat.units import NUMBER, quote

Overrides: TypeAlias = Mapping[str, Any]

_DEEPEST = 16
_NUMBER = re.compile(NUMBER)
_WHOLE = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})")
_CONSTANTS = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}


class Reader:
    """Reader of YAML text that records the line of every key.

    Plain scalars follow YAML 1.2: ``no`` is text, 60e9 a number and 010 is 10. Anchors, tags and
    repeated keys are errors.
    """

    def __init__(self, text: str, report: Report) -> None:
        self._text = text
        self._report = report
        self._events = yaml.parse(text, Loader=yaml.SafeLoader)

    def read(self) -> Any:
        """Return the plain data and record problems in the report.

        Raises:
            ScenarioError: The text is not valid YAML, or is nested too deeply.
        """
        data: Any = None
        documents = 0
        try:
            for event in self._events:
                documents += isinstance(event, yaml.DocumentStartEvent)
                if documents > 1:
                    self._refuse((), event, "a second document; write one scenario per file")
                    break
                if isinstance(event, yaml.NodeEvent):
                    data = self._node(event, ())
        except ScenarioError:
            raise
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._stop(getattr(mark, "line", 0) + 1, error.problem or error.context)
        except yaml.reader.ReaderError as error:
            self._stop(self._text.count("\n", 0, error.position) + 1, error.reason)
        except (yaml.YAMLError, ValueError, OverflowError) as error:  # an escape past Unicode
            self._stop(1, error)
        return data

    def _stop(self, line: int, reason: object) -> NoReturn:
        reason_text = " ".join(str(reason).split())
        self._report.refuse(
            (), f"cannot be read as YAML: {reason_text}; correct this line", line=line
        )
        raise self._report.error() from None

    def _refuse(self, path: KeyPath, event: Any, sentence: str) -> None:
        self._report.refuse(path, sentence, line=_line(event))

    def _node(self, event: Any, path: KeyPath) -> Any:
        line = _line(event)
        self._report.lines.setdefault(path, line)
        if len(path) > _DEEPEST:
            self._stop(line, f"nested more than {_DEEPEST} levels deep")
        if event.anchor is not None:
            self._refuse(path, event, "an anchor or alias (& or *); write the value itself")
        if getattr(event, "tag", None) is not None:
            self._refuse(path, event, "a tag (!); write the value alone")
        if isinstance(event, yaml.SequenceStartEvent):
            entries: list[Any] = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                entries.append(self._node(item, (*path, len(entries))))
            return entries
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        return _scalar(event) if isinstance(event, yaml.ScalarEvent) else None

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        lines = self._report.lines
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                self._refuse(path, key, "a key that is not a word; write key: value")
                self._node(key, (*path, "?"))
                self._node(next(self._events), (*path, "?"))
                continue
            name = printable(key.value)
            inner = (*path, name)
            if name in mapping:
                self._refuse(inner, key, f"repeats line {lines[inner]}; keep one of them")
                self._node(next(self._events), inner)
                continue
            lines[inner] = _line(key)
            mapping[name] = self._node(next(self._events), inner)
        return mapping


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _scalar(event: Any) -> Any:
    text = str(event.value)
    if event.style is not None:  # quoted
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def files_in(data: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield path and value of every text in plain data that ends like the name of an array file.

    Args:
        data: Plain data.
        path: Path of the data.
    """
    if isinstance(data, dict):
        for key, value in data.items():
            yield from files_in(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from files_in(value, (*path, index))
    elif isinstance(data, str) and data.strip().lower().endswith((".npy", ".npz", ".mat")):
        yield path, data


def plain(value: Any) -> Any:
    """Return a copy with lists for arrays, tuples and ranges, and printable paths and keys."""
    if isinstance(value, Mapping):
        return {printable(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(entry) for entry in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _as_typed(value: Any) -> Any:
    """Return the value of text from a command line: YAML if valid, else the text itself."""
    if not isinstance(value, str):
        return plain(value)
    report = Report("")
    try:
        read = Reader(value, report).read()
    except ScenarioError:
        return value
    return value if report.found else read


def override(data: dict[str, Any], overrides: Overrides, report: Report) -> None:
    """Apply overrides to plain data, in place."""
    if not isinstance(overrides, Mapping):
        raise TypeError(
            f"overrides is {quote(overrides)}; it must be a dict of values by dotted key, e.g. "
            "{'surface.rows': 16}."
        )
    for key, given in overrides.items():
        parts = printable(key).split(".")
        inside: Any = data
        path: KeyPath = ()
        refusal = None
        for depth, part in enumerate(parts):
            if depth > 0:
                inside = inside[path[-1]]
            path = (*path, _step(inside, part))
            if not isinstance(inside, dict) and not isinstance(path[-1], int):
                refusal = _no_entry(inside, ".".join(parts[:depth]))
                break
            if isinstance(inside, dict) and inside.get(part) is None:
                inside[part] = {}
        report.overrides[path] = f"override {printable(key)}={printable(given)}"
        if refusal is not None:
            report.refuse(path, refusal)
            continue
        try:
            inside[path[-1]] = _as_typed(given)
        except RecursionError:
            report.refuse(path, "nested too deeply; write a plain value")


def _no_entry(inside: Any, parent: str) -> str:
    """Sentence about an override of something that does not exist below a key."""
    if isinstance(inside, list) and inside:
        return f"no such entry; {parent} has the entries 0 to {len(inside) - 1}"
    return f"no such entry; {parent} has no keys below it, override {parent} itself"


def _step(inside: Any, part: str) -> str | int:
    """Return ``part`` as an index in a list, and as a key elsewhere."""
    if isinstance(inside, list) and re.fullmatch("[0-9]{1,6}", part) and int(part) < len(inside):
        return int(part)
    return part


def look_up(data: Any, path: KeyPath) -> Any:
    """Return the value at a path of plain data, None if there is none."""
    for part in path:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data
