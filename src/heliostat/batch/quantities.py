"""Quantities that a study can compute: results of the public functions, by name.

``pose_bounds.peb`` is the field ``peb`` of the result of `heliostat.pose_bounds`. Functions that
need the result of another function get it with that function's options: echoes are simulated for
the design of ``design_beamforming``. Errors are those of an estimate against the true scenario.

The options of a function are the arguments of its signature that are numbers, flags or words.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from pydantic import BeforeValidator, Field, create_model

from heliostat.api import estimation as estimation_api
from heliostat.api import localization as localization_api
from heliostat.api import pose_estimation as pose_api
from heliostat.api import sensing as sensing_api
from heliostat.api import target_search as target_search_api
from heliostat.api import tracking as tracking_api
from heliostat.api.localization_results import ErrorEffect
from heliostat.api.steering_errors import under_errors
from heliostat.design.result import BeamformingDesign
from heliostat.geometry.frames import wrapped_angle
from heliostat.scenario import AnyScenario, LocalizationScenario, SensingScenario, of_system
from heliostat.scenario.errors import Report
from heliostat.scenario.fields import Number, Section, not_a_word, quantity, setting
from heliostat.scenario.validation import check
from heliostat.studies.study import Quantity

SURFACE, ANGLE = "surface", "angle"
"""Dimensions of quantities besides axes and trials; an angle is an elevation or an azimuth."""


@dataclass(frozen=True)
class Trial:
    """Inputs of one trial: a scenario, the key of all noise, and options by function."""

    scenario: AnyScenario
    key: PRNGKeyArray
    options: Mapping[str, Mapping[str, Any]]

    def options_of(self, function: str) -> Mapping[str, Any]:
        """Options of one function."""
        return self.options.get(function, {})

    @functools.cached_property
    def design(self) -> BeamformingDesign:
        """Beamforming design for the scenario's target."""
        options = self.options_of("design_beamforming")
        return sensing_api.design_beamforming(self.scenario, **options)

    @functools.cached_property
    def directions(self) -> estimation_api.Directions:
        """Target directions estimated from noisy echoes of the design."""
        covariance, psi = self.design.covariance, self.design.reflection
        echoes = estimation_api.simulate_echoes(
            self.scenario, covariance, psi, key=self.key, **self.options_of("estimate_direction")
        )
        return estimation_api.estimate_direction(self.scenario, echoes, psi)


class Computed(NamedTuple):
    """Result of one function in one trial."""

    values: Mapping[str, Any]
    reason: str = ""
    """Reason why some values are infinite or meaningless; empty if all are valid."""
    status: str = ""
    """Status of the solver."""


def _under_errors(trial: Trial) -> ErrorEffect:
    options = trial.options_of("under_errors")
    return under_errors(trial.scenario, key=trial.key, **options)


def _estimate_pose(trial: Trial) -> Computed:
    scenario = of_system(trial.scenario, LocalizationScenario, "estimate_pose")
    given = trial.options_of("estimate_pose")
    pilots = pose_api.simulate_pilots(scenario, key=trial.key, **given)
    heading = float(scenario.user.heading)
    pose = pose_api.estimate_pose(scenario, pilots, expected_heading=heading)
    position_error = np.linalg.norm(pose.position - np.asarray(scenario.user.position))
    heading_error = abs(float(wrapped_angle(jnp.asarray(pose.heading - heading))))
    values = {
        "position_error": position_error if pose.detected else np.inf,
        "heading_error": heading_error if pose.detected else np.inf,
        "snr": pose.snr,
        "reduced_chi2": pose.reduced_chi2,
    }
    reason = "" if pose.detected else "the pilots are not detected"
    return Computed(values, reason, "converged" if pose.converged else "not converged")


def _run_protocol(trial: Trial) -> Computed:
    track = tracking_api.run_protocol(
        trial.scenario, key=trial.key, **trial.options_of("run_protocol")
    )
    errors = track.position_error.values[track.found.values]
    values = {
        "eadr_mean": track.eadr.mean(),
        "position_error_median": np.median(errors) if errors.size else np.inf,
        "lost_periods": track.attrs["lost_periods"],
    }
    return Computed(values, "" if errors.size else "the user is lost in every period")


def _direction_bounds(trial: Trial) -> sensing_api.DirectionBounds:
    design = trial.design
    return sensing_api.direction_bounds(trial.scenario, design.covariance, design.reflection)


