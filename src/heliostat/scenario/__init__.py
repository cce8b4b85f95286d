"""Scenario files: reading, checking, and building the scene that the equations use.

A scenario is a YAML file of quantities with units. `loading` finds the file, `yaml_reader` reads it
with line numbers and applies overrides, and `validation` checks the result against the models of
the system and reports all problems in one error (`errors`). The models consist of `fields`; `base`
and `panels` hold what the scenarios and the surfaces of both systems have in common. In
`localization` and `sensing`, `schema` defines the keys and their defaults, `checks` the conditions
on several keys, and `build` makes the scene. Only `build` and the checks of a channel file need
JAX.
"""

from heliostat.scenario.base import Scenario
from heliostat.scenario.errors import Clash, Problem, ScenarioError
from heliostat.scenario.loading import (
    SYSTEMS,
    AnyScenario,
    ScenarioLike,
    any_scenario,
    load,
    of_system,
    parse,
    provenance_of,
    scenario_names,
    scenario_schema,
    scenario_summary,
    scenario_text,
    template_text,
)
from heliostat.scenario.localization.checks import LocalizationScenario
from heliostat.scenario.sensing.checks import SensingScenario

__all__ = [
    "SYSTEMS",
    "AnyScenario",
    "Clash",
    "LocalizationScenario",
    "Problem",
    "Scenario",
    "ScenarioError",
    "ScenarioLike",
    "SensingScenario",
    "any_scenario",
    "load",
    "of_system",
    "parse",
    "provenance_of",
    "scenario_names",
    "scenario_schema",
    "scenario_summary",
    "scenario_text",
    "template_text",
]
