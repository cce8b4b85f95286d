"""The public function `heliostat.sweep`: a study from Python, computed in this process."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr

from heliostat.batch.study_file import StudyFile, plan_of
from heliostat.scenario import ScenarioLike, any_scenario
from heliostat.scenario.errors import Report
from heliostat.scenario.validation import check
from heliostat.scenario.yaml_reader import plain


def sweep(
    scenario: ScenarioLike,
    axes: Mapping[str, Any],
    outputs: Sequence[str],
    *,
    random: Mapping[str, str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    trials: int = 1,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> xr.Dataset:
    """Compute results of the public functions over a grid of scenario values.

    ``heliostat sweep`` computes the same from a study file, with several processes, and continues
    after an interruption; see docs/studies.md.

    Args:
        scenario: A scenario, its name, path or dict.
        axes: Values by dotted key, e.g. ``{"surface.rows": [4, 8]}``, or a range such as
            ``{"base_station.power": "10..40 dBm in 7"}``. Keys separated by commas change together.
        outputs: Results to compute, e.g. ``["pose_bounds.peb", "effective_rate.eadr"]``.
        random: Ranges of values drawn uniformly in each trial, e.g. ``{"user.heading": "0..90
            deg"}``.
        options: Arguments by function, e.g. ``{"pose_bounds": {"active_antennas": 8}}``.
        trials: Number of trials at each point of the grid.
        seed: Seed of all draws.
        on_progress: Function called with the name, the number of finished blocks and the total.

    Returns:
        Every output over the axes and ``trial``, with units. A trial without a result is ``inf``;
        the attributes ``failures`` and ``failure_reasons`` contain the number of these trials and
        the reasons.

    Raises:
        ScenarioError: An argument is not valid; it lists the problems.
        TypeError: The scenario is of another type.
        ValueError: The scenario has a user-defined path-loss law.
    """
    base, report = any_scenario(scenario, "sweep"), Report("sweep")
    if base.path_loss is not None:
        raise ValueError("sweep: a study is stored as text, so link.path_loss must be a name.")
    data = {
        "scenario": base.name,
        "axes": {key: plain(values) for key, values in axes.items()},
        "random": dict(random or {}),
        "outputs": plain(outputs),
        "options": {name: dict(given) for name, given in (options or {}).items()},
        "trials": plain(trials),
        "seed": plain(seed),
    }
    study = check(StudyFile, data, report)
    plan = plan_of(base.name, data, study, base, report)
    data_set = plan.study.run(trials=plan.trials, seed=plan.seed, on_progress=on_progress)
    data_set.attrs["notes"] = "\n".join(base.notes)
    return data_set
