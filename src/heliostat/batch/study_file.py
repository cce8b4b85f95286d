"""Study files: a user's own study, in YAML.

.. code-block:: yaml

    title: Power and size of the surface
    scenario: localization-table-1          # a packaged scenario, or a file relative to this one
    set: {model.gain: unknown}              # changes to the scenario
    axes:
      base_station.power: 10..40 dBm in 7   # or in 7 log
      surface.rows, surface.columns: [4, 8, 16]
    random: {user.heading: 0..90 deg}       # uniform, drawn in each trial
    outputs: [pose_bounds.peb, effective_rate.eadr]
    options: {effective_rate: {active_antennas: 8}}
    trials: 20
    seed: 0

An axis may also be an option, ``pose_bounds.active_antennas``. Trial i uses the key
``fold_in(key(seed), i)`` at every point, so that points are compared trial by trial. Unless ``set``
or an axis gives ``link.seed``, each trial draws it, and with it all that the scenario draws.
"""

import difflib
import functools
import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import numpy as np
import yaml
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from heliostat.batch.axes import read_axis, uniform_range
from heliostat.batch.quantities import ANGLE, FUNCTIONS, OPTIONS, OUTPUTS, SURFACE
from heliostat.batch.summary_plot import summary_figure
from heliostat.batch.trial import (
    Axis,
    Draw,
    TrialSetup,
    UniformRange,
    compute_point,
    draw_trial,
    trial_at,
)
from heliostat.scenario import (
    AnyScenario,
    ScenarioError,
    load,
    parse,
    scenario_names,
    scenario_text,
)
from heliostat.scenario.errors import Report, printable
from heliostat.scenario.fields import Section, not_a_word, setting
from heliostat.scenario.loading import file_text
from heliostat.scenario.validation import check
from heliostat.scenario.yaml_reader import Reader, files_in
from heliostat.studies import find
from heliostat.studies.study import NoResultError, Study
from heliostat.units import quote

MAX_POINTS, MAX_TRIALS = 10**6, 10**7

# Plans -------------------------------------------------------------------------------------------


class StudyText(NamedTuple):
    """A user's study as text, from which every process builds the same study."""

    name: str
    title: str
    body: str
    """Axes, random ranges, outputs and options, as YAML."""
    scenario_name: str
    scenario_text: str
    folder: str
    """Folder of the files that the scenario names."""


Source: TypeAlias = str | StudyText
"""Name of a packaged study, or the text of a user-defined study."""


@dataclass(frozen=True)
class Plan:
    """A study, the number of its trials, and the seed of their keys."""

    source: Source
    trials: int
    seed: int

    @property
    def study(self) -> Study:
        """Study that the source describes, built once in each process."""
        return find(self.source) if isinstance(self.source, str) else study_from(self.source)

    @property
    def total(self) -> int:
        """Number of trials at all points together."""
        return len(self.study.grid) * self.trials

    @property
    def bytes_stored(self) -> int:
        """Size of all results before compression. [byte]"""
        return self.total * (self.study.n_columns + 1) * 8

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the scenario of a user's study."""
        if isinstance(self.source, str):
            return ()
        name, folder = self.source.scenario_name, Path(self.source.folder)
        return parse(self.source.scenario_text, name=name, folder=folder).notes

    def identity(self) -> dict[str, str]:
        """Return the texts that determine every result."""
        study = self.study
        if isinstance(self.source, str):
            body = {
                "study": self.source,
                "axes": {name: list(values) for name, values in study.axes.items()},
                "outputs": list(study.outputs),
            }
            texts = {"study": yaml.safe_dump(body, sort_keys=False)}
        else:
            texts = {
                "study": self.source.body,
                "scenario": self.source.scenario_text,
                "files": _hashes(self.source),
            }
        return texts | {"trials": str(self.trials), "seed": str(self.seed)}


def _hashes(source: StudyText) -> str:
    """Names and SHA-256 hashes of the files that a scenario or an axis names."""
    lines = []
    texts = (source.scenario_text, source.body)
    for name in sorted({name for text in texts for _, name in files_in(yaml.safe_load(text))}):
        for path in (Path(source.folder) / name, Path(name)):
            if path.is_file():
                lines.append(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}")
                break
    return "\n".join(lines)


# The file ----------------------------------------------------------------------------------------


def _with_keys(given: Any) -> Any:
    """Pair each value with its key, for validators that need both."""
    return {key: (key, value) for key, value in given.items()} if isinstance(given, dict) else given


