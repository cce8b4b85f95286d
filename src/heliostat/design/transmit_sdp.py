r"""The paper's (P2) as a semidefinite program, solved by CVXPY independently of `transmit`.

The program of paper eq. (18) is badly scaled: the entries of :math:`F` and the eigenvalues of R
span many decades, and a solver may report an optimum with a relative error of 1e-3, or fail. Two
congruences improve the scaling. The covariance is replaced by :math:`S = M^{1/2}RM^{1/2}` with
:math:`M = I/(LP_t) + Q/q`, so that an S of unit trace uses about all of the powers in any
direction. The information is replaced by :math:`F'`, which is the identity for an S that is the
mean of an isotropic and a matched one.
"""

import warnings
from itertools import product
from typing import NamedTuple

import cvxpy as cp
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from heliostat.bounds.direction import echo_derivatives, echo_matrices
from heliostat.design.certificate import linear_information, transmit_lower_bound
from heliostat.design.feasibility import check_lower_bound
from heliostat.design.matrices import hermitian_part
from heliostat.design.result import (
    FEASIBLE,
    NOT_CONVERGED,
    OPTIMAL,
    BeamformingDesign,
    evaluated_design,
    surface_bounds,
)
from heliostat.observation.echoes import target_steering
from heliostat.scene.sensing import SensingScene
from heliostat.surface.active import power_weight, reflected_power

OPTIMAL_GAP = 1e-6
"""Largest relative gap of a design with the status "optimal"."""


class _Block(NamedTuple):
    """Data of one surface, in terms of its S."""

    back: np.ndarray  # M^-1/2, so that R = M^-1/2 S M^-1/2 [tx tx]
    information: np.ndarray  # matrices whose inner products with S are F' = root^T F root
    root: np.ndarray  # [4 4]
    cost: np.ndarray  # root of the parameters' weights, tr F^-1 = |cost F'^-1/2|²
    spent: np.ndarray  # share of the base station's power used is tr(spent S) [tx tx]
    radiated: np.ndarray | None  # share of the surface's limit, or None: no limit [tx tx]
    limit: float  # [W]
    snr_weight: np.ndarray  # SNR is tr(snr_weight S) [tx tx]
    snr_per_watt: float  # SNR per watt at the target [1/W]


class _Program(NamedTuple):
    """The program, its variables, and the constraints whose multipliers are used."""

    problem: cp.Problem
    shares: list[cp.Variable]  # S of the surfaces
    information: list[cp.Constraint]
    total: cp.Constraint
    powers: list[cp.Constraint | None]
    snrs: list[cp.Constraint | None]


def _block(scene: SensingScene, index: int, reflection: Array, budget: float) -> _Block:
    """Data of one surface for the program.

    Args:
        scene: The scene.
        index: Index of the surface.
        reflection: Its reflection coefficients. [1]
        budget: Power of the base station summed over all surfaces. [W]
    """
    link, gain, surface = scene.link(index), scene.target_gain[index], scene.surfaces[index]
    angles = scene.angles()[index]
    antennas = link.bs_to_irs.shape[1]
    eye = np.eye(antennas, dtype=complex)
    steering = target_steering(surface.array, angles)
    own = reflected_power(
        reflection, link.bs_to_irs, jnp.asarray(0 * eye), steering, gain, surface.noise
    ).own_noise
    limit = float(surface.power - own)
    limited = bool(np.isfinite(limit))
    if limited and limit <= 0:
        raise ValueError(f"Surface {index}: its own amplified noise exceeds its power.")
    weight = np.asarray(power_weight(reflection, link.bs_to_irs, steering, gain))
    size = eye / budget + (hermitian_part(weight) / limit if limited else 0 * eye)
    lengths, axes = np.linalg.eigh(size)
    back = (axes / np.sqrt(lengths)) @ np.conj(axes).T

    ways = np.asarray(echo_derivatives(link, reflection, angles)) @ back
    received, _ = echo_matrices(link, reflection, jnp.asarray(0 * eye), angles)
    gain_power = float(jnp.abs(gain) ** 2)
    linear = np.asarray(linear_information(received, 2 * link.symbols * gain_power))
    lit = np.conj(ways[0])[:, None] * ways[0][None, :]
    begun = (eye / antennas + lit / np.real(np.trace(lit))) / 2
    reference = np.real(np.einsum("pqdf,fd->pq", linear, ways @ begun @ np.conj(ways).T))
    try:
        root = np.linalg.cholesky(np.linalg.inv(reference))
    except np.linalg.LinAlgError:
        raise ValueError(
            f"Surface {index}: with its coefficients no covariance makes both angles identifiable."
        ) from None
    turned = np.einsum("pa,pqdf,qb->abdf", root, linear, root)
    turned = hermitian_part((turned + np.swapaxes(turned, 0, 1)) / 2)
    snr_per_watt = float(link.symbols) * gain_power * float(jnp.real(received[0, 0]))
    return _Block(
        back,
        np.einsum("di,abdf,fj->abij", np.conj(ways), turned, ways),
        root,
        np.diag([1.0, 1.0, np.sqrt(gain_power), np.sqrt(gain_power)]) @ root,
        back @ back / budget,
        back @ weight @ back / limit if limited else None,
        limit,
        snr_per_watt * lit,
        snr_per_watt,
    )


