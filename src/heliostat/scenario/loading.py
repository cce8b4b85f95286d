"""Loading of scenarios from files, from text, and from the package."""

import copy
import difflib
import itertools
import os
import re
import stat
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from pydantic.json_schema import models_json_schema

from heliostat.provenance import software
from heliostat.scenario.base import Scenario
from heliostat.scenario.errors import Problem, Report, ScenarioError, printable
from heliostat.scenario.localization.checks import LocalizationScenario
from heliostat.scenario.sensing.checks import SensingScenario
from heliostat.scenario.validation import examine
from heliostat.scenario.yaml_reader import Overrides, Reader
from heliostat.units import quote

AnyScenario: TypeAlias = LocalizationScenario | SensingScenario
"""A scenario of any system."""

ScenarioLike: TypeAlias = AnyScenario | str | os.PathLike[str] | Mapping[str, Any]
"""A scenario, the name of a packaged one, the path of a file, or a dict of its sections."""

System = TypeVar("System", LocalizationScenario, SensingScenario)

SYSTEMS: dict[str, type[AnyScenario]] = {
    "localization": LocalizationScenario,
    "sensing": SensingScenario,
}
"""Scenario classes by the value of the key ``system``."""

_SHIPPED = files("heliostat") / "scenarios"
_TEMPLATES = {"localization": "template", "sensing": "template-sensing"}
_LARGEST = 2**20


def scenario_names() -> list[str]:
    """Return the names of the scenarios in the package."""
    names = [entry.name for entry in _SHIPPED.iterdir()]
    shipped = {name[:-5] for name in names if name.endswith(".yaml")}
    return sorted(shipped - set(_TEMPLATES.values()))


