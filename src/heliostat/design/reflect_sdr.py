r"""The paper's algorithm for (P3): successive linearization, relaxation, randomization.

With :math:`\Theta = \psi\psi^H` both 3x3 matrices of the information are linear,
:math:`A = A(\Theta)` for fixed :math:`R_w` and :math:`B = B(\Theta)`, and F is bilinear in them.
The paper's Lemma 1 with its gradients (36)-(50), corrected where misprinted, is equivalent to

.. math:: \hat F(\Theta) = F(A, B_i) + F(A_i, B) - F(A_i, B_i).

Neither this nor the linearized power (24) is a bound, so an iteration of the paper's algorithm may
increase the CRB. Four changes prevent this. The present coefficients are always among the
candidates. Candidates have the phases of the random vectors and the amplitudes of the diagonal of
the relaxed solution, instead of being divided by their largest entry. Each is scaled down until (7)
holds exactly, and its CRB is evaluated exactly. The program is preconditioned, and the status of
the solver is checked.
"""

import warnings
from typing import NamedTuple

import cvxpy as cp
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from heliostat.bounds.direction import direction_information, steering_derivatives
from heliostat.design.certificate import linear_information
from heliostat.design.feasibility import dwell_design
from heliostat.design.matrices import hermitian_part
from heliostat.design.parametrization import FINAL_SHARPNESS, log_crb
from heliostat.design.reflect import (
    ReflectionTask,
    SetSurface,
    reflection_task,
    within_power,
)
from heliostat.design.result import BeamformingDesign
from heliostat.design.transmit_sdp import design_transmit_sdp
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import noise_covariance
from heliostat.scene.sensing import SensingScene

MAX_ROUNDS = 10
SETTLED = 1e-4  # relative improvement below which the iteration ends


class _Linear(NamedTuple):
    """Information and power as linear functions of Theta, for one local point."""

    slope: np.ndarray  # of F, so that F = Re tr(slope Theta) - rest [4 4 element element]
    rest: np.ndarray  # [4 4]
    power_slope: np.ndarray  # [element element]
    power_rest: float  # [W]


def _linearized(task: ReflectionTask, reflection: np.ndarray) -> _Linear:
    """Paper eqs. (20)-(24) at a local point."""
    link = task.link
    G, R = np.asarray(link.bs_to_irs), np.asarray(task.covariance[0])
    d = np.asarray(steering_derivatives(link.array, task.angles))
    noise = np.asarray(noise_covariance(link, jnp.asarray(reflection)))
    gamma = np.conj(G) @ np.linalg.solve(noise, G.T)
    sent = G @ R @ np.conj(G).T
    gain_power = float(jnp.abs(task.target_gain) ** 2)
    strength = 2 * link.symbols * gain_power

    # A_ab = tr(to_a[a, b] Theta), B_ab = tr(to_b[a, b] Theta).
    to_a = np.einsum("an,nm,bm->abnm", np.conj(d), gamma, d)
    to_b = np.einsum("an,nm,bm->abmn", d, sent, np.conj(d))
    theta = np.outer(reflection, np.conj(reflection))
    received = np.einsum("abnm,mn->ab", to_a, theta)
    transmitted = np.einsum("abnm,mn->ab", to_b, theta)
    # F_pq = Re sum_df of_b[p, q, d, f] B_fd, of_b linear in A.
    of_b = np.asarray(linear_information(jnp.asarray(received), strength))
    units = jnp.eye(9, dtype=complex).reshape(9, 3, 3)
    by_unit = np.asarray(jax.vmap(lambda unit: linear_information(unit, strength))(units))
    of_a = np.einsum("kpqdf,fd->pqk", by_unit, transmitted).reshape(4, 4, 3, 3)
    slope = np.einsum("pqdf,fdnm->pqnm", of_b, to_b) + np.einsum("pqab,abnm->pqnm", of_a, to_a)
    rest = np.real(np.einsum("pqdf,fd->pq", of_b, transmitted))

    lit = to_b[0, 0]  # a^T Psi GRG^H Psi^H a^* = tr(lit Theta)
    size, light = np.real(np.trace(theta)), np.real(np.trace(lit @ theta))
    noise_power = float(task.surface.noise)
    eye = np.eye(len(reflection))
    power_slope = gain_power * (size * lit + light * eye + 2 * noise_power * size * eye)
    power_slope = power_slope + np.diag(np.real(np.diag(sent))) + 2 * noise_power * eye
    power_rest = gain_power * (size * light + noise_power * size**2)
    return _Linear(slope, rest, power_slope, float(power_rest))


