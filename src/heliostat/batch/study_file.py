"""A user's own study, from a YAML file.

.. code-block:: yaml

    title: What power and size of the surface are worth
    scenario: localization-table-1          # a shipped scenario, or a file beside this one
    set: {model.gain: unknown}              # changes to it
    axes:
      base_station.power: 10..40 dBm in 7   # or in 7 log
      surface.rows, surface.columns: [4, 8, 16]
    random: {user.heading: 0..90 deg}       # uniform, drawn anew in each trial
    outputs: [pose_bounds.peb, effective_rate.eadr]
    options: {effective_rate: {active_antennas: 8}}
    trials: 20
    seed: 0

An axis may also be an option, ``pose_bounds.active_antennas``. In trial i all that is random in
the scenario follows a ``link.seed`` drawn from ``fold_in(key(seed), i)``, unless an axis or ``set``
gives one: the same at every point, so that points are compared trial by trial.
"""

import functools
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import yaml

from heliostat.batch.quantities import (
    ANGLE,
    FUNCTIONS,
    SURFACE,
    quantity_names,
)
from heliostat.batch.summary_plot import overview
from heliostat.batch.trial import (
    Axis,
    Draw,
    Layout,
    Spread,
    case_at,
    checked_option,
    compute_point,
    draw_trial,
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
from heliostat.scenario.loading import file_text
from heliostat.scenario.yaml_reader import Reader
from heliostat.studies.study import NoResultError, Study
from heliostat.units import DIMENSIONS, NUMBER, quote

KEYS = ("title", "scenario", "set", "axes", "random", "outputs", "options", "trials", "seed")
"""Of a study file; ``scenario``, ``axes`` and ``outputs`` have to be there."""

MOST_POINTS, MOST_TRIALS = 10**6, 10**7

_UNIT = r"(?!in\b)[^\s\d.+-][^\s]*"
_RANGE = re.compile(rf"({NUMBER})\s*\.\.\s*({NUMBER})(?:\s*({_UNIT}))?")
_STEPS = re.compile(r"(.*)\s+in\s+([0-9]{1,6})(\s+log)?")
_QUANTITY = re.compile(rf"({NUMBER})\s*({_UNIT})")


class StudyText(NamedTuple):
    """A study as text: the same wherever it is read, and what other processes get."""

    name: str
    title: str
    body: str
    """Axes, what is random, outputs and options, as YAML."""
    scenario_name: str
    scenario_text: str
    folder: str
    """Where files that the scenario names are looked for first."""


class Asked(NamedTuple):
    """What a study file asks for."""

    source: StudyText
    trials: int
    seed: int


def read_study(path: str | os.PathLike[str]) -> Asked:
    """Read a study file.

    Args:
        path: Of the file.

    Raises:
        ScenarioError: It cannot be read, or what it asks for makes no sense; all problems are told.
    """
    given = os.fspath(path)
    text = file_text(given, "study file", "no such file, and no study that comes with heliostat")
    return parse_study(text, given)


def parse_study(text: str, file: str) -> Asked:
    """Read a study from text, as `read_study` does from a file.

    Args:
        text: YAML.
        file: Path it stands for: its name is the study's, beside it scenarios are looked for.

    Raises:
        ScenarioError: As for `read_study`.
    """
    report = Report(printable(file))
    data = Reader(text, report).read()
    if not isinstance(data, dict):
        report.refuse((), "is not a list of keys; write scenario, axes and outputs")
        raise report.error()
    for key in data:
        if key not in KEYS:
            report.refuse((key,), f"no such key; a study file has {', '.join(KEYS)}")
    for key in ("scenario", "axes", "outputs"):
        if data.get(key) is None:
            report.refuse((key,), f"missing; a study needs {key}")
    trials = _whole(report, data, "trials", 1, MOST_TRIALS)
    seed = _whole(report, data, "seed", 0, 2**63 - 1)
    title = data.get("title") or Path(file).stem
    if isinstance(title, str):
        title = printable(title)
    else:
        report.refuse(("title",), f"{quote(title)} is no text; write a few words", quote(title))
    if report.found:
        raise report.error()
    scenario = _scenario(report, data, Path(file).absolute().parent)
    layout = _layout(report, data, scenario)
    if not report.found:
        _try_values(report, layout, data)
    if report.found:
        raise report.error()
    body = {
        "axes": data["axes"],
        "random": data.get("random") or {},
        "outputs": list(layout.outputs),
        "options": data.get("options") or {},
    }
    if not layout.draws_seed:
        body["draws_seed"] = False
    source = StudyText(
        Path(file).stem,
        str(title),
        yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=100),
        scenario.name,
        scenario.dump(),
        str(scenario.folder),
    )
    return Asked(source, trials, seed)


