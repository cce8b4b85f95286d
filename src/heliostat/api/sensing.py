"""Public functions for sensing scenarios: bounds and beamforming designs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, PRNGKeyArray
from numpy.typing import ArrayLike

from heliostat.api.arguments import described, public
from heliostat.api.sensing_arguments import (
    Method,
    checked_covariances,
    checked_positions,
    checked_reflections,
)
from heliostat.bounds.direction import (
    DirectionBound,
    direction_bound,
    position_bound,
    scene_information,
)
from heliostat.bounds.fisher import Identifiability
from heliostat.design.baselines import matched_beams
from heliostat.design.cooperative import design_beamforming as design_both
from heliostat.design.cooperative import design_for_region as design_everywhere
from heliostat.design.cooperative import random_phases
from heliostat.design.cooperative_bound import cooperative_lower_bound
from heliostat.design.feasibility import check_lower_bound, violation
from heliostat.design.joint_descent import OnProgress
from heliostat.design.reflect import design_reflection as design_coefficients
from heliostat.design.result import (
    BeamformingDesign,
    Criterion,
    RegionDesign,
    constraint_slack,
    patterned,
    surface_bounds,
)
from heliostat.design.surface_states import UnidentifiableError
from heliostat.design.transmit import design_transmit as design_structured
from heliostat.design.transmit import largest_snr
from heliostat.geometry.frames import Scalar
from heliostat.scenario import Problem, ScenarioError, SensingScenario
from heliostat.scenario.sensing.build import moved_target
from heliostat.scene.sensing import SensingScene
from heliostat.stored_programs import stored_jit
from heliostat.units import from_db, to_db

TransmitMethod: TypeAlias = Literal["structured", "sdp"]
Patterns: TypeAlias = tuple[Complex[Array, "pattern _"], ...]
Covariances: TypeAlias = tuple[Complex[Array, "pattern tx tx"], ...]


@dataclass(frozen=True)
class DirectionBounds:
    """Bounds on a target's direction at each surface and on its position."""

    crb: np.ndarray
    r"""The sensing paper's :math:`\mathrm{tr}\,F_l^{-1}`, eq. (15); ``inf`` if an angle is not
    identifiable. [surface] [rad²]"""
    direction_std: np.ndarray
    """Lower bounds on the standard deviations of elevation and azimuth. [surface, 2] [rad]"""
    snr: np.ndarray
    """SNR of the matched filter's output; below about 20 dB (23 dB with several patterns)
    estimators do not attain the bounds. [surface] [1]"""
    lost: tuple[tuple[str, ...], ...]
    """Angles that are not identifiable at each surface: "elevation", "azimuth", both or none."""
    position_bound: float
    """Lower bound on the root mean square position error from all surfaces; ``inf`` if the position
    is not identifiable. [m]"""
    unidentifiable: np.ndarray
    """Unit vectors along which a motion of the target does not change the echoes. [direction, 3]"""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""

    @property
    def identifiable(self) -> bool:
        """Whether the position is identifiable."""
        return bool(np.isfinite(self.position_bound))

    @property
    def reason(self) -> str:
        """Reason for infinite bounds; empty if all bounds are finite."""
        sentences = [
            f"Not identifiable at surface {i}: {' and '.join(names)}."
            for i, names in enumerate(self.lost)
            if names
        ]
        if not self.identifiable:
            # Zero is added because -0.0 would be printed with its sign.
            rounded = np.round(self.unidentifiable, 3) + 0.0
            moves = "; ".join(f"({x:+.3g}, {y:+.3g}, {z:+.3g})" for x, y, z in rounded)
            sentences.append(
                f"Changes of the target's position along {moves} do not change the echoes."
            )
        return " ".join(sentences)

    def _repr_html_(self) -> str:
        head = "<tr><th>surface</th><th>elevation</th><th>azimuth</th><th>SNR</th></tr>"
        rows = "".join(
            f"<tr><td>{i}</td><td>{elevation:.4g} rad</td><td>{azimuth:.4g} rad</td>"
            f"<td>{10 * np.log10(max(snr, 1e-300)):.4g} dB</td></tr>"
            for i, ((elevation, azimuth), snr) in enumerate(
                zip(self.direction_std, self.snr, strict=True)
            )
        )
        position = f"position: {self.position_bound:.4g} m"
        told = f"{position}. {self.reason}" if self.reason else position
        return f"<table>{head}{rows}</table><p>{told}</p>"