def _estimate_direction(trial: Trial) -> Computed:
    estimate = trial.directions
    scenario = of_system(trial.scenario, SensingScenario, "estimate_direction")
    error = wrapped_angle(jnp.asarray(estimate.angles) - scenario.build().angles())
    missed = np.flatnonzero(~estimate.detected)
    reason = "; ".join(f"the echo through surface {i} is not detected" for i in missed)
    errors = np.where(estimate.detected[:, None], abs(error), np.inf)
    return Computed({"angle_error": errors, "snr": estimate.snr}, reason)


def _triangulate(trial: Trial) -> Computed:
    directions, given = trial.directions, trial.options_of("triangulate")
    estimate = estimation_api.triangulate(
        trial.scenario, directions.angles, directions.covariance, **given
    )
    scenario = of_system(trial.scenario, SensingScenario, "triangulate")
    truth = np.asarray(scenario.target.position)
    values = {"position_error": np.linalg.norm(estimate.position - truth)}
    return Computed(values, status="converged" if estimate.converged else "not converged")


def _find_target(trial: Trial) -> Computed:
    search = target_search_api.find_target(
        trial.scenario, key=trial.key, **trial.options_of("find_target")
    )
    needed = search.attrs["dwells_needed"]
    values = {
        "dwells_needed": needed or np.inf,
        "position_error": search.position_error.values[-1],
        "bound": search.bound.values[-1],
        "excess_db": search.excess_db.values[-1],
    }
    return Computed(values, "" if needed else "the accuracy is not reached within the given dwells")


@dataclass(frozen=True)
class Function:
    """A public function that a study can call."""

    system: str
    """System of the scenarios that the function accepts."""
    call: Callable[..., Any]
    """The public function to which the options are passed."""
    fields: Mapping[str, Quantity]
    adapter: Callable[[Trial], Any] | None = None
    """Returns `Computed` or a result with these fields; default ``call`` with the scenario."""
    needs: tuple[str, ...] = ()
    """Functions whose results are arguments of this one."""


FUNCTIONS: Mapping[str, Function] = {
    "pose_bounds": Function(
        "localization",
        localization_api.pose_bounds,
        {
            "peb": Quantity("m", (), "position error bound"),
            "reb": Quantity("rad", (), "heading error bound"),
            "rank": Quantity("1", (), "rank of the Fisher information"),
        },
    ),
    "effective_rate": Function(
        "localization",
        localization_api.effective_rate,
        {
            "eadr": Quantity("bit/s", (), "effective rate with codebook beams"),
            "eadr_closed_form": Quantity("bit/s", (), "effective rate in closed form"),
            "snr": Quantity("1", (), "SNR of the data"),
            "time_ratio": Quantity("1", (), "share of the period for pilots"),
        },
    ),
    "allocate_time": Function(
        "localization",
        localization_api.allocate_time,
        {
            "ratio": Quantity("1", (), "best share of the period for pilots"),
            "active_antennas": Quantity("1", (), "best number of active antennas"),
            "peak_rate_ratio": Quantity("1", (), "share of the period where the rate is largest"),
        },
    ),
    "under_errors": Function(
        "localization",
        under_errors,
        {
            "peb_median": Quantity("m", (), "median position error bound under errors"),
            "reb_median": Quantity("rad", (), "median heading error bound under errors"),
            "eadr_mean": Quantity("bit/s", (), "mean effective rate under errors"),
        },
        _under_errors,
    ),
    "estimate_pose": Function(
        "localization",
        pose_api.simulate_pilots,
        {
            "position_error": Quantity("m", (), "error of the estimated position"),
            "heading_error": Quantity("rad", (), "error of the estimated heading"),
            "snr": Quantity("1", (), "energy of the fitted pilots over the noise density"),
            "reduced_chi2": Quantity("1", (), "residual energy over that of noise alone"),
        },
        _estimate_pose,
    ),
    "run_protocol": Function(
        "localization",
        tracking_api.run_protocol,
        {
            "eadr_mean": Quantity("bit/s", (), "mean effective rate over the periods"),
            "position_error_median": Quantity(
                "m", (), "median position error in periods that are not lost"
            ),
            "lost_periods": Quantity("1", (), "periods in which the user is lost"),
        },
        _run_protocol,
    ),
    "design_beamforming": Function(
        "sensing",
        sensing_api.design_beamforming,
        {
            "worst_crb": Quantity("rad2", (), "worst CRB of the design"),
            "crb": Quantity("rad2", (SURFACE,), "CRB of the design"),
            "lower_bound": Quantity("rad2", (), "lower bound on the worst CRB of any design"),
            "gap": Quantity("1", (), "1 - lower bound / worst CRB"),
            "excess_db": Quantity("dB", (), "excess of the worst CRB over the lower bound"),
        },
        lambda trial: trial.design,
    ),
    "direction_bounds": Function(
        "sensing",
        sensing_api.direction_bounds,
        {
            "crb": Quantity("rad2", (SURFACE,), "CRB of the design"),
            "direction_std": Quantity(
                "rad", (SURFACE, ANGLE), "lower bound on the standard deviation"
            ),
            "snr": Quantity("1", (SURFACE,), "SNR of the matched filter's output"),
            "position_bound": Quantity("m", (), "lower bound on the RMS position error"),
        },
        _direction_bounds,
        ("design_beamforming",),
    ),
    "estimate_direction": Function(
        "sensing",
        estimation_api.simulate_echoes,
        {
            "angle_error": Quantity("rad", (SURFACE, ANGLE), "error of the estimated direction"),
            "snr": Quantity("1", (SURFACE,), "estimated SNR of the matched filter's output"),
        },
        _estimate_direction,
        ("design_beamforming",),
    ),
    "triangulate": Function(
        "sensing",
        estimation_api.triangulate,
        {"position_error": Quantity("m", (), "error of the estimated position")},
        _triangulate,
        ("design_beamforming", "estimate_direction"),
    ),
    "find_target": Function(
        "sensing",
        target_search_api.find_target,
        {
            "dwells_needed": Quantity("1", (), "dwells until the accuracy is reached"),
            "position_error": Quantity("m", (), "position error after the last dwell"),
            "bound": Quantity("m", (), "lower bound on the RMS position error"),
            "excess_db": Quantity("dB", (), "excess over the known-target bound"),
        },
        _find_target,
    ),
}
"""Functions that a study can call, by name."""