def _whole(report: Report, data: Mapping[str, Any], key: str, least: int, most: int) -> int:
    value = data.get(key)
    if value is None:
        return least
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        told = quote(value)
        report.refuse((key,), f"{told} is not a whole number from {least} to {most}", told)
        return least
    return value


def _scenario(report: Report, data: Mapping[str, Any], folder: Path) -> AnyScenario:
    name, changes = data["scenario"], data.get("set") or {}
    if not isinstance(name, str):
        report.refuse(("scenario",), f"{quote(name)} is no name; write e.g. localization-table-1")
    if not isinstance(changes, dict):
        report.refuse(("set",), "is no list of keys; write e.g. {model.gain: unknown}")
    if report.found:
        raise report.error()
    try:
        if name in scenario_names():  # files that `set` names are beside the study
            return parse(scenario_text(name), changes, name=name, folder=folder)
        return load(folder / name, changes)
    except ScenarioError as error:
        for problem in error.problems:
            if problem.where.startswith("--set "):
                report.refuse(("set", problem.field), problem.sentence, problem.value)
            else:
                report.refuse(("scenario",), str(problem), problem.value)
        raise report.error() from None


def _layout(report: Report, data: Mapping[str, Any], scenario: AnyScenario) -> Layout:
    """What was read, checked; problems go to the report."""
    axes = _axes(report, data["axes"])
    spreads = _spreads(report, data.get("random") or {})
    outputs = _outputs(report, data["outputs"], scenario.system)
    options = _options(report, data.get("options") or {}, scenario.system)
    needed = {name.partition(".")[0] for name in outputs}
    needed |= {other for name in needed if name in FUNCTIONS for other in FUNCTIONS[name].needs}
    for name in options:
        if outputs and name not in needed:
            report.refuse(("options", name), "no output needs it; leave it out")
    owners = [key for axis in axes for key in axis.keys] + [spread.key for spread in spreads]
    for i, key in enumerate(owners):
        if outputs and (name := key.partition(".")[0]) in FUNCTIONS and name not in needed:
            report.refuse(("axes",), f"{key}: no output needs it; leave it out")
        for other in owners[:i]:
            if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):
                both = key if key == other else f"{other}, and again as {key},"
                report.refuse(("axes",), f"{both} is given more than once; keep one of them")
    points = math.prod(len(axis.written) for axis in axes)
    if points > MOST_POINTS:
        report.refuse(("axes",), f"make {points} points; at most {MOST_POINTS} are possible")
    given = [*owners, *(data.get("set") or {})]
    draws_seed = bool(data.get("draws_seed", "link.seed" not in given))
    return Layout(scenario, axes, spreads, outputs, options, draws_seed)


def _axes(report: Report, given: Any) -> tuple[Axis, ...]:
    if not isinstance(given, dict) or not given:
        report.refuse(("axes",), "is no list of keys; write e.g. base_station.power: [20 dBm]")
        return ()
    axes = []
    for key, values in given.items():
        try:
            axes.append(axis_of(key, values))
        except ValueError as error:
            report.refuse(("axes", key), str(error), quote(values))
    names = [axis.name for axis in axes]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            report.refuse(("axes",), f"{name} is there more than once; keep one of them")
    return tuple(axes)