def _output(name: str) -> str:
    if name not in OUTPUTS:
        near = difflib.get_close_matches(name, OUTPUTS, cutoff=0.7)
        remedy = f"did you mean {' or '.join(near)}?" if near else f"write {', '.join(OUTPUTS)}"
        raise ValueError(f"{quote(name)} is not an output; {remedy}")
    return name


_Axis = Annotated[Axis, BeforeValidator(lambda entry: read_axis(*entry))]
_Range = Annotated[UniformRange, BeforeValidator(lambda entry: uniform_range(*entry))]
_Output = Annotated[str, AfterValidator(_output)]
_Whole = Annotated[int, BeforeValidator(not_a_word)]


class StudyFile(Section):
    """A study file, each of its keys by itself."""

    model_config = ConfigDict(title="a study file")

    title: str | None = setting("Title of the figure; default the file's name.", "My study", None)
    scenario: str = setting("A packaged scenario or a file.", "localization-table-1")
    set: dict[str, Any] = setting("Changes to the scenario.", {"model.gain": "unknown"}, {})
    axes: Annotated[dict[str, _Axis], Field(min_length=1), BeforeValidator(_with_keys)] = setting(
        "Values by key.", {"base_station.power": "10..40 dBm in 7"}
    )
    random: Annotated[dict[str, _Range], BeforeValidator(_with_keys)] = setting(
        "Ranges of uniform draws, by key.", {"user.heading": "0..90 deg"}, {}
    )
    outputs: Annotated[tuple[_Output, ...], Field(min_length=1)] = setting(
        "Quantities to compute.", ["pose_bounds.peb"]
    )
    options: OPTIONS = setting("Options by function.", {"pose_bounds": {"active_antennas": 8}}, {})
    trials: Annotated[_Whole, Field(ge=1, le=MAX_TRIALS)] = setting("Trials per point.", 20, 1)
    seed: Annotated[_Whole, Field(ge=0, lt=2**63)] = setting("Seed of the trials' keys.", 0, 0)


def read_study(path: str | os.PathLike[str]) -> Plan:
    """Read a study file.

    Args:
        path: Path of the file.

    Raises:
        ScenarioError: The file cannot be read or is not valid; it lists the problems.
    """
    given = os.fspath(path)
    text = file_text(given, "study file", "neither a file nor a packaged study")
    return parse_study(text, given)


def parse_study(text: str, file: str) -> Plan:
    """Read a study from the text of a study file.

    Args:
        text: YAML.
        file: Path of the file; its name is the study's, its folder that of scenario files.

    Raises:
        ScenarioError: The text is not valid; it lists the problems.
    """
    report = Report(printable(file))
    data = Reader(text, report).read()
    if not isinstance(data, dict):
        report.refuse((), "is not a group of keys; write scenario, axes and outputs")
        raise report.error()
    study = check(StudyFile, data, report)
    scenario = _load_scenario(report, study, Path(file).absolute().parent)
    return plan_of(Path(file).stem, data, study, scenario, report)


def plan_of(
    name: str, data: dict[str, Any], study: StudyFile, scenario: AnyScenario, report: Report
) -> Plan:
    """Check that the parts of a study fit together, and return it as a plan.

    Args:
        name: Name of the study.
        data: Content of the study file.
        study: The same, with each key checked by itself.
        scenario: Scenario of the study.
        report: Collects the problems with their places.

    Raises:
        ScenarioError: The parts do not fit together; it lists the problems.
    """
    setup = _trial_setup(report, study, scenario, data.get("options"))
    _try_values(report, setup, data["axes"])
    body = {
        "axes": data["axes"],
        "random": data.get("random") or {},
        "outputs": list(setup.outputs),
        "options": data.get("options") or {},
    }
    if not setup.draws_seed:
        body["draws_seed"] = False
    source = StudyText(
        name,
        printable(study.title or name),
        yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=100),
        scenario.name,
        scenario.dump(),
        str(scenario.folder),
    )
    return Plan(source, study.trials, study.seed)


def _load_scenario(report: Report, study: StudyFile, folder: Path) -> AnyScenario:
    name, changes = study.scenario, study.set
    try:
        if name in scenario_names():  # files that ``set`` names are relative to the study file
            return parse(scenario_text(name), changes, name=name, folder=folder)
        return load(folder / name, changes)
    except ScenarioError as error:
        for problem in error.problems:
            if problem.where.startswith("override "):
                report.refuse(("set", problem.field), problem.sentence, problem.value)
            else:
                report.refuse(("scenario",), str(problem), problem.value)
        raise report.error() from None