@public(SensingScenario)
def direction_bounds(
    scenario: SensingScenario,
    covariance: ArrayLike | Sequence[ArrayLike],
    reflection: ArrayLike | Sequence[ArrayLike],
    *,
    key: PRNGKeyArray | None = None,
) -> DirectionBounds:
    r"""Compute bounds on the target's directions, paper eqs. (14)-(16), and on its position.

    The patterns of a surface share its part of the dwell equally. If the covariance exceeds the
    power of the base station, a note states this; the power limits of the surfaces are not checked.

    Args:
        scenario: A sensing scenario.
        covariance: Covariance of the transmitted signal, :math:`R_l`: [surface, tx, tx], or
            [surface, pattern, tx, tx]. [W]
        reflection: Coefficients :math:`\psi_l`: [surface, element], or [surface, pattern,
            element]; for surfaces of different size a list with one array each. [1]
        key: Random key of the channels; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of sensing.
        ValueError: An array has the wrong shape or is not finite, or a covariance is not Hermitian
            and positive semidefinite.
    """
    settings = checked_reflections(scenario, reflection)
    sent = checked_covariances(scenario, covariance, settings)
    bounds, (deviation, seen) = _bounds(scenario.build(key), sent, settings)
    return DirectionBounds(
        crb=np.asarray([bound.crb for bound in bounds]),
        direction_std=np.asarray([bound.direction_std for bound in bounds]),
        snr=np.asarray([bound.snr for bound in bounds]),
        lost=tuple(tuple(bound.lost_names()) for bound in bounds),
        position_bound=float(deviation),
        unidentifiable=np.asarray(seen.directions)[np.asarray(seen.lost)],
        notes=_power_notes(scenario, sent),
    )


def _mean_power(covariance: Covariances) -> float:
    """Transmitted power, averaged over surfaces and patterns. [W]"""
    power = [np.trace(np.asarray(each), axis1=1, axis2=2).real.mean() for each in covariance]
    return float(np.mean(power))


def _power_notes(scenario: SensingScenario, covariance: Covariances) -> tuple[str, ...]:
    """A note if the covariances exceed the power of the base station."""
    sent, allowed = _mean_power(covariance), scenario.base_station.power
    if sent <= allowed * (1 + 1e-9):
        return ()
    return (
        f"Transmit power: the covariance has a mean power of {sent:.6g} W over the dwell, but "
        f"base_station.power is {allowed:.6g} W.",
    )


@stored_jit
def _bounds(
    scene: SensingScene, covariance: Covariances, reflection: Patterns
) -> tuple[tuple[DirectionBound, ...], tuple[Scalar, Identifiability]]:
    directions = scene_information(scene, covariance, reflection)
    return tuple(direction_bound(d) for d in directions), position_bound(scene, directions)


@public(SensingScenario)
def design_transmit(
    scenario: SensingScenario,
    reflection: ArrayLike | Sequence[ArrayLike],
    method: TransmitMethod = "structured",
    *,
    key: PRNGKeyArray | None = None,
) -> BeamformingDesign:
    r"""Design transmit covariances that minimize the largest CRB for given coefficients.

    This is problem (P2), eq. (18), of the sensing paper.

    Args:
        scenario: A sensing scenario; ``dwell.min_snr`` is a constraint.
        reflection: Coefficients :math:`\psi_l`, one pattern each: [surface, element], or a list
            with one array each. [1]
        method: "structured" for the reduced problem, "sdp" for the paper's semidefinite program
            with CVXPY.
        key: Random key of the channels; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of sensing.
        ValueError: The method is unknown, an array has the wrong shape, or no covariance satisfies
            all constraints.
    """
    settings = checked_reflections(scenario, reflection)
    for i, patterns in enumerate(settings):
        if len(patterns) != 1:
            raise ValueError(
                f"reflection[{i}] has {len(patterns)} patterns; design_transmit is for 1."
            )
    scene, single = scenario.build(key), tuple(patterns[0] for patterns in settings)
    min_snr = scenario.dwell.required_snr
    if method == "structured":
        return design_structured(scene, single, min_snr=min_snr)
    if method == "sdp":
        # Loading CVXPY takes longer than most designs.
        from heliostat.design.transmit_sdp import design_transmit_sdp  # noqa: PLC0415

        return design_transmit_sdp(scene, single, min_snr=min_snr)
    raise ValueError(f"method is {method!r}; it must be 'structured' or 'sdp'.")


