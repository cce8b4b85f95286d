r"""The paper's (P2) as a semidefinite program: slower than `transmit`, and independent of it.

As the paper writes it the program is badly scaled: the entries of :math:`F` span many decades and
a solver may report an optimum that is 1e-3 off. Here the information is turned by a congruence
into one that is the identity for a covariance half even, half matched to the target and within
the surface's power; powers are in units of the budget and every surface's limit is one.
"""

import warnings
from typing import Any

import cvxpy as cp
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from heliostat.bounds.direction import echo_derivatives, echo_matrices
from heliostat.design.certificate import linear_information, transmit_lower_bound
from heliostat.design.result import (
    FEASIBLE,
    NOT_CONVERGED,
    OPTIMAL,
    BeamformingDesign,
    constraint_slack,
    surface_bounds,
)
from heliostat.observation.echoes import target_steering
from heliostat.sensing_scene import SensingScene
from heliostat.surface.active import power_weight, reflected_power


def design_transmit_sdp(  # noqa: PLR0912 - one program, written down in one place
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    *,
    min_snr: float = 0.0,
    solver: str = "CLARABEL",
    rtol: float = 1e-6,
) -> BeamformingDesign:
    """Transmit covariances of least worst CRB, paper eq. (18), by CVXPY.

    Args:
        scene: The scene.
        reflection: How the surfaces are set. [1]
        min_snr: Least SNR of the matched filter at every surface. [1]
        solver: A name CVXPY knows.
        rtol: Largest gap that is called optimal.

    Raises:
        ValueError: The solver found nothing, or what it found cannot be made feasible.
    """
    antennas, count = scene.base_station.array.elements, scene.n_surfaces
    angles = scene.angles()
    budget = count * float(scene.base_station.power)
    even = jnp.eye(antennas, dtype=complex) / antennas
    shares, bounds_of_f, powers, snrs, constraints = [], [], [], [], []
    worst = cp.Variable()
    scale_of_crb = 0.0
    blocks = []
    for i, psi in enumerate(reflection):
        link, gain, surface = scene.link(i), scene.target_gain[i], scene.surfaces[i]
        ways = np.asarray(echo_derivatives(link, psi, angles[i]))
        matched = np.conj(ways[0])[:, None] * ways[0][None, :] / np.sum(np.abs(ways[0]) ** 2)
        mixed = budget * (even + matched) / 2
        received, transmitted = echo_matrices(link, psi, mixed, angles[i])
        gain_power = float(jnp.abs(gain) ** 2)
        linear = np.asarray(linear_information(received, 2 * link.symbols * gain_power))
        steering = target_steering(surface.array, angles[i])
        own = float(
            reflected_power(psi, link.bs_to_irs, 0 * even, steering, gain, surface.noise).own_noise
        )
        limit = float(surface.power) - own
        weight = np.asarray(power_weight(psi, link.bs_to_irs, steering, gain)) * budget
        reference = np.real(np.einsum("pqdf,fd->pq", linear, np.asarray(transmitted)))
        if np.isfinite(limit):
            reference *= min(1.0, limit / float(jnp.real(jnp.trace(weight @ mixed)) / budget))
        root = np.linalg.cholesky(np.linalg.inv(reference))  # root^T F root = I there
        wanted = np.diag([1.0, 1.0, np.sqrt(gain_power), np.sqrt(gain_power)])
        blocks.append((ways, linear, limit, weight, root, wanted, gain_power, received))
        scale_of_crb = max(scale_of_crb, float(np.sum((wanted @ root) ** 2)))

    for i, (ways, linear, limit, weight, root, wanted, gain_power, received) in enumerate(blocks):
        share = cp.Variable((antennas, antennas), hermitian=True)  # R_l / (L P_t)
        turned = np.einsum("pa,pqdf,qb->abdf", root, linear, root)
        # tr(X B) with B = V^T R V*: only Hermitian parts count.
        entries = []
        for a in range(4):
            row = []
            for b in range(4):
                x = (turned[a, b] + turned[b, a]) / 2
                matrix = np.conj(ways).T @ ((x + x.conj().T) / 2) @ ways * budget
                row.append(cp.real(cp.trace(matrix @ share)))
            entries.append(row)
        information = cp.bmat(entries)
        cost = wanted @ root / np.sqrt(scale_of_crb)  # tr(D F^-1) = |cost F'^-1/2|²
        inverse = cp.Variable((4, 4), symmetric=True)
        bounds_of_f.append(cp.bmat([[information, cost.T], [cost, inverse]]) >> 0)
        constraints += [share >> 0, bounds_of_f[-1], cp.trace(inverse) <= worst]
        if np.isfinite(limit):
            unit = weight / limit
            constraints.append(cp.real(cp.trace(unit @ share)) <= 1)
            powers.append(constraints[-1])
        else:
            powers.append(None)
        if min_snr > 0:
            lit = np.conj(ways[0])[:, None] * ways[0][None, :]
            per_watt = float(scene.link(i).symbols) * gain_power * np.real(received[0, 0])
            unit = lit * (float(per_watt) * budget / min_snr)
            constraints.append(cp.real(cp.trace(unit @ share)) >= 1)
            snrs.append(constraints[-1])
        shares.append(share)
    total = sum(cp.real(cp.trace(s)) for s in shares) <= 1
    constraints.append(total)
    problem = cp.Problem(cp.Minimize(worst), constraints)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # inaccurate: the gap will tell
            problem.solve(solver=solver)
    except cp.SolverError as error:
        raise ValueError(f"The semidefinite program was not solved: {error}") from error
    if any(s.value is None for s in shares):
        raise ValueError(f"The semidefinite program has no solution: {problem.status}.")

    covariance = jnp.stack([_positive(s.value) for s in shares]) * budget
    covariance, violation = _within(scene, reflection, covariance)
    bounds = surface_bounds(scene, reflection, covariance)
    crb, snr = (jnp.stack([getattr(b, name) for b in bounds]) for name in ("crb", "snr"))
    if violation > 1e-4 or bool(jnp.any(snr < min_snr * (1 - 1e-6))):
        raise ValueError(f"What the solver found is not feasible: {problem.status}.")

    # Multipliers are those of shares of the budget: F' = root^T F root, limits are one.
    slopes = []
    for bound, block in zip(bounds_of_f, blocks, strict=True):
        dual = np.asarray(bound.dual_value)[:4, :4]
        slopes.append(block[4] @ (dual + dual.T) / 2 @ block[4].T)
    lower = transmit_lower_bound(
        scene,
        reflection,
        jnp.stack([_positive(z).real for z in slopes]),
        jnp.asarray(max(float(total.dual_value), 1e-9 * float(worst.value)) / budget),
        _prices(powers) / jnp.asarray([max(b[2], 1e-300) for b in blocks]),
        _snr_prices(snrs, blocks, scene, min_snr),
        jnp.asarray(min_snr, dtype=float),
    )
    lower = jnp.minimum(lower, jnp.max(crb))
    certified = lower >= (1 - rtol) * jnp.max(crb)
    code = OPTIMAL if bool(certified) else FEASIBLE
    if problem.status not in {cp.OPTIMAL, cp.OPTIMAL_INACCURATE}:
        code = NOT_CONVERGED
    return BeamformingDesign(
        covariance,
        reflection,
        crb,
        jnp.stack([b.direction_std for b in bounds]),
        snr,
        lower,
        constraint_slack(scene, reflection, covariance, snr, jnp.asarray(min_snr, dtype=float)),
        jnp.max(crb)[None],
        jnp.asarray(problem.solver_stats.num_iters or 0),
        jnp.asarray(code),
    )


def _prices(constraints: list[cp.Constraint | None]) -> Array:
    """Multipliers, none negative; zero where there is no constraint."""
    return jnp.asarray([0.0 if c is None else max(float(c.dual_value), 0.0) for c in constraints])


def _snr_prices(
    constraints: list[cp.Constraint],
    blocks: list[tuple[Any, ...]],
    scene: SensingScene,
    min_snr: float,
) -> Array:
    """Multipliers of the SNR, for a watt at the target."""
    if not constraints:
        return jnp.zeros(scene.n_surfaces)
    watts = [
        min_snr / (float(scene.link(i).symbols) * b[6] * float(np.real(b[7][0, 0])))
        for i, b in enumerate(blocks)
    ]
    return _prices(list(constraints)) / jnp.asarray(watts)


def _positive(matrix: np.ndarray) -> Array:
    """Nearest positive semidefinite matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.conj().T) / 2)
    return jnp.asarray((vectors * np.maximum(values, 0.0)) @ vectors.conj().T)


def _within(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    covariance: Complex[Array, "surface tx tx"],
) -> tuple[Complex[Array, "surface tx tx"], float]:
    """Scale down to keep every power, and by how much that was needed."""
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