def axis_of(key: str, given: Any) -> Axis:
    """An axis from what was written.

    Args:
        key: A dotted key, or several with commas between.
        given: A list of values, or a range such as ``10..40 dBm in 7``.

    Raises:
        ValueError: It makes no axis; the message tells what to write.
    """
    keys = tuple(part.strip() for part in key.split(","))
    if not all(keys):
        raise ValueError("has an empty key; write e.g. surface.rows, surface.columns")
    if "surfaces" in keys:
        raise ValueError("an axis cannot replace all surfaces; write e.g. surfaces.0.power")
    entries = _range(given) if isinstance(given, str) else given
    if not isinstance(entries, list) or not entries:
        raise ValueError("is no list of values; write e.g. [4, 8, 16], or 10..40 dBm in 7")
    if any(entry is None for entry in entries):
        raise ValueError("has an empty value; write what the key should be")
    coordinates, unit = _coordinates(entries)
    if len(set(coordinates)) < len(coordinates):
        raise ValueError("has a value twice; keep one of them")
    si = {dimension.si for dimension in DIMENSIONS.values()}
    suffix = "" if unit in si or not unit else "_" + re.sub(r"\W+", "_", unit).lower()
    shown = unit if unit and unit != "linear" else "1"
    return Axis(keys[0] + suffix, keys, dict(zip(coordinates, entries, strict=True)), shown)


def _range(text: str) -> list[Any]:
    """Values of ``10..40 dBm in 7`` or ``1..1000 mW in 4 log``."""
    remedy = "write e.g. 10..40 dBm in 7, or 1..1000 mW in 4 log, or a list"
    steps = _STEPS.fullmatch(text.strip())
    ends = _RANGE.fullmatch(steps[1].strip()) if steps else None
    if steps is None or ends is None:
        raise ValueError(f"{quote(text)} is no range; {remedy}")
    low, high, count = float(ends[1]), float(ends[2]), int(steps[2])
    if count < 2 or not (math.isfinite(low) and math.isfinite(high)) or low == high:
        raise ValueError(f"{quote(text)} has not two ends and 2 values or more; {remedy}")
    if count > MOST_POINTS:
        raise ValueError(f"{quote(text)} has too many values; at most {MOST_POINTS} are possible")
    if steps[3] and min(low, high) <= 0:
        raise ValueError(f"{quote(text)} has no logarithm; both ends have to be above 0")
    values = np.geomspace(low, high, count) if steps[3] else np.linspace(low, high, count)
    unit = ends[3]
    numbers: list[Any] = [float(f"{value:.12g}") for value in values]
    if unit:
        return [f"{number:.12g} {unit}" for number in numbers]
    if all(number.is_integer() and abs(number) < 2**53 for number in numbers):
        return [int(number) for number in numbers]
    return numbers


def _coordinates(entries: list[Any]) -> tuple[list[Any], str]:
    """What the dataset calls the values, and their unit."""
    if all(isinstance(entry, int | float) and not isinstance(entry, bool) for entry in entries):
        if not all(math.isfinite(entry) for entry in entries):
            raise ValueError("has a value that is not finite")
        return entries, ""
    matches = [isinstance(entry, str) and _QUANTITY.fullmatch(entry.strip()) for entry in entries]
    known = {unit for dimension in DIMENSIONS.values() for unit in dimension.units}
    units = {match[2] if match else "" for match in matches}
    if units <= known:
        if len(units) > 1:
            raise ValueError(
                f"mixes the units {' and '.join(sorted(units))}; write all values in one"
            )
        return [float(match[1]) for match in matches if match], units.pop()
    return [_label(entry) for entry in entries], ""


def _label(entry: Any) -> str:
    if isinstance(entry, bool):
        return "true" if entry else "false"
    return printable(entry) if isinstance(entry, str) else " ".join(repr(entry).split())


def _spreads(report: Report, given: Any) -> tuple[Spread, ...]:
    if not isinstance(given, dict):
        report.refuse(("random",), "is no list of keys; write e.g. {user.heading: 0..90 deg}")
        return ()
    spreads = []
    for key, value in given.items():
        ends = _RANGE.fullmatch(value.strip()) if isinstance(value, str) else None
        if ends is None or not float(ends[1]) < float(ends[2]) < math.inf:
            told = quote(value)
            report.refuse(("random", key), f"{told} is no range; write e.g. 0..90 deg", told)
        elif key == "link.seed":
            report.refuse(("random", key), "is drawn anew in every trial as it is; leave it out")
        else:
            spreads.append(Spread(key, float(ends[1]), float(ends[2]), ends[3] or ""))
    return tuple(spreads)