OUTPUTS = [f"{name}.{field}" for name, function in FUNCTIONS.items() for field in function.fields]
"""Quantities that a study can compute."""


def compute(name: str, trial: Trial) -> Computed:
    """Return all quantities of one function.

    Args:
        name: One of `FUNCTIONS`.
        trial: Inputs of the trial.

    Raises:
        ValueError: The function refuses the scenario or an option.
    """
    function = FUNCTIONS[name]
    adapter = function.adapter
    result = adapter(trial) if adapter else function.call(trial.scenario, **trial.options_of(name))
    if isinstance(result, Computed):
        return result
    values = {field: np.asarray(getattr(result, field), dtype=float) for field in function.fields}
    return Computed(values, getattr(result, "reason", ""), getattr(result, "status", ""))


_COUNT = Annotated[int, Field(ge=1), BeforeValidator(not_a_word)]
_LENGTH = (Annotated[float, quantity("length", zero=True)], "0.5 m")
_BY_TYPE: Mapping[Any, tuple[Any, Any]] = {
    int: (_COUNT, 8),
    float: (Number, 0.5),
    bool: (Annotated[bool, Field(strict=True)], True),
}
_BY_NAME: Mapping[str, tuple[Any, Any]] = {
    **dict.fromkeys(("accuracy", "clock", "mobility"), _LENGTH),
    "seed": (Annotated[int, Field(ge=0), BeforeValidator(not_a_word)], 0),
    "triangulate.method": (Literal["least_squares", "stansfield"], "stansfield"),
}
"""Type and example of an option: by its type in the signature, where that says enough."""


def _options_of(name: str, function: Callable[..., Any]) -> type[Section]:
    """Model of those arguments of a function that a study file can set."""
    fields: dict[str, Any] = {}
    for argument, annotation in get_type_hints(function).items():
        parts = [part for part in get_args(annotation) if part is not NoneType]
        if get_origin(annotation) is Literal:
            known: tuple[Any, Any] | None = (annotation, parts[0])
        else:
            known = _BY_NAME.get(f"{name}.{argument}") or _BY_NAME.get(argument)
            known = known or _BY_TYPE.get(parts[0] if len(parts) == 1 else annotation)
        if known:
            fields[argument] = (known[0] | None, setting(f"Argument of {name}.", known[1], None))
    return create_model(name, __base__=Section, **fields)


_GROUPS: dict[str, Any] = {
    name: (_options_of(name, function.call) | None, setting(f"Options of {name}.", {}, None))
    for name, function in FUNCTIONS.items()
}
OPTIONS = create_model("options", __base__=Section, **_GROUPS)
"""Model of the options of all functions, by function."""


def read_options(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return options as the functions take them, by function.

    Args:
        given: Options as written, by function.

    Raises:
        ScenarioError: A function or an option does not exist, or a value is not valid for it.
    """
    return {
        name: {option: getattr(group, option) for option in group.model_fields_set}
        for name, group in check(OPTIONS, given, Report(""))
        if group
    }
