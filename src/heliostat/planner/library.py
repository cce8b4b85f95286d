"""Scenarios that the page opens: packaged ones, the one given at the start, and uploaded text."""

import copy
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

from heliostat.scenario import AnyScenario, Problem, ScenarioError, load, parse, scenario_names
from heliostat.scenario.errors import KeyPath, Report, dotted
from heliostat.scenario.yaml_reader import Reader, files_in, override

KEPT = 16
"""Number of uploaded scenarios that are kept in memory."""


class Library:
    """Scenarios by name or text, and the same with overrides."""

    def __init__(self, own: AnyScenario | None = None) -> None:
        self.own = own
        self._base = lru_cache(KEPT)(self._read)

    def scenario(self, name: str, text: str | None, overrides: Mapping[str, Any]) -> AnyScenario:
        """Return a checked scenario.

        Args:
            name: Name of the scenario; without a text a packaged one or `own`.
            text: YAML of an uploaded scenario.
            overrides: Values by dotted key, as for `heliostat.load`.

        Raises:
            ScenarioError: The scenario is invalid, or names a file that it did not name before.
        """
        base, data = self._base(name, text)
        if not overrides:
            return base
        _refuse_files(self.written(name, text, overrides), name, known=set(files_in(data)))
        return base.updated(overrides)

    def written(self, name: str, text: str | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sections of a scenario as plain data with overrides, without checking them.

        Raises:
            ScenarioError: The scenario without overrides is invalid.
        """
        data = copy.deepcopy(self._base(name, text)[1])
        override(data, overrides, Report(name))
        return data

    def written_as(self, name: str, text: str | None) -> str:
        """Return the name by which `heliostat.load` finds a scenario: a packaged one, or its file.

        Raises:
            ScenarioError: There is no such scenario.
        """
        packaged = text is None and name in scenario_names()
        return name if packaged and self._base(name, None)[0] == load(name) else f"{name}.yaml"

    def _read(self, name: str, text: str | None) -> tuple[AnyScenario, Any]:
        """Return a scenario without overrides, and its sections as plain data."""
        base = self._loaded(name, text)
        return base, yaml.safe_load(base.dump())

    def _loaded(self, name: str, text: str | None) -> AnyScenario:
        if text is not None:
            _refuse_files(Reader(text, Report(name)).read(), name, known=set())
            return parse(text, name=name)
        if self.own is not None and name == self.own.name:
            return self.own
        if name not in scenario_names():  # a path is not opened
            raise ScenarioError([Problem("planner", "", name, "there is no such scenario")])
        return load(name)


def problems_of(error: ScenarioError) -> list[dict[str, str]]:
    """Return the problems of a scenario for the page: field, value and sentence of each."""
    return [
        {"field": problem.field, "value": problem.value, "sentence": problem.sentence}
        for problem in error.problems
    ]


def _refuse_files(data: Any, name: str, known: set[tuple[KeyPath, str]]) -> None:
    """Refuse sections that name a file; the page must not make the server read files.

    Args:
        data: The sections.
        name: Name of the scenario.
        known: Files that the scenario given at the start names itself, with their places.

    Raises:
        ScenarioError: A file is named that is not known.
    """
    sentence = "the planner reads no files; give the scenario file to heliostat plan instead"
    found = [
        Problem(name, dotted(path), file, sentence)
        for path, file in files_in(data)
        if (path, file) not in known
    ]
    if found:
        raise ScenarioError(found)


def key_of(name: str, text: str | None, overrides: Mapping[str, Any]) -> str:
    """Return text that is equal for equal scenarios."""
    return json.dumps([name, text, overrides], sort_keys=True)
