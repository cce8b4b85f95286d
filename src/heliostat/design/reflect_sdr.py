r"""The paper's way to (P3): successive linearisation, semidefinite relaxation, randomisation.

With :math:`\Theta = \psi\psi^H` both 3x3 matrices of the information are linear,
:math:`A = A(\Theta)` for frozen :math:`R_w` and :math:`B = B(\Theta)`, and F is bilinear in them.
The paper's Lemma 1 and its gradients (36)-(50), set right where they are misprinted, amount to

.. math:: \hat F(\Theta) = F(A, B_i) + F(A_i, B) - F(A_i, B_i).

Neither this nor the linearised power (24) bounds anything, so what a round proposes may be worse
than what it began with. Therefore: what one has is always among the candidates; candidates keep
the phases of the random vectors and the amplitudes of the relaxation's diagonal, instead of being
divided by their largest entry; each is shrunk until (7) holds exactly, and its CRB is the true
one; the program is preconditioned and its status looked at.
"""

import warnings
from typing import NamedTuple

import cvxpy as cp
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from heliostat.bounds.direction import direction_information
from heliostat.design.certificate import linear_information
from heliostat.design.cooperative_bound import cooperative_lower_bound
from heliostat.design.feasibility import dwell_design
from heliostat.design.parametrization import FINAL_SHARPNESS, log_crb
from heliostat.design.reflect import (
    ReflectionTask,
    SetSurface,
    reflection_task,
    with_patterns,
    within_power,
)
from heliostat.design.result import FEASIBLE, BeamformingDesign
from heliostat.design.transmit_sdp import design_transmit_sdp
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import noise_covariance, target_steering
from heliostat.scene.sensing import SensingScene

MAX_ROUNDS = 10
SETTLED = 1e-4  # relative improvement of a round that ends them


class _Linear(NamedTuple):
    """The information and the power as functions of Theta, for one local point."""

    slope: np.ndarray  # of F, so that F = Re tr(slope Theta) - rest [4 4 element element]
    rest: np.ndarray  # [4 4]
    power_slope: np.ndarray  # [element element]
    power_rest: float  # [W]


def _linearised(task: ReflectionTask, reflection: np.ndarray) -> _Linear:
    """Paper eqs. (20)-(24) at a local point."""
    link = task.link
    G, R = np.asarray(link.bs_to_irs), np.asarray(task.covariance[0])
    response = target_steering(link.array, task.angles)
    slopes = jax.jacfwd(lambda at: target_steering(link.array, at))(task.angles)
    d = np.concatenate([np.asarray(response)[None], np.asarray(slopes).T])
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
    each = np.asarray(jax.vmap(lambda unit: linear_information(unit, strength))(units))
    of_a = np.einsum("kpqdf,fd->pqk", each, transmitted).reshape(4, 4, 3, 3)
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


def _hermitian(matrix: np.ndarray) -> np.ndarray:
    return (matrix + np.conj(np.swapaxes(matrix, -1, -2))) / 2


def relaxed_reflection(task: ReflectionTask, reflection: np.ndarray) -> np.ndarray | None:
    r"""Solution :math:`\Theta` of (SDR3.l.3) at a local point; None if the solver has none.

    Args:
        task: The task.
        reflection: The local point. [1]
    """
    linear, elements = _linearised(task, reflection), len(reflection)
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
            cp.real(cp.trace(_hermitian((turned[a, b] + turned[b, a]) / 2) @ theta)) - float(a == b)
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
        used = cp.real(cp.trace(_hermitian(linear.power_slope) * (cap / limit) @ theta))
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
    return _hermitian(theta.value) * cap


@eqx.filter_jit
def _true_values(
    task: ReflectionTask, candidates: Complex[Array, "candidate element"]
) -> tuple[Array, Float[Array, "candidate"], Float[Array, "candidate"]]:
    """Candidates within their power, their log CRBs and SNRs."""

    def one(psi: Array) -> tuple[Array, Scalar, Scalar]:
        fit = within_power(task, psi[None], jnp.asarray(FINAL_SHARPNESS))
        direction = direction_information(
            task.link, fit, task.covariance, task.angles, task.target_gain
        )
        return fit[0], log_crb(direction), direction.snr

    return jax.vmap(one)(candidates)


def randomised(
    theta: np.ndarray, count: int, amplification: float, rng: np.random.Generator
) -> np.ndarray:
    r"""Rank-one candidates from a relaxed solution. [candidate element]

    Args:
        theta: :math:`\Theta`.
        count: How many.
        amplification: Largest amplitude. [1]
        rng: Where they come from.
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
    """Coefficients of one surface by the paper's iteration; never worse than what it begins with.

    Args:
        task: The task, of one pattern.
        incumbent: Where to begin. [1]
        candidates: Random vectors in each round.
        rng: Where they come from.
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
        drawn = jnp.asarray(randomised(theta, candidates, cap, rng))
        fits, values, heard = _true_values(task, drawn)
        # Below the SNR that is demanded, a better SNR is what counts.
        score = jnp.where(heard >= enough, values, jnp.inf)
        k = int(jnp.argmin(score) if bool(jnp.any(heard >= enough)) else jnp.argmax(heard))
        found = SetSurface(fits[k][None], float(values[k]), float(heard[k]))
        if best.snr >= enough:
            better = found.snr >= enough and found.log_crb < best.log_crb
        else:
            better = found.snr > best.snr
        if not better:
            break
        settled = best.snr >= enough and best.log_crb - found.log_crb < SETTLED
        best = found
        if settled:
            break
    return best


def transmit_sdp_or_none(
    scene: SensingScene, reflection: tuple[Complex[Array, "_"], ...], min_snr: float
) -> BeamformingDesign | None:
    """The other half of the paper's alternation, (P2); None if no solver finds covariances.

    Args:
        scene: The scene.
        reflection: How the surfaces are set. [1]
        min_snr: Least SNR of the matched filter. [1]
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
    """Coefficients of every surface for given covariances, as the paper has it.

    Args:
        scene: The scene.
        covariance: Of each surface. [W]
        incumbent: Coefficients to begin with. [1]
        min_snr: Least SNR of the matched filter; the paper knows none. [1]
        candidates: Random vectors in each round.
        seed: Of these vectors.

    Raises:
        ValueError: If the coefficients found do not reach the SNR.
    """
    each, chosen = with_patterns(covariance, 1), []
    for i, psi in enumerate(incumbent):
        task = reflection_task(scene, i, each[i], min_snr)
        rng = np.random.default_rng([seed, i])
        chosen.append(design_surface_sdr(task, psi, candidates=candidates, rng=rng))
    return dwell_design(
        scene,
        each,
        tuple(c.reflection for c in chosen),
        lower_bound=cooperative_lower_bound(scene),
        history=[float(np.exp(max(c.log_crb for c in chosen)))],
        min_snr=min_snr,
        code=FEASIBLE,
    )