def relaxed_reflection(task: ReflectionTask, reflection: np.ndarray) -> np.ndarray | None:
    r"""Solution :math:`\Theta` of (SDR3.l.3) at a local point; None if the solver has none.

    Args:
        task: The design problem.
        reflection: The local point. [1]
    """
    linear, elements = _linearized(task, reflection), len(reflection)
    cap = float(task.surface.amplification) ** 2
    gain = float(jnp.abs(task.target_gain))
    try:
        root = np.linalg.cholesky(np.linalg.inv(linear.rest))  # root^T F root = I here
    except np.linalg.LinAlgError:
        return None
    theta = cp.Variable((elements, elements), hermitian=True)  # Theta / a_max²
    turned = np.einsum("pa,pqnm,qb->abnm", root, linear.slope, root) * cap
    entries = [
        [
            cp.real(cp.trace(hermitian_part((turned[a, b] + turned[b, a]) / 2) @ theta))
            - float(a == b)
            for b in range(4)
        ]
        for a in range(4)
    ]
    cost = np.diag([1.0, 1.0, gain, gain]) @ root
    cost = cost / np.linalg.norm(cost)
    inverse = cp.Variable((4, 4), symmetric=True)
    constraints = [theta >> 0, cp.bmat([[cp.bmat(entries), cost.T], [cost, inverse]]) >> 0]
    diagonal = cp.real(cp.diag(theta))
    constraints.append(diagonal == 1 if task.surface.passive else diagonal <= 1)
    limit = float(task.surface.power)
    if np.isfinite(limit):
        used = cp.real(cp.trace(hermitian_part(linear.power_slope) * (cap / limit) @ theta))
        constraints.append(used <= 1 + linear.power_rest / limit)
    problem = cp.Problem(cp.Minimize(cp.trace(inverse)), constraints)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # inaccurate: true values decide
            problem.solve(solver=cp.CLARABEL)
    except cp.error.SolverError:
        return None
    if problem.status not in {cp.OPTIMAL, cp.OPTIMAL_INACCURATE} or theta.value is None:
        return None
    return hermitian_part(theta.value) * cap


@eqx.filter_jit
def _true_values(
    task: ReflectionTask, candidates: Complex[Array, "candidate element"]
) -> tuple[Array, Float[Array, "candidate"], Float[Array, "candidate"]]:
    """Candidates scaled to keep the power limit, their log CRBs and SNRs."""

    def one(psi: Array) -> tuple[Array, Scalar, Scalar]:
        fit = within_power(task, psi[None], jnp.asarray(FINAL_SHARPNESS))
        direction = direction_information(
            task.link, fit, task.covariance, task.angles, task.target_gain
        )
        return fit[0], log_crb(direction), direction.snr

    return jax.vmap(one)(candidates)


def randomized(
    theta: np.ndarray, count: int, amplification: float, rng: np.random.Generator
) -> np.ndarray:
    r"""Rank-one candidates from a relaxed solution. [candidate element]

    Args:
        theta: Relaxed solution, :math:`\Theta`.
        count: Number of random candidates.
        amplification: Largest amplitude. [1]
        rng: Random generator.
    """
    values, vectors = np.linalg.eigh(theta)
    half = vectors * np.sqrt(np.maximum(values, 0.0))
    draws = rng.normal(size=(count, len(theta), 2)) @ np.array([1, 1j])
    draws = np.concatenate([draws @ half.T, vectors[:, -1][None]])
    amplitude = np.sqrt(np.clip(np.real(np.diag(theta)), 0.0, amplification**2))
    return amplitude * np.exp(1j * np.angle(draws))


