"""Truths: the Fisher information written out, dense inverses, and CVXPY on a tiny case."""

import warnings

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.bounds.direction import echo_matrices
from heliostat.design.certificate import linear_information, priced_gram, transmit_lower_bound
from heliostat.design.transmit import solve_transmit
from heliostat.observation.echoes import noise_covariance, round_trip, target_steering
from heliostat.surface.active import power_weight, reflected_power
from tests.support.direction_definition import full_information
from tests.support.sensing_scenes import random_covariance, random_reflections, sensing_scene

TINY = {
    "rows": (2,), "columns": (2,), "antennas": 3, "surfaces": ((-5.0, 10.0, 0.0),),
    "target": (5.0, 15.0, 3.0),
}  # fmt: skip


def one_surface(**changes):
    """Scene with one surface, its coefficients, and the rows of a and its derivatives."""
    scene = sensing_scene(**{**TINY, **changes})
    array, angles = scene.surfaces[0].array, scene.angles()[0]
    slope = jax.jacfwd(lambda at: target_steering(array, at))(angles)
    rows = jnp.concatenate([target_steering(array, angles)[None], slope.T])
    return scene, random_reflections(scene)[0][0], rows


def in_log_gain(information, gain):
    """F of (elevation, azimuth, Re beta, Im beta) in terms of the parts of ln beta."""
    turn = np.array([[gain.real, -gain.imag], [gain.imag, gain.real]])
    jacobian = np.block([[np.eye(2), np.zeros((2, 2))], [np.zeros((2, 2)), turn]])
    return jacobian.T @ np.asarray(information) @ jacobian


def test_linear_information_gives_the_fisher_matrix():
    scene, psi, _ = one_surface()
    link, angles, gain = scene.link(0), scene.angles()[0], scene.target_gain[0]
    covariance = random_covariance(np.random.default_rng(0), 3, 2, 5.0)
    received, transmitted = echo_matrices(link, psi, covariance, angles)
    linear = linear_information(received, 2 * link.symbols * jnp.abs(gain) ** 2)
    actual = jnp.real(jnp.einsum("pqdf,fd->pq", linear, transmitted))
    full = full_information(link, psi[None], covariance[None], angles, gain)
    expected = in_log_gain(full, complex(gain))
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("antennas", [3, 7])  # fewer and more than elements
def test_priced_gram_equals_the_dense_inverse(antennas):
    scene, psi, rows = one_surface(antennas=antennas)
    channel, gain = scene.bs_to_irs[0], scene.target_gain[0] * 1e5
    total, price = 0.3, 2e5
    weight = total * np.eye(antennas) + price * np.asarray(
        power_weight(psi, channel, rows[0], gain)
    )
    weighted = psi[:, None] * channel
    v = np.asarray(rows @ weighted)
    expected = v @ np.linalg.solve(weight, v.conj().T)
    echo_gain = jnp.abs(gain) ** 2 * jnp.sum(jnp.abs(psi) ** 2)
    actual = priced_gram(rows, weighted, echo_gain, jnp.asarray(total), jnp.asarray(price))
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


def least_crb_by_cvxpy(scene, psi):
    """Paper eq. (18) for one surface, F built from the derivatives of the mean."""
    link, angles = scene.link(0), scene.angles()[0]
    gain, surface = complex(scene.target_gain[0]), scene.surfaces[0]

    def response(at):
        way = round_trip(link, psi, at)
        return way[:, None] * way[None, :]

    slopes = np.moveaxis(np.asarray(jax.jacfwd(response)(angles)), -1, 0)
    echo = np.asarray(response(angles))
    derivatives = [gain * slopes[0], gain * slopes[1], gain * echo, 1j * gain * echo]
    inverse = np.linalg.inv(np.asarray(noise_covariance(link, psi)))
    weights = np.array([1.0, 1.0, abs(gain), abs(gain)])
    steering = target_steering(surface.array, angles)
    silent = jnp.zeros((3, 3), dtype=complex)
    noise = reflected_power(
        psi, link.bs_to_irs, silent, steering, scene.target_gain[0], surface.noise
    ).own_noise
    limit = float(surface.power - noise)
    q = np.asarray(power_weight(psi, link.bs_to_irs, steering, scene.target_gain[0]))
    budget = float(scene.base_station.power)

    products = [[b.conj().T @ inverse @ a for b in derivatives] for a in derivatives]
    isotropic = np.array([[np.trace(x).real for x in row] for row in products])
    scale = 1 / np.sqrt(np.diag(isotropic))  # entries of F of the order of one
    share = cp.Variable((3, 3), hermitian=True)  # R / budget
    entries = [
        [
            cp.real(cp.trace(share @ ((products[a][b] + products[b][a]) / 2))) * scale[a] * scale[b]
            for b in range(4)
        ]
        for a in range(4)
    ]
    information = cp.bmat(entries)
    cost = np.diag(weights * scale)
    unit = 2 * float(link.symbols) * budget
    program = cp.Problem(
        cp.Minimize(cp.matrix_frac(cost / np.linalg.norm(cost), (information + information.T) / 2)),
        [
            share >> 0,
            cp.real(cp.trace(share)) <= 1,
            cp.real(cp.trace(q @ share)) * (budget / limit) <= 1,
        ],
    )
    with warnings.catch_warnings():
        # Near the optimum rounding decides whether the solver reaches its own tolerance of 1e-8.
        warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
        program.solve(solver=cp.CLARABEL)
    return float(program.value) * np.linalg.norm(cost) ** 2 / unit


@pytest.mark.parametrize("surface_power", [2e-3, 1.0])
def test_certificate_is_tight_on_the_optimum_found_by_cvxpy(surface_power):
    scene, psi, _ = one_surface(surface_power=surface_power)
    optimum = least_crb_by_cvxpy(scene, psi)
    solved = solve_transmit(scene, (psi,), jnp.zeros(()))
    np.testing.assert_allclose(solved.lower_bound, optimum, rtol=1e-5)
    np.testing.assert_allclose(solved.worst_crb, optimum, rtol=1e-5)


def test_no_multipliers_give_a_bound_above_the_optimum_found_by_cvxpy():
    scene, psi, _ = one_surface(surface_power=2e-3)
    optimum = least_crb_by_cvxpy(scene, psi)
    rng, bounds = np.random.default_rng(3), []
    for _ in range(40):
        factor = rng.normal(size=(4, rng.integers(1, 5))) * 10 ** rng.uniform(-2, 2, size=(4, 1))
        bounds.append(
            float(
                transmit_lower_bound(
                    scene,
                    (psi,),
                    jnp.asarray(factor @ factor.T)[None],
                    jnp.asarray(rng.uniform()),
                    jnp.asarray(10 ** rng.uniform(-1, 5, size=1)),
                    jnp.zeros(1),
                    jnp.zeros(()),
                )
            )
        )
    assert min(bounds) > 0
    assert max(bounds) <= optimum * (1 + 1e-6)