@public(SensingScenario)
def design_reflection(
    scenario: SensingScenario,
    covariance: ArrayLike | Sequence[ArrayLike],
    method: Method = "direct",
    *,
    key: PRNGKeyArray | None = None,
    seed: int = 0,
) -> BeamformingDesign:
    r"""Design coefficients that minimize the largest CRB for given transmit covariances.

    This is problem (P3), eq. (23), of the sensing paper.

    Args:
        scenario: A sensing scenario; ``dwell.patterns`` is the number of patterns,
            ``dwell.min_snr`` a constraint.
        covariance: Covariance of the transmitted signal, :math:`R_l`: [surface, tx, tx], or
            [surface, pattern, tx, tx]. [W]
        method: "direct" for a descent, "sdr" for the paper's semidefinite relaxation with Gaussian
            randomization, from random phases and with one pattern only.
        key: Random key of the channels; default ``link.seed``.
        seed: Seed of starts and random vectors.

    Raises:
        TypeError: The scenario is not one of sensing.
        ValueError: The method is unknown or does not support several patterns, an array has the
            wrong shape, the covariances exceed the power of the base station, or no coefficients
            were found that satisfy all constraints.
    """
    patterns, min_snr = _patterns_for(scenario, method), scenario.dwell.required_snr
    each = checked_covariances(scenario, covariance, [range(patterns)] * len(scenario.surfaces))
    sent = jnp.stack(each)
    spent, allowed = _mean_power(each), scenario.base_station
    if spent > allowed.power * (1 + 1e-9):
        raise ValueError(
            f"covariance has a mean power of {spent:.6g} W over the dwell, but base_station.power "
            f"of {scenario.name} is {allowed.power:.6g} W; multiply it by at most "
            f"{allowed.power / spent:.6g}."
        )
    scene = scenario.build(key)
    if method == "direct":
        return design_coefficients(scene, sent, min_snr=min_snr, seed=seed)
    from heliostat.design.reflect_sdr import design_reflection_sdr  # noqa: PLC0415

    begun = tuple(psi[0] for psi in random_phases(scene, seed))
    return design_reflection_sdr(scene, sent[:, 0], begun, min_snr=min_snr, seed=seed)


