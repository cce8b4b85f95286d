r"""Cooperative design of the covariances and coefficients of all surfaces: the paper's (P1).

.. math:: \min_{\psi_l, R_l}\ \max_l\ \mathrm{tr}F_l^{-1}\quad\text{s.t.}\quad
          \tfrac1L\textstyle\sum_l\mathrm{tr}R_l \le P_t,\quad \text{(7)} \le P_s,\quad
          |\psi_{l,n}| \le a_{max},\quad \mathrm{SNR}_l \ge \gamma.

`design_jointly` optimizes coefficients and beams together. `design_alternately` is the paper's
alternating optimization, with either solver for each half. `design_for_region` designs for a set of
possible target positions, because the direction to be estimated is not known in advance. All of
them keep the best design found so far, so that their worst CRB never increases from one step to
the next.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from heliostat.design.cooperative_bound import region_lower_bound
from heliostat.design.feasibility import check_lower_bound, dwell_design
from heliostat.design.joint_descent import (
    DesignSearch,
    Incumbent,
    OnProgress,
    Reflections,
    default_starts,
    descend_jointly,
    transmit_half,
)
from heliostat.design.parametrization import FINAL_SHARPNESS, power_factor
from heliostat.design.reflect import design_surface, reflection_task
from heliostat.design.result import BeamformingDesign, Criterion, RegionDesign
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import target_steering
from heliostat.scene.sensing import SensingScene
from heliostat.surface.active import random_reflection, reflected_power

Method: TypeAlias = Literal["direct", "sdr"]
ALTERNATIONS = 10
"""Largest number of alternations; they end where one gains less than a thousandth."""
_PHASES = 2**31 + 5
"""Tag that keeps these keys apart from a scene's, see `scenario.random_keys`, for equal seeds."""


def random_phases(scene: SensingScene, seed: int) -> Reflections:
    """Coefficients of random phase and of equal amplitude, which leave power for the signal. [1]

    The amplitude is the largest, unless the surface's own noise would then take more than half of
    its power, and more than its share of what is radiated under isotropic transmission.

    Args:
        scene: The scene.
        seed: Seed of the phases.
    """
    root = jax.random.fold_in(jax.random.key(seed), _PHASES)
    angles, reflection = scene.angles(), []
    for i, surface in enumerate(scene.surfaces):
        key = jax.random.fold_in(root, i)
        psi = random_reflection(key, surface.array.elements, surface.amplification)
        steering = target_steering(surface.array, angles[i])
        antennas = scene.base_station.array.elements
        isotropic = jnp.eye(antennas, dtype=complex) * (scene.base_station.power / antennas)
        radiated = reflected_power(
            psi, scene.bs_to_irs[i], isotropic, steering, scene.target_gain[i], surface.noise
        )
        claimed = radiated.own_noise / jnp.maximum(0.5, radiated.own_noise / radiated.total)
        factor = power_factor(surface.power, claimed, jnp.asarray(FINAL_SHARPNESS))
        reflection.append(psi[None] * jnp.sqrt(factor))
    return tuple(reflection)


def _reflect_half(
    scene: SensingScene, best: Incumbent, method: Method, min_snr: Scalar, step: int, seed: int
) -> tuple[Incumbent, float]:
    """Return a design with better coefficients for its covariances, and its smallest SNR."""
    chosen = []
    for i, psi in enumerate(best.reflection):
        task = reflection_task(scene, i, best.covariance[i], min_snr)
        rng = np.random.default_rng([seed, step, i])
        if method == "sdr":
            # CVXPY takes longer to import than most designs take.
            from heliostat.design.reflect_sdr import design_surface_sdr  # noqa: PLC0415

            chosen.append(design_surface_sdr(task, psi[0], candidates=1000, rng=rng))
        else:
            chosen.append(design_surface(task, psi, starts=2, rng=rng))
    worst = float(np.exp(max(c.log_crb for c in chosen)))
    reflection = tuple(c.reflection for c in chosen)
    return Incumbent(best.covariance, reflection, worst), min(c.snr for c in chosen)


def _transmit_half_sdp(
    scene: SensingScene, reflection: Reflections, min_snr: Scalar
) -> Incumbent | None:
    """Return what `transmit_half` returns, by CVXPY; where that fails, by the structured solver."""
    from heliostat.design.reflect_sdr import transmit_sdp_or_none  # noqa: PLC0415

    design = transmit_sdp_or_none(scene, tuple(psi[0] for psi in reflection), float(min_snr))
    if design is None:
        return transmit_half(scene, reflection, min_snr)
    return Incumbent(design.covariance[:, None], reflection, design.worst_crb)