def _inner(matrix: np.ndarray, share: cp.Variable) -> cp.Expression:
    return cp.real(cp.trace(hermitian_part(matrix) @ share))


def _program(blocks: list[_Block], min_snr: float) -> _Program:
    """Paper eq. (18) in terms of the scaled covariances S.

    Args:
        blocks: Data of the surfaces.
        min_snr: Minimum SNR at every surface. [1]
    """
    antennas = len(blocks[0].back)
    unit = max(float(np.sum(b.cost**2)) for b in blocks)  # unit of the CRB
    worst = cp.Variable()
    shares, information, powers, snrs, others = [], [], [], [], []
    for block in blocks:
        share = cp.Variable((antennas, antennas), hermitian=True)
        entries = [[_inner(x, share) for x in row] for row in block.information]
        inverse = cp.Variable((4, 4), symmetric=True)
        cost = block.cost / np.sqrt(unit)
        information.append(cp.bmat([[cp.bmat(entries), cost.T], [cost, inverse]]) >> 0)
        others += [share >> 0, cp.trace(inverse) <= worst]
        used = None if block.radiated is None else _inner(block.radiated, share) <= 1
        powers.append(used)
        snrs.append(_inner(block.snr_weight / min_snr, share) >= 1 if min_snr > 0 else None)
        shares.append(share)
    total = sum(_inner(b.spent, s) for b, s in zip(blocks, shares, strict=True)) <= 1
    held = [c for c in (*powers, *snrs) if c is not None]
    problem = cp.Problem(cp.Minimize(worst), [*others, *information, *held, total])
    return _Program(problem, shares, information, total, powers, snrs)


