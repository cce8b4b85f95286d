"""What a study can ask of a scenario: the public functions, by name, and the numbers they return.

A quantity is named as one would write it: ``pose_bounds.peb`` is the field ``peb`` of what
`heliostat.pose_bounds` returns. Functions that work on what others return get it from them, with
the options given to those: echoes are simulated for the design that ``design_beamforming`` makes.
Errors are those of an estimate against the truth of its scenario.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from heliostat.api import estimation as estimation_api
from heliostat.api import localization as localization_api
from heliostat.api import sensing as sensing_api
from heliostat.api import target_search as target_search_api
from heliostat.api import tracking as tracking_api
from heliostat.design.result import BeamformingDesign
from heliostat.geometry.frames import wrapped_angle
from heliostat.scenario import AnyScenario, LocalizationScenario, SensingScenario, of_system
from heliostat.studies.study import Quantity
from heliostat.units import parse_quantity, quote

SURFACE, ANGLE = "surface", "angle"
"""Dimensions that a quantity may have; the second is elevation, then azimuth."""


@dataclass(frozen=True)
class Case:
    """One trial: a scenario, the key of all noise, and options by function."""

    scenario: AnyScenario
    key: PRNGKeyArray
    options: Mapping[str, Mapping[str, Any]]

    def given(self, function: str) -> Mapping[str, Any]:
        """Options given to a function."""
        return self.options.get(function, {})

    @functools.cached_property
    def design(self) -> BeamformingDesign:
        """Beams and surfaces for the scenario's target."""
        return sensing_api.design_beamforming(self.scenario, **self.given("design_beamforming"))

    @functools.cached_property
    def directions(self) -> estimation_api.Directions:
        """Where noisy echoes of the design say the target is."""
        sent, psi = self.design.covariance, self.design.reflection
        given = self.given("estimate_direction")
        echoes = estimation_api.simulate_echoes(self.scenario, sent, psi, key=self.key, **given)
        return estimation_api.estimate_direction(self.scenario, echoes, psi)


class Found(NamedTuple):
    """What a function returned."""

    values: Mapping[str, Any]
    reason: str = ""
    """Why some of them are infinite or mean nothing."""
    status: str = ""
    """How a solver ended."""


def _fields(result: Any, names: Mapping[str, Quantity]) -> dict[str, Any]:
    return {name: np.asarray(getattr(result, name), dtype=float) for name in names}


def _pose_bounds(case: Case) -> Found:
    bounds = localization_api.pose_bounds(case.scenario, **case.given("pose_bounds"))
    return Found(_fields(bounds, FUNCTIONS["pose_bounds"].fields), bounds.reason)


def _effective_rate(case: Case) -> Found:
    rate = localization_api.effective_rate(case.scenario, **case.given("effective_rate"))
    return Found(_fields(rate, FUNCTIONS["effective_rate"].fields))


def _allocate_time(case: Case) -> Found:
    share = localization_api.allocate_time(case.scenario, **case.given("allocate_time"))
    return Found(_fields(share, FUNCTIONS["allocate_time"].fields))


def _under_errors(case: Case) -> Found:
    effect = localization_api.under_errors(
        case.scenario, key=case.key, **case.given("under_errors")
    )
    if effect is None:
        raise ValueError("nothing errs in this scenario: its errors are 0, or no estimate steers")
    return Found(_fields(effect, FUNCTIONS["under_errors"].fields))


def _estimate_pose(case: Case) -> Found:
    scenario = of_system(case.scenario, LocalizationScenario, "estimate_pose")
    given = case.given("estimate_pose")
    pilots = estimation_api.simulate_pilots(scenario, key=case.key, **given)
    heading = float(scenario.user.heading)
    pose = estimation_api.estimate_pose(scenario, pilots, believed_heading=heading)
    off = np.linalg.norm(pose.position - np.asarray(scenario.user.position))
    turned = abs(float(wrapped_angle(jnp.asarray(pose.heading - heading))))
    values = {
        "position_error": off if pose.detected else np.inf,
        "heading_error": turned if pose.detected else np.inf,
        "snr": pose.snr,
        "reduced_chi2": pose.reduced_chi2,
    }
    reason = "" if pose.detected else "the pilots do not stand out of the noise"
    return Found(values, reason, "converged" if pose.converged else "not converged")