def _trial_setup(
    report: Report, study: StudyFile, scenario: AnyScenario, options: Mapping[str, Any] | None
) -> TrialSetup:
    """Check that the parts of a study file fit together, and with the scenario."""
    axes, ranges = tuple(study.axes.values()), tuple(study.random.values())
    functions = {name.partition(".")[0] for name in study.outputs}
    for name in functions:
        if (system := FUNCTIONS[name].system) != scenario.system:
            report.refuse(("outputs",), f"{name} needs a {system} scenario; leave it out")
    functions |= {needed for name in functions for needed in FUNCTIONS[name].needs}
    for name in set(options or {}) - functions:
        report.refuse(("options", name), "no output needs it; leave it out")
    for name in {name for name in study.outputs if study.outputs.count(name) > 1}:
        report.refuse(("outputs",), f"{name} is given more than once; keep one of them")
    names = [axis.name for axis in axes]
    for name in {name for name in names if names.count(name) > 1}:
        report.refuse(("axes",), f"{name} is given more than once; keep one of them")
    keys = [key for axis in axes for key in axis.keys] + [given.key for given in ranges]
    for i, key in enumerate(keys):
        if (name := key.partition(".")[0]) in FUNCTIONS and name not in functions:
            report.refuse(("axes",), f"{key}: no output needs it; leave it out")
        for other in keys[:i]:
            if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):
                both = key if key == other else f"{other}, and again as {key},"
                report.refuse(("axes",), f"{both} is given more than once; keep one of them")
    points = math.prod(len(axis.written) for axis in axes)
    if points > MAX_POINTS:
        report.refuse(("axes",), f"make {points} points; at most {MAX_POINTS} are possible")
    if report.found:
        raise report.error()
    draws_seed = "link.seed" not in [*keys, *study.set]
    given = {name: chosen for name, chosen in (options or {}).items() if chosen}
    return TrialSetup(scenario, axes, ranges, study.outputs, given, draws_seed)


def _try_values(report: Report, setup: TrialSetup, written_axes: Mapping[str, Any]) -> None:
    """Refuse each value that is not valid while all others are those of the first point."""
    first = {axis.name: next(iter(axis.written)) for axis in setup.axes}
    tried: list[tuple[tuple[str, str], Any, dict[str, Any], dict[str, Any]]] = []
    for key, axis in zip(written_axes, setup.axes, strict=True):
        for coordinate, value in axis.written.items():
            tried.append((("axes", key), value, first | {axis.name: coordinate}, {}))
    for given in setup.ranges:
        for fraction in (0.0, 1.0, (math.sqrt(5) - 1) / 2):  # the last hits no integer by chance
            value = given.at(fraction)
            tried.append((("random", given.key), value, first, {given.key: value}))
    refused: set[tuple[str, str]] = set()
    for path, value, point, overrides in tried:
        if path not in refused:
            try:
                trial_at(setup, Draw(overrides, jax.random.key(0)), point)
            except NoResultError as error:
                report.refuse(path, f"{quote(value)} is not valid: {error}", quote(value))
                refused.add(path)
    if report.found:
        raise report.error()


@functools.lru_cache(maxsize=8)
def study_from(source: StudyText) -> Study:
    """Build the study that a text describes.

    Args:
        source: Text made by `read_study`.
    """
    scenario = parse(source.scenario_text, name=source.scenario_name, folder=Path(source.folder))
    body, report = yaml.safe_load(source.body), Report(source.name)
    draws_seed = body.pop("draws_seed", True)
    study = check(StudyFile, body | {"scenario": source.scenario_name}, report)
    setup = replace(_trial_setup(report, study, scenario, body["options"]), draws_seed=draws_seed)
    outputs = {}
    for name in setup.outputs:
        function, _, field = name.partition(".")
        outputs[name] = FUNCTIONS[function].fields[field]
    inner: dict[str, np.ndarray] = {}
    if scenario.system == "sensing":
        inner = {
            SURFACE: np.arange(len(scenario.surfaces)),
            ANGLE: np.array(["elevation", "azimuth"]),
        }
    used = {dim for quantity in outputs.values() for dim in quantity.dims}
    return Study(
        name=source.name,
        title=source.title,
        sample=functools.partial(draw_trial, setup),
        point=functools.partial(compute_point, setup),
        axes={axis.name: list(axis.written) for axis in setup.axes},
        outputs=outputs,
        trials=1,
        verdicts=lambda dataset: [],
        draw=summary_figure,
        traced=False,
        inner={dim: values for dim, values in inner.items() if dim in used},
        axis_units={axis.name: axis.unit for axis in setup.axes},
        axis_labels={axis.name: ", ".join(axis.keys) for axis in setup.axes},
        provenance={"scenario": source.scenario_name, "scenario_text": source.scenario_text},
    )