def design_surface_sdr(
    task: ReflectionTask,
    incumbent: Complex[Array, "element"],
    *,
    candidates: int,
    rng: np.random.Generator,
) -> SetSurface:
    """Coefficients of one surface by the paper's iteration; never worse than the initial ones.

    Args:
        task: The design problem, with one pattern.
        incumbent: Initial coefficients. [1]
        candidates: Number of random vectors in each iteration.
        rng: Random generator.
    """
    cap = float(task.surface.amplification)
    psi, value, snr = (o[0] for o in _true_values(task, incumbent[None]))
    best = SetSurface(psi[None], float(value), float(snr))
    enough = float(task.min_snr) * (1 - 1e-6)
    for _ in range(MAX_ROUNDS):
        theta = relaxed_reflection(task, np.asarray(best.reflection[0]))
        if theta is None:
            break
        if task.surface.passive:
            np.fill_diagonal(theta, 1.0)
        drawn = jnp.asarray(randomized(theta, candidates, cap, rng))
        fits, values, snrs = _true_values(task, drawn)
        # As long as no candidate has the minimum SNR, the one of largest SNR is taken.
        score = jnp.where(snrs >= enough, values, jnp.inf)
        k = int(jnp.argmin(score) if bool(jnp.any(snrs >= enough)) else jnp.argmax(snrs))
        candidate = SetSurface(fits[k][None], float(values[k]), float(snrs[k]))
        if best.snr >= enough:
            better = candidate.snr >= enough and candidate.log_crb < best.log_crb
        else:
            better = candidate.snr > best.snr
        if not better:
            break
        settled = best.snr >= enough and best.log_crb - candidate.log_crb < SETTLED
        best = candidate
        if settled:
            break
    return best


def transmit_sdp_or_none(
    scene: SensingScene, reflection: tuple[Complex[Array, "_"], ...], min_snr: float
) -> BeamformingDesign | None:
    """Covariances by the paper's program for (P2); None if no solver finds any.

    Args:
        scene: The scene.
        reflection: Coefficients of each surface. [1]
        min_snr: Minimum SNR of the matched filter. [1]
    """
    for solver in (cp.CLARABEL, cp.SCS):
        try:
            return design_transmit_sdp(scene, reflection, min_snr=min_snr, solver=solver)
        except (ValueError, cp.error.SolverError):
            continue
    return None


def design_reflection_sdr(
    scene: SensingScene,
    covariance: Complex[Array, "surface tx tx"],
    incumbent: tuple[Complex[Array, "_"], ...],
    *,
    min_snr: float | Scalar,
    candidates: int = 1000,
    seed: int = 0,
) -> BeamformingDesign:
    """Coefficients of every surface for given covariances, by the paper's algorithm.

    Args:
        scene: The scene.
        covariance: Transmit covariance of each surface. [W]
        incumbent: Initial coefficients. [1]
        min_snr: Minimum SNR of the matched filter; 0 in the paper. [1]
        candidates: Number of random vectors in each iteration.
        seed: Seed of these vectors.

    Raises:
        ValueError: If the coefficients found do not reach the SNR.
    """
    chosen = []
    for i, psi in enumerate(incumbent):
        task = reflection_task(scene, i, covariance[i][None], min_snr)
        rng = np.random.default_rng([seed, i])
        chosen.append(design_surface_sdr(task, psi, candidates=candidates, rng=rng))
    reflection = tuple(c.reflection for c in chosen)
    return dwell_design(scene, covariance[:, None], reflection, min_snr=min_snr)