def _outputs(report: Report, given: Any, system: str) -> tuple[str, ...]:
    known = quantity_names(system)
    if not isinstance(given, list) or not given:
        report.refuse(("outputs",), f"is no list of names; write some of {', '.join(known)}")
        return ()
    for i, name in enumerate(given):
        if name not in known:
            told = quote(name)
            sentence = f"{told} is nothing a {system} study can ask for; it can ask for "
            report.refuse(("outputs", i), sentence + ", ".join(known), told)
        elif name in given[:i]:
            report.refuse(("outputs", i), f"{name} is there twice; keep one of them", str(name))
    return tuple(str(name) for name in given)


def _options(report: Report, given: Any, system: str) -> dict[str, dict[str, Any]]:
    functions = [name for name, function in FUNCTIONS.items() if function.system == system]
    if not isinstance(given, dict):
        report.refuse(("options",), "is no list of functions; write e.g. {run_protocol: {...}}")
        return {}
    options: dict[str, dict[str, Any]] = {}
    for name, chosen in given.items():
        if name not in functions:
            report.refuse(("options", name), f"no such function; there are {', '.join(functions)}")
        elif not isinstance(chosen, dict):
            report.refuse(("options", name), "is no list of keys; write e.g. {active_antennas: 8}")
        else:
            options[name] = {}
            for option, value in chosen.items():
                try:
                    options[name][option] = checked_option(name, option, value)
                except ValueError as error:
                    report.refuse(("options", name, option), str(error), quote(value))
    return options


def _try_values(report: Report, layout: Layout, data: Mapping[str, Any]) -> None:
    """Refuse every value that the scenario refuses, all else being as it is at the first point."""
    first = {axis.name: next(iter(axis.written)) for axis in layout.axes}
    tried: list[tuple[tuple[str, ...], dict[str, Any], dict[str, Any], Any]] = []
    for axis, key in zip(layout.axes, data["axes"], strict=True):
        for coordinate, written in axis.written.items():
            tried.append((("axes", key), first | {axis.name: coordinate}, {}, written))
    for spread in layout.spreads:
        between = spread.low + (spread.high - spread.low) * (math.sqrt(5) - 1) / 2
        for value in (spread.low, spread.high, between):  # the last no whole number by chance
            written = spread.written(value)
            tried.append((("random", spread.key), first, {spread.key: written}, written))
    refused: set[tuple[str, ...]] = set()
    for path, at, drawn, written in tried:
        try:
            case_at(layout, Draw(drawn, jax.random.key(0)), at)
        except NoResultError as error:
            if path not in refused:
                report.refuse(path, f"{quote(written)} cannot be: {error}", quote(written))
            refused.add(path)


@functools.lru_cache(maxsize=8)
def study_from(source: StudyText) -> Study:
    """The study that a text describes.

    Args:
        source: As `read_study` returned it.
    """
    scenario = parse(source.scenario_text, name=source.scenario_name, folder=Path(source.folder))
    layout = _layout(Report(source.name), yaml.safe_load(source.body), scenario)
    quantities = {}
    for name in layout.outputs:
        function, _, field = name.partition(".")
        quantities[name] = FUNCTIONS[function].fields[field]
    inner: dict[str, np.ndarray] = {}
    if scenario.system == "sensing":
        inner[SURFACE] = np.arange(len(scenario.surfaces))
        inner[ANGLE] = np.array(["elevation", "azimuth"])
    used = {dim for quantity in quantities.values() for dim in quantity.dims}
    return Study(
        name=source.name,
        title=source.title,
        sample=functools.partial(draw_trial, layout),
        point=functools.partial(compute_point, layout),
        axes={axis.name: list(axis.written) for axis in layout.axes},
        outputs=quantities,
        trials=1,
        verdicts=lambda dataset: [],
        draw=overview,
        traced=False,
        inner={dim: values for dim, values in inner.items() if dim in used},
        axis_units={axis.name: axis.unit for axis in layout.axes},
        axis_labels={axis.name: ", ".join(axis.keys) for axis in layout.axes},
        provenance={"scenario": source.scenario_name, "scenario_text": source.scenario_text},
    )