@public(SensingScenario)
def design_beamforming(
    scenario: SensingScenario,
    method: Method = "direct",
    *,
    key: PRNGKeyArray | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> BeamformingDesign:
    r"""Design transmit covariances and coefficients jointly to minimize the largest CRB.

    This is problem (P1), eq. (17), of the sensing paper.

    Args:
        scenario: A sensing scenario. The design is for ``target.position``;
            ``dwell.patterns`` is the number of patterns, ``dwell.min_snr`` a constraint.
        method: "direct" for a joint descent, "sdr" for the paper's alternation with semidefinite
            programs and one pattern only.
        key: Random key of the channels; default ``link.seed``.
        seed: Seed of the random starts.
        on_progress: Function called with the number of finished steps and of all steps. It may
            raise an exception to stop the design.

    Returns:
        ``covariance``, ``reflection``, the bounds, the slack of every constraint, and the gap to
        a lower bound on any design. With several patterns, covariances are [surface,
        pattern, tx, tx] and coefficients [pattern, element] for each surface.

    Raises:
        TypeError: The scenario is not one of sensing.
        ValueError: The method is unknown or does not support several patterns, or no design was
            found that satisfies all constraints.
    """
    return design_both(
        scenario.build(key),
        method=method,
        patterns=_patterns_for(scenario, method),
        min_snr=scenario.dwell.required_snr,
        seed=seed,
        on_progress=on_progress or (lambda done, total: None),
    )


@public(SensingScenario)
def certify(
    scenario: SensingScenario, design: BeamformingDesign, *, key: PRNGKeyArray | None = None
) -> BeamformingDesign:
    """Return a design with the best lower bound that heliostat can prove.

    The bound of a design takes about a second. For one pattern this function adds the element
    relaxations for up to 400 elements and 24 modes (the smaller of the numbers of antennas and
    elements), and for up to 100 elements the one for both power limits. For two surfaces of 16, 64
    and 256 elements this takes about 6, 24 and 70 s.

    Args:
        scenario: The scenario of the design.
        design: A design of both transmit and reflective beamforming for its target.
        key: Random key of the channels for which it was designed; default ``link.seed``.

    Returns:
        The same design; ``lower_bound``, ``gap`` and ``excess_db`` use the larger bound.

    Raises:
        TypeError: The scenario is not one of sensing, or the design is something else.
        ValueError: The design is not one for this scenario and key: its CRB differs there, or it
            violates a constraint.
        RuntimeError: The bound exceeds the CRB: an error of this package.
    """
    if not isinstance(design, BeamformingDesign):
        raise TypeError(
            f"design is {described(design)}; it must be a result of design_beamforming."
        )
    scene = scenario.build(key)
    covariance = _checked_design(scenario, scene, design)
    found = cooperative_lower_bound(scene, covariance.shape[1], thorough=True)
    bound = max(found, float(design.lower_bound))
    check_lower_bound(bound, design.worst_crb)
    given = jax.tree.map(jnp.asarray, design)
    return replace(given, lower_bound=jnp.asarray(bound), notes=())  # `public` adds the notes


def _checked_design(
    scenario: SensingScenario, scene: SensingScene, design: BeamformingDesign
) -> np.ndarray:
    """Covariances of a design, [surface pattern tx tx], if it is one for the scene. [W]

    Raises:
        ValueError: It is not.
    """
    covariance, reflection = patterned(design)
    min_snr = scenario.dwell.required_snr
    try:
        settings = checked_reflections(scenario, reflection)
        checked_covariances(scenario, covariance, settings)
        if (patterns := covariance.shape[1]) != scenario.dwell.patterns:
            raise ValueError(f"its number of patterns is {patterns}, not {scenario.dwell.patterns}")
        sent = jnp.asarray(covariance)
        bounds = surface_bounds(scene, settings, sent)
        slack = constraint_slack(scene, settings, sent, bounds.snr, min_snr)
        if (broken := violation(scene, slack, min_snr)) is not None:
            raise ValueError(broken)
        worst = float(np.max(np.asarray(bounds.crb)))
        if not np.isclose(worst, design.worst_crb, rtol=1e-6, atol=0):
            raise ValueError(f"its worst CRB would be {worst:.4g}, not {design.worst_crb:.4g} rad²")
    except ValueError as error:
        raise ValueError(
            f"design is not one for {scenario.name}: {str(error).rstrip('.')}; give the scenario, "
            "and the key if there was one, for which it was designed."
        ) from error
    return covariance


def designed(
    scenario: SensingScenario,
    method: Method = "direct",
    *,
    on_progress: OnProgress | None = None,
) -> BeamformingDesign:
    """Run `heliostat.design_beamforming`, and add a remedy to the error if the SNR is out of reach.

    Raises:
        ScenarioError: No design reaches the SNR that the scenario requires, or the angles cannot
            be estimated.
        ValueError: The method does not support the scenario's number of patterns.
    """
    try:
        return design_beamforming(scenario, method, on_progress=on_progress)
    except UnidentifiableError as error:
        raise ScenarioError([Problem(scenario.name, "surfaces", "", str(error))]) from error
    except ValueError as error:
        required = scenario.dwell.required_snr
        if required == 0 or (method == "sdr" and scenario.dwell.patterns > 1):
            raise
        scene = scenario.build()
        reach = float(to_db(largest_snr(scene, matched_beams(scene).reflection)))
        text = f"{float(to_db(required)):g} dB"
        # Beams towards the target reach this SNR; other designs may reach a little more.
        less = "less" if from_db(reach) > required else f"{math.floor(10 * reach) / 10:g} dB"
        sentence = (
            f"no design was found that reaches {text} at every surface; write {less}, or none, or "
            "give more power, amplification, elements or dwell.symbols"
        )
        raise ScenarioError([Problem(scenario.name, "dwell.min_snr", text, sentence)]) from error


@public(SensingScenario)
def design_for_region(
    scenario: SensingScenario,
    positions: ArrayLike,
    criterion: Criterion = "worst",
    *,
    key: PRNGKeyArray | None = None,
    seed: int = 0,
) -> RegionDesign:
    """Design transmit covariances and coefficients for a set of possible target positions.

    Target gains at other positions follow the radar equation, see
    `heliostat.scenario.sensing.build.moved_target`.

    Args:
        scenario: A sensing scenario; ``dwell.patterns`` is the number of patterns,
            ``dwell.min_snr`` a constraint at every position.
        positions: Possible positions of the target, [position, 3]. [m]
        criterion: Minimize the "worst" or the "mean" CRB over the positions.
        key: Random key of the channels; default ``link.seed``.
        seed: Seed of the random starts.

    Returns:
        The design with its bounds at each position, ``worst_crb``, ``mean_crb`` and ``gap``.

    Raises:
        TypeError: The scenario is not one of sensing.
        ValueError: The criterion is unknown, a position is not in front of every surface, or no
            design was found that satisfies all constraints at every position.
    """
    if criterion not in get_args(Criterion):
        raise ValueError(f"criterion is {criterion!r}; it must be 'worst' or 'mean'.")
    places = checked_positions(scenario, positions)
    scene = scenario.build(key)
    return design_everywhere(
        [moved_target(scene, jnp.asarray(place)) for place in places],
        criterion=criterion,
        patterns=scenario.dwell.patterns,
        min_snr=scenario.dwell.required_snr,
        seed=seed,
    )


def _patterns_for(scenario: SensingScenario, method: str) -> int:
    """Return the number of patterns; the paper's methods support one."""
    if method not in get_args(Method):
        raise ValueError(f"method is {method!r}; it must be 'direct' or 'sdr'.")
    patterns = scenario.dwell.patterns
    if method == "sdr" and patterns != 1:
        raise ValueError(
            f"dwell.patterns of {scenario.name} is {patterns}, method 'sdr' designs 1 pattern "
            "only; set dwell.patterns to 1, or take method 'direct'."
        )
    return patterns
