"""Where scenarios come from: files, text, and the scenarios that come with the package."""

import difflib
import os
import stat
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic.json_schema import models_json_schema

from heliostat.scenario.errors import Problem, Report, ScenarioError, printable
from heliostat.scenario.localization.checks import LocalizationScenario
from heliostat.scenario.sensing.checks import SensingScenario
from heliostat.scenario.validation import examine
from heliostat.scenario.yaml_reader import Overrides, Reader

AnyScenario: TypeAlias = LocalizationScenario | SensingScenario
"""A scenario of any system that is known here."""

System = TypeVar("System", LocalizationScenario, SensingScenario)

SYSTEMS: dict[str, type[AnyScenario]] = {
    "localization": LocalizationScenario,
    "sensing": SensingScenario,
}
"""The systems that a scenario may describe, by the value of its key ``system``."""

_SHIPPED = files("heliostat") / "scenarios"
_TEMPLATES = {"localization": "template", "sensing": "template-sensing"}
_LARGEST = 2**20


def scenario_names() -> list[str]:
    """Names of the scenarios that come with the package, for `load`."""
    names = [entry.name for entry in _SHIPPED.iterdir()]
    shipped = {name[:-5] for name in names if name.endswith(".yaml")}
    return sorted(shipped - set(_TEMPLATES.values()))


def scenario_text(name: str) -> str:
    """Text of a shipped scenario, comments included.

    Args:
        name: One of `scenario_names`.

    Raises:
        ScenarioError: There is no such scenario.
    """
    if name not in scenario_names():
        raise _refused(name, _not_shipped(name))
    return (_SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")


def template_text(system: str = "localization") -> str:
    """A scenario to start from: every key with its meaning, unit and default.

    Args:
        system: One of `SYSTEMS`.
    """
    return (_SHIPPED / f"{_TEMPLATES[system]}.yaml").read_text(encoding="utf-8")


def scenario_schema() -> dict[str, Any]:
    """JSON Schema of scenario files, for editors that complete and check while one writes."""
    references, schema = models_json_schema([(kind, "validation") for kind in SYSTEMS.values()])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "heliostat scenario",
        "oneOf": list(references.values()),
        **schema,
    }


def load(name_or_path: str | os.PathLike[str], overrides: Overrides | None = None) -> AnyScenario:
    """Read a scenario.

    Args:
        name_or_path: One of `scenario_names`, or the path of a YAML file.
        overrides: Values by dotted key, e.g. ``{"surface.rows": 16, "base_station.power":
            "30 dBm"}``. Text is read as YAML, so what `--set` passes on means what it would mean
            in the file; None resets to the default.

    Raises:
        ScenarioError: The file cannot be read or its contents cannot be; all problems are told.
    """
    given = os.fspath(name_or_path)
    if given in scenario_names():
        file, text, folder = f"{given}.yaml", scenario_text(given), Path(str(_SHIPPED))
    else:
        file, folder = given, Path(given).absolute().parent
        text = file_text(given, "scenario file", _not_shipped(given))
    return _read(text, overrides, printable(file), folder, Path(file).stem)


def parse(
    text: str,
    overrides: Overrides | None = None,
    *,
    name: str = "scenario",
    folder: Path | None = None,
) -> AnyScenario:
    """Read a scenario from text, as `load` does from a file.

    Args:
        text: YAML.
        overrides: See `load`.
        name: What to call the scenario, also in messages.
        folder: Where files that it names are looked for first; default the working folder.

    Raises:
        ScenarioError: The text is no sound scenario; all problems are told.
    """
    return _read(text, overrides, name, folder or Path().absolute(), name)


def of_system(scenario: AnyScenario, system: type[System], wanted_by: str) -> System:
    """The scenario itself, if it describes the system that a function is about.

    Args:
        scenario: Of any system.
        system: The model of the system that is needed.
        wanted_by: Name of the function, for the message.

    Raises:
        TypeError: It describes another system.
    """
    if isinstance(scenario, system):
        return scenario
    needed = next(name for name, model in SYSTEMS.items() if model is system)
    raise TypeError(
        f"{scenario.name} is a {scenario.system} scenario; {wanted_by} needs a {needed} scenario."
    )


def _read(
    text: str, overrides: Overrides | None, file: str, folder: Path, name: str
) -> AnyScenario:
    report = Report(file)
    data = Reader(text, report).read()
    return examine(data, overrides or {}, report, SYSTEMS, {"folder": folder, "name": name})


def file_text(path: str, kind: str, absent: str) -> str:
    """Text of a file that a person names.

    Args:
        path: As it was given.
        kind: What the file should be, e.g. "scenario file", for messages.
        absent: What to say where there is no such file.

    Raises:
        ScenarioError: It is no text file of at most 1 MiB that can be read.
    """
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise _refused(path, f"is a folder; give a {kind} in it")
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            raise _refused(path, f"is not a {kind}; give a text file of at most 1 MiB")
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise _refused(path, absent) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _refused(f"{path}:{line}", "is not UTF-8 text; save it as UTF-8") from None
    except ScenarioError:
        raise
    except (OSError, ValueError) as error:  # ValueError: no path can look like this
        reason = getattr(error, "strerror", None) or error
        raise _refused(path, f"cannot be read ({reason}); give another file") from None


def _refused(where: str, sentence: str) -> ScenarioError:
    return ScenarioError([Problem(printable(where), "", "", sentence)])


def _not_shipped(name: str) -> str:
    shipped = scenario_names()
    if near := difflib.get_close_matches(name, shipped, n=1):
        return f"neither a file nor a shipped scenario; did you mean {near[0]}?"
    return f"neither a file nor a shipped scenario; shipped are {', '.join(shipped)}"