def design_alternately(
    scene: SensingScene,
    *,
    method: Method = "direct",
    min_snr: float | Scalar,
    seed: int = 0,
    on_progress: OnProgress = lambda done, total: None,
) -> BeamformingDesign:
    """Design by the paper's alternation between (P2) and (P3), from random phases.

    Args:
        scene: The scene.
        method: "sdr" for the paper's own solvers, "direct" for `transmit` and `reflect`.
        min_snr: Least SNR of the matched filter, 100 being 20 dB; 0 for the paper's criterion. [1]
        seed: Seed of phases and random vectors.
        on_progress: Called with the number of finished alternations and their maximum number.

    Raises:
        ValueError: If no design was found that reaches the SNR.
    """
    search = DesignSearch((scene,), min_snr)
    half = _transmit_half_sdp if method == "sdr" else transmit_half
    begun = random_phases(scene, seed)
    present = half(scene, begun, search.min_snr)
    if present is None:  # the SNR is out of reach for random phases: start without it
        present = half(scene, begun, jnp.zeros(()))
    else:
        search.offer(present)
    for step in range(ALTERNATIONS):
        if present is None:
            break
        on_progress(step, ALTERNATIONS)
        before = np.inf if search.best is None else search.best.worst
        middle, snr = _reflect_half(scene, present, method, search.min_snr, step, seed)
        # The other half may be worse where its solver is inaccurate.
        if snr >= float(search.min_snr) * (1 - 1e-6):
            search.offer(middle)
        improved = half(scene, middle.reflection, search.min_snr)
        if improved is not None:
            search.offer(improved)
        present = search.best
        if search.best is None:
            present = half(scene, middle.reflection, jnp.zeros(()))
        elif search.best.worst > (1 - 1e-3) * before:
            break
    return search.design()


def design_jointly(
    scene: SensingScene,
    *,
    patterns: int = 1,
    min_snr: float | Scalar,
    starts: int | None = None,
    seed: int = 0,
    on_progress: OnProgress = lambda done, total: None,
) -> BeamformingDesign:
    """Design covariances and coefficients of all surfaces jointly.

    Args:
        scene: The scene.
        patterns: Number of reflection patterns of each surface in its share of the dwell.
        min_snr: Least SNR of the matched filter, 100 being 20 dB; 0 for the paper's criterion. [1]
        starts: Number of random starts for each surface; by default
            `heliostat.design.joint_descent.default_starts`.
        seed: Seed of the starts.
        on_progress: Called with the number of finished steps and of all: the rounds of the search
            and the lower bound.

    Raises:
        ValueError: If no design was found that reaches the SNR.
    """
    return descend_jointly(
        (scene,),
        patterns=patterns,
        mean=False,
        min_snr=min_snr,
        starts=default_starts(scene) if starts is None else starts,
        seed=seed,
        on_progress=lambda done, total: on_progress(done, total + 1),
    ).design()


def design_beamforming(
    scene: SensingScene,
    *,
    method: Method = "direct",
    patterns: int = 1,
    min_snr: float | Scalar,
    seed: int = 0,
    on_progress: OnProgress = lambda done, total: None,
) -> BeamformingDesign:
    """Design covariances and coefficients jointly, or by the paper's algorithm.

    Args:
        scene: The scene.
        method: "direct" designs covariances and coefficients jointly, "sdr" is the paper's
            alternation with semidefinite programs.
        patterns: Number of reflection patterns of each surface in its share of the dwell.
        min_snr: Least SNR of the matched filter, 100 being 20 dB; 0 for the paper's criterion. [1]
        seed: Seed of all random numbers.
        on_progress: Called with the number of finished steps and of all.

    Raises:
        ValueError: If no design was found that reaches the SNR, or if "sdr" is asked for more
            than one pattern.
    """
    if method == "direct":
        return design_jointly(
            scene, patterns=patterns, min_snr=min_snr, seed=seed, on_progress=on_progress
        )
    if patterns != 1:
        raise ValueError(f"method 'sdr' designs 1 pattern, not {patterns}; method 'direct' does")
    return design_alternately(
        scene, method=method, min_snr=min_snr, seed=seed, on_progress=on_progress
    )


def design_for_region(
    scenes: Sequence[SensingScene],
    *,
    criterion: Criterion = "worst",
    patterns: int = 1,
    min_snr: float | Scalar,
    starts: int = 16,
    seed: int = 0,
) -> RegionDesign:
    """Design covariances and coefficients for several possible positions of the target.

    Args:
        scenes: The same scene with the target at each position (`SensingScene.with_target`).
        criterion: Whether to minimize the worst or the mean CRB over the positions.
        patterns: Number of reflection patterns of each surface in its share of the dwell.
        min_snr: Least SNR at every position, 100 being 20 dB. [1]
        starts: Number of random starts for each surface.
        seed: Seed of the starts.

    Raises:
        ValueError: If no design was found that reaches the SNR everywhere.
    """
    every, mean = tuple(scenes), criterion == "mean"
    search = descend_jointly(
        every, patterns=patterns, mean=mean, min_snr=min_snr, starts=starts, seed=seed
    )
    best = search.result()
    designs = tuple(
        dwell_design(at, best.covariance, best.reflection, min_snr=min_snr, history=search.history)
        for at in every
    )
    lower = jnp.asarray(region_lower_bound(every, patterns, mean))
    design = RegionDesign(designs, criterion, lower)
    check_lower_bound(float(lower), design.mean_crb if mean else design.worst_crb)
    return design