def _run_protocol(case: Case) -> Found:
    track = tracking_api.run_protocol(case.scenario, key=case.key, **case.given("run_protocol"))
    found = track.position_error.values[track.detected.values]
    values = {
        "eadr_mean": track.eadr.mean(),
        "position_error_median": np.median(found) if found.size else np.inf,
        "lost_periods": track.attrs["lost_periods"],
    }
    return Found(values, "" if found.size else "the user was lost in every period")


def _design_beamforming(case: Case) -> Found:
    made = case.design
    return Found(_fields(made, FUNCTIONS["design_beamforming"].fields), status=made.status)


def _direction_bounds(case: Case) -> Found:
    made = case.design
    bounds = sensing_api.direction_bounds(case.scenario, made.covariance, made.reflection)
    return Found(_fields(bounds, FUNCTIONS["direction_bounds"].fields), bounds.reason)


def _estimate_direction(case: Case) -> Found:
    seen = case.directions
    scenario = of_system(case.scenario, SensingScenario, "estimate_direction")
    off = wrapped_angle(jnp.asarray(seen.angles) - scenario.build().angles())
    unseen = np.flatnonzero(~seen.detected)
    reason = "".join(f"the echo through surface {i} is lost in the noise; " for i in unseen)
    errors = np.where(seen.detected[:, None], abs(off), np.inf)
    return Found({"angle_error": errors, "snr": seen.snr}, reason.removesuffix("; "))


def _triangulate(case: Case) -> Found:
    seen, given = case.directions, case.given("triangulate")
    place = estimation_api.triangulate(case.scenario, seen.angles, seen.covariance, **given)
    scenario = of_system(case.scenario, SensingScenario, "triangulate")
    truth = np.asarray(scenario.target.position)
    values = {"position_error": np.linalg.norm(place.position - truth)}
    return Found(values, status="converged" if place.converged else "not converged")


def _find_target(case: Case) -> Found:
    search = target_search_api.find_target(case.scenario, key=case.key, **case.given("find_target"))
    needed = search.attrs["dwells_needed"]
    values = {
        "dwells_needed": needed or np.inf,
        "position_error": search.position_error.values[-1],
        "bound": search.bound.values[-1],
        "cost_of_ignorance_db": search.cost_of_ignorance.values[-1],
    }
    return Found(values, "" if needed else "the accuracy was not reached in so many dwells")


@dataclass(frozen=True)
class Function:
    """A public function, as a study sees it."""

    system: str
    """Of the scenarios it is for."""
    compute: Callable[[Case], Found]
    fields: Mapping[str, Quantity]
    options: Mapping[str, str]
    """What may be given to it by name, and the kind of its value: whole, number, flag, a dimension
    of `heliostat.units`, or words to choose from, with | between."""
    needs: tuple[str, ...] = ()
    """Functions whose results it works on."""


_ANTENNAS = {"active_antennas": "whole"}
_SHARE = {"weight": "number", "balance": "number"}