def _solve(program: _Program, solver: str) -> None:
    """Solve the program; raise a ValueError if there is no solution."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # accuracy is judged by the gap
            program.problem.solve(solver=solver)
    except cp.SolverError as error:
        raise ValueError(
            f"{solver} failed on the transmit design: {error} Try another solver, or "
            "`design_transmit`."
        ) from error
    if program.problem.status not in {cp.OPTIMAL, cp.OPTIMAL_INACCURATE, cp.USER_LIMIT} or any(
        s.value is None for s in program.shares
    ):
        raise ValueError(
            f"{solver} finds no transmit covariances: the program is {program.problem.status}."
        )


def design_transmit_sdp(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    *,
    min_snr: float,
    solver: str = "CLARABEL",
) -> BeamformingDesign:
    """Transmit covariances that minimize the worst CRB, paper eq. (18), by CVXPY.

    Args:
        scene: The scene.
        reflection: Reflection coefficients of each surface. [1]
        min_snr: Minimum SNR of the matched filter at every surface. [1]
        solver: Name of a CVXPY solver.

    Raises:
        ValueError: The solver found no solution, or one that violates a constraint.
        RuntimeError: The lower bound exceeds the CRB: an error of this package.
    """
    budget = scene.n_surfaces * float(scene.base_station.power)
    blocks = [_block(scene, i, psi, budget) for i, psi in enumerate(reflection)]
    program = _program(blocks, min_snr)
    _solve(program, solver)

    solution = [
        _positive(b.back @ s.value @ b.back) for b, s in zip(blocks, program.shares, strict=True)
    ]
    covariance, violation = _within(scene, reflection, jnp.stack(solution))
    patterns, covariance = tuple(psi[None] for psi in reflection), covariance[:, None]
    bounds = surface_bounds(scene, patterns, covariance)
    status = program.problem.status
    if violation > 1e-4 or bool(jnp.any(bounds.snr < min_snr * (1 - 1e-6))):
        raise ValueError(f"The solution of {solver} violates a constraint; its status is {status}.")

    worst = jnp.max(bounds.crb)
    lower = _certificate(scene, reflection, blocks, program, min_snr)
    check_lower_bound(float(lower), float(worst))
    code = OPTIMAL if bool(lower >= (1 - OPTIMAL_GAP) * worst) else FEASIBLE
    if status == cp.USER_LIMIT:
        code = NOT_CONVERGED
    return evaluated_design(
        scene,
        patterns,
        covariance,
        bounds,
        jnp.asarray(min_snr, dtype=float),
        lower_bound=lower,
        history=worst[None],
        steps=program.problem.solver_stats.num_iters or 0,
        code=code,
    )


def _certificate(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    blocks: list[_Block],
    program: _Program,
    min_snr: float,
) -> Array:
    """Lower bound from the multipliers of the program, which refer to shares of the limits.

    The multipliers of an interior-point solver have errors of the order of its tolerance. For a
    surface that does not have the worst CRB the exact ones are zero, and small positive values can
    make the bound loose. Any nonnegative multipliers give a valid bound, so the best of several
    thresholds and offsets is used.
    """
    duals = [np.asarray(c.dual_value)[:4, :4] for c in program.information]
    largest = max(float(np.trace(d)) for d in duals)
    slopes = [_positive(b.root @ d @ b.root.T).real for b, d in zip(blocks, duals, strict=True)]
    budget = scene.n_surfaces * float(scene.base_station.power)
    limits = np.array([b.limit for b in blocks])  # inf: no price
    powers = np.array([_price(c) for c in program.powers])
    watts = np.array([min_snr / b.snr_per_watt if min_snr > 0 else 1.0 for b in blocks])
    snrs = jnp.asarray(np.array([_price(c) for c in program.snrs]) / watts)
    value, bounds = float(program.problem.value), []
    for least, floor in product((0.0, 1e-5, 1e-3), value * np.geomspace(1e-9, 1e-5, 9)):
        kept = [
            z * float(np.trace(d) > least * largest) for z, d in zip(slopes, duals, strict=True)
        ]
        bounds.append(
            transmit_lower_bound(
                scene,
                reflection,
                jnp.stack(kept),
                jnp.asarray((_price(program.total) + floor) / budget),
                jnp.asarray((powers + floor) / limits),
                snrs,
                jnp.asarray(min_snr, dtype=float),
            )
        )
    return jnp.max(jnp.stack(bounds))


def _price(constraint: cp.Constraint | None) -> float:
    """Nonnegative part of the multiplier; 0 if there is no constraint."""
    return 0.0 if constraint is None else max(float(constraint.dual_value), 0.0)


def _positive(matrix: np.ndarray) -> Array:
    """Nearest positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(hermitian_part(matrix))
    return jnp.asarray((vectors * np.maximum(values, 0.0)) @ vectors.conj().T)


def _within(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    covariance: Complex[Array, "surface tx tx"],
) -> tuple[Complex[Array, "surface tx tx"], float]:
    """Covariances scaled down to satisfy the power constraints, and the relative reduction."""
    angles, factor = scene.angles(), []
    for i, psi in enumerate(reflection):
        steering = target_steering(scene.surfaces[i].array, angles[i])
        power = reflected_power(
            psi, scene.bs_to_irs[i], covariance[i], steering, scene.target_gain[i],
            scene.surfaces[i].noise,
        )  # fmt: skip
        room = (scene.surfaces[i].power - power.own_noise) / (power.echo + power.signal)
        factor.append(min(1.0, float(room)))
    spent = np.real(np.trace(np.asarray(covariance), axis1=1, axis2=2))
    budget = scene.n_surfaces * float(scene.base_station.power)
    common = min(1.0, budget / float(np.sum(spent * factor)))
    scaled = common * np.asarray(factor)
    return covariance * jnp.asarray(scaled * (1 - 1e-12))[:, None, None], float(1 - scaled.min())
