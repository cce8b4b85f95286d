"""What a person writes about a system, checked, and turned into the scene the equations see.

A scenario is a YAML file of quantities with units. `loading` finds it, `reading` makes plain data
of it that remember their lines and lays overrides over them, `examination` holds them against the
models of the system, and what is wrong goes into one error of `errors`, all at once. The models
are made of `fields`; `base` has what the scenarios of all systems share, `panels` what their
surfaces share. Of the localization system, `localization_sections` has the keys and their defaults,
`localization` judges how they fit together, and `localization_scene` builds the scene: nothing
before that needs JAX. The sensing system is cut in the same way; only a file of channels needs JAX
to be judged.
"""

from heliostat.scenario.base import Scenario
from heliostat.scenario.errors import Clash, Problem, ScenarioError
from heliostat.scenario.loading import (
    SYSTEMS,
    AnyScenario,
    load,
    of_system,
    parse,
    scenario_names,
    scenario_schema,
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
    "SensingScenario",
    "load",
    "of_system",
    "parse",
    "scenario_names",
    "scenario_schema",
    "scenario_text",
    "template_text",
]