FUNCTIONS: Mapping[str, Function] = {
    "pose_bounds": Function(
        "localization",
        _pose_bounds,
        {
            "peb": Quantity("m", (), "position error bound"),
            "reb": Quantity("rad", (), "heading error bound"),
            "rank": Quantity("1", (), "rank of the information"),
        },
        _ANTENNAS,
    ),
    "effective_rate": Function(
        "localization",
        _effective_rate,
        {
            "eadr": Quantity("bit/s", (), "effective rate with codebook beams"),
            "eadr_closed_form": Quantity("bit/s", (), "effective rate in closed form"),
            "snr": Quantity("1", (), "SNR of the data"),
            "time_ratio": Quantity("1", (), "share of the period for pilots"),
        },
        _ANTENNAS,
    ),
    "allocate_time": Function(
        "localization",
        _allocate_time,
        {
            "ratio": Quantity("1", (), "best share of the period for pilots"),
            "active_antennas": Quantity("1", (), "best number of active antennas"),
            "peak_rate_ratio": Quantity("1", (), "share of the period where the rate is largest"),
        },
        _SHARE,
    ),
    "under_errors": Function(
        "localization",
        _under_errors,
        {
            "peb_median": Quantity("m", (), "median position error bound under errors"),
            "reb_median": Quantity("rad", (), "median heading error bound under errors"),
            "eadr_mean": Quantity("bit/s", (), "mean effective rate under errors"),
        },
        _ANTENNAS | {"trials": "whole"},
    ),
    "estimate_pose": Function(
        "localization",
        _estimate_pose,
        {
            "position_error": Quantity("m", (), "error of the estimated position"),
            "heading_error": Quantity("rad", (), "error of the estimated heading"),
            "snr": Quantity("1", (), "energy of the fitted pilots over the noise density"),
            "reduced_chi2": Quantity("1", (), "unexplained energy over what noise leaves"),
        },
        _ANTENNAS | {"bins": "whole"},
    ),
    "run_protocol": Function(
        "localization",
        _run_protocol,
        {
            "eadr_mean": Quantity("bit/s", (), "mean effective rate over the periods"),
            "position_error_median": Quantity("m", (), "median error of the periods not lost"),
            "lost_periods": Quantity("1", (), "periods in which the user was lost"),
        },
        _SHARE | {"periods": "whole", "mobility": "length", "invented_errors": "flag"},
    ),
    "design_beamforming": Function(
        "sensing",
        _design_beamforming,
        {
            "worst_crb": Quantity("rad2", (), "worst CRB of the design"),
            "crb": Quantity("rad2", (SURFACE,), "CRB of the design"),
            "lower_bound": Quantity("rad2", (), "no design has a smaller worst CRB"),
            "gap": Quantity("1", (), "1 - lower bound / worst CRB"),
            "excess_db": Quantity("dB", (), "excess of the worst CRB over the lower bound"),
        },
        {"method": "direct|sdr"},
    ),
    "direction_bounds": Function(
        "sensing",
        _direction_bounds,
        {
            "crb": Quantity("rad2", (SURFACE,), "CRB of the designed dwell"),
            "direction_std": Quantity("rad", (SURFACE, ANGLE), "least standard deviation"),
            "snr": Quantity("1", (SURFACE,), "SNR of the matched filter's output"),
            "position_bound": Quantity("m", (), "bound of the position's root mean square error"),
        },
        {},
        ("design_beamforming",),
    ),
    "estimate_direction": Function(
        "sensing",
        _estimate_direction,
        {
            "angle_error": Quantity("rad", (SURFACE, ANGLE), "error of the estimated direction"),
            "snr": Quantity("1", (SURFACE,), "estimated SNR of the matched filter's output"),
        },
        {"neglect_reradiated": "flag"},
        ("design_beamforming",),
    ),
    "triangulate": Function(
        "sensing",
        _triangulate,
        {"position_error": Quantity("m", (), "error of the estimated position")},
        {"method": "least_squares|stansfield"},
        ("design_beamforming", "estimate_direction"),
    ),
    "find_target": Function(
        "sensing",
        _find_target,
        {
            "dwells_needed": Quantity("1", (), "dwells until the accuracy is reached"),
            "position_error": Quantity("m", (), "error of the position after the last dwell"),
            "bound": Quantity("m", (), "bound of the position by all that was sent"),
            "cost_of_ignorance_db": Quantity("dB", (), "bound over that of a known target"),
        },
        {"dwells": "whole", "accuracy": "length"},
    ),
}
"""All that a study can ask for."""


def quantity_names(system: str) -> list[str]:
    """Everything a study of a system can ask for, as ``function.field``.

    Args:
        system: "localization" or "sensing".
    """
    return [
        f"{name}.{field}"
        for name, function in FUNCTIONS.items()
        if function.system == system
        for field in function.fields
    ]


def option_value(function: str, option: str, value: Any) -> Any:
    """An option's value as the function takes it, from what a person wrote.

    Args:
        function: One of `FUNCTIONS`.
        option: One of its options.
        value: As it was written.

    Raises:
        ValueError: It is of another kind; the message tells which is needed.
    """
    kind = FUNCTIONS[function].options[option]
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind == "whole":
        if whole and value >= 1:
            return value
        raise ValueError(f"{quote(value)} is not a whole number from 1 on; write e.g. 8")
    if kind == "number":
        if (whole or isinstance(value, float)) and np.isfinite(value):
            return float(value)
        raise ValueError(f"{quote(value)} is not a finite number; write e.g. 0.5")
    if kind == "flag":
        if isinstance(value, bool):
            return value
        raise ValueError(f"{quote(value)} is neither true nor false")
    if "|" in kind:
        if value in kind.split("|"):
            return value
        raise ValueError(f"{quote(value)} is unknown; write {kind.replace('|', ' or ')}")
    return parse_quantity(value, kind)