def scenario_text(name: str) -> str:
    """Return the text of a scenario in the package, with comments.

    Args:
        name: One of `scenario_names`.

    Raises:
        ScenarioError: There is no such scenario.
    """
    if name not in scenario_names():
        raise _refused(name, _not_shipped(name))
    return (_SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")


def scenario_summary(name: str) -> str:
    """Return the first sentence of the comment at the top of a scenario in the package.

    Args:
        name: One of `scenario_names`.

    Raises:
        ScenarioError: There is no such scenario.
    """
    lines = itertools.takewhile(lambda line: line.startswith("#"), scenario_text(name).splitlines())
    comment = " ".join(line.lstrip("# ") for line in lines)
    return re.split(r"(?<=\w\w\.) ", comment, maxsplit=1)[0]


def template_text(system: str = "localization") -> str:
    """Return a scenario template: every key with its meaning, unit and default.

    Args:
        system: One of `SYSTEMS`.
    """
    return (_SHIPPED / f"{_TEMPLATES[system]}.yaml").read_text(encoding="utf-8")


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema of scenario files, for completion and checks in editors."""
    references, schema = models_json_schema([(kind, "validation") for kind in SYSTEMS.values()])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "heliostat scenario",
        "oneOf": list(references.values()),
        **schema,
    }


def load(
    source: ScenarioLike,
    overrides: Overrides | None = None,
    *,
    path_loss: Callable[..., Any] | None = None,
) -> AnyScenario:
    """Load and check a scenario.

    Args:
        source: One of `scenario_names`, the path of a YAML file, a dict of the sections as in such
            a file, or a scenario.
        overrides: Values by dotted key, e.g. ``{"surface.rows": 16, "base_station.power":
            "30 dBm"}``. Text is read as YAML, so that a value of `--set` has the same meaning as
            in the file; None resets to the default.
        path_loss: User-defined path-loss law for localization, instead of ``link.path_loss``: a
            function of ``bs_to_irs`` [m], ``irs_to_user`` [m], ``wavelength`` [m] and
            ``element_area`` [m²] (effective area of an element) that returns the amplitude that one
            element contributes between isotropic antennas. JAX traces and differentiates it, so it
            uses ``jax.numpy``. Antenna gains and ``link.attenuation`` multiply its result.

    Raises:
        ScenarioError: The file cannot be read or is not a valid scenario; lists all problems.
        TypeError: The source or the overrides are something else.
    """
    if path_loss is None:
        return _load(source, overrides, {})
    if not callable(path_loss):
        raise TypeError(
            f"load: path_loss is {quote(path_loss)}; it must be a function. The names of packaged "
            "laws are values of the key link.path_loss."
        )
    context = {"path_loss": path_loss}
    if isinstance(source, Scenario):
        loaded = source._changed(overrides or {}, path_loss)
    else:
        loaded = _load(source, overrides, context)
    if not isinstance(loaded, LocalizationScenario):
        raise TypeError(
            f"load: path_loss is for localization scenarios, and {loaded.name} is a "
            f"{loaded.system} scenario; its law has the keys link.reference_loss and link.exponent."
        )
    return loaded


def _load(
    source: ScenarioLike, overrides: Overrides | None, context: Mapping[str, Any]
) -> AnyScenario:
    """Load a scenario; the context contains what is not in the file."""
    if isinstance(source, Scenario):
        return source.updated(overrides or {})
    if isinstance(source, Mapping):
        context = {"folder": Path().absolute(), "name": "scenario", **context}
        data = copy.deepcopy(dict(source))
        return examine(data, overrides or {}, Report("scenario"), SYSTEMS, context)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            f"load: source is of type {type(source).__name__}; it must be the name of a packaged "
            "scenario, the path of a file, a dict, or a scenario."
        )
    given = os.fspath(source)
    if given in scenario_names():
        file, text, folder = f"{given}.yaml", scenario_text(given), Path(str(_SHIPPED))
    else:
        file, folder = given, Path(given).absolute().parent
        text = file_text(given, "scenario file", _not_shipped(given))
    return _read(text, overrides, printable(file), folder, Path(file).stem, context)


def parse(
    text: str,
    overrides: Overrides | None = None,
    *,
    name: str = "scenario",
    folder: Path | None = None,
) -> AnyScenario:
    """Load and check a scenario from text.

    Args:
        text: YAML.
        overrides: Values by dotted key, as for `load`.
        name: Name of the scenario, also in messages.
        folder: Folder where files named in the scenario are searched first; default the working
            folder.

    Raises:
        ScenarioError: The text is not a valid scenario; lists all problems.
    """
    return _read(text, overrides, name, folder or Path().absolute(), name)


def any_scenario(scenario: Any, function: str) -> AnyScenario:
    """Return a scenario, loaded if a name, a path or a dict is given.

    Args:
        scenario: A scenario of any system, or what `load` accepts.
        function: Name of the calling function, for the message.

    Raises:
        TypeError: The argument is something else.
        ScenarioError: The scenario cannot be loaded.
    """
    if isinstance(scenario, LocalizationScenario | SensingScenario):
        return scenario
    if not isinstance(scenario, str | os.PathLike | Mapping):
        raise TypeError(
            f"{function}: scenario is of type {type(scenario).__name__}; it must be a scenario, "
            "the name of a packaged one, the path of a file, or a dict."
        )
    return load(scenario)


def of_system(scenario: Any, system: type[System], function: str) -> System:
    """Return a scenario of the required system, loaded if a name, a path or a dict is given.

    Args:
        scenario: A scenario of any system, or what `load` accepts.
        system: Scenario class of the required system.
        function: Name of the calling function, for the message.

    Raises:
        TypeError: The argument is no scenario, or one of another system.
        ScenarioError: The scenario cannot be loaded.
    """
    loaded = any_scenario(scenario, function)
    if isinstance(loaded, system):
        return loaded
    needed = next(name for name, model in SYSTEMS.items() if model is system)
    raise TypeError(
        f"{loaded.name} is a {loaded.system} scenario; {function} needs a {needed} scenario."
    )


def provenance_of(scenario: AnyScenario) -> dict[str, Any]:
    """Version and commit of heliostat, and name and text of a scenario, as attributes of results.

    Args:
        scenario: The evaluated scenario.
    """
    return software() | {"scenario": scenario.name, "scenario_text": scenario.dump()}


def _read(
    text: str,
    overrides: Overrides | None,
    file: str,
    folder: Path,
    name: str,
    context: Mapping[str, Any] = MappingProxyType({}),
) -> AnyScenario:
    report = Report(file)
    data = Reader(text, report).read()
    context = {"folder": folder, "name": name, **context}
    return examine(data, overrides or {}, report, SYSTEMS, context)


def file_text(path: str, kind: str, absent: str) -> str:
    """Return the text of a file given by the user.

    Args:
        path: Path as given.
        kind: Kind of file for messages, e.g. "scenario file".
        absent: Message for a missing file.

    Raises:
        ScenarioError: The path is not a readable text file of at most 1 MiB.
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
        return f"neither a file nor a packaged scenario; did you mean {near[0]}?"
    return f"neither a file nor a packaged scenario; packaged are {', '.join(shipped)}"
