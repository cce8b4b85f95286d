"""Truths: the log-likelihood over all samples and its derivatives; numpy.linalg.solve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.estimation.gauss_newton import (
    Likelihood,
    levenberg_marquardt,
    likelihood,
    solve_small,
)

NOISE, TOP = 0.3, np.array([0.4, -0.2, 0.7])


def factors(moves):
    """Three factors that share unknowns, as a user's place moves both surface and delay."""
    x, y, z = moves
    shape = lambda count, phase, fall: jnp.exp(
        1j * jnp.arange(count) * phase - fall * jnp.arange(count)
    )
    return shape(3, x + 0.5 * y, 0.2 * y), shape(5, z, 0.0), shape(4, x - y, 0.1 * x)


def mean(moves):
    return jnp.einsum("k,m,f->kmf", *factors(moves))


def noisy(gain):
    drawn = jax.random.normal(jax.random.key(0), (3, 5, 4), dtype=complex)
    return gain * mean(jnp.asarray(TOP)) + np.sqrt(NOISE) * drawn


@pytest.mark.parametrize("gain", [None, 0.6 - 0.8j])
def test_value_gradient_and_curvature_are_those_of_all_samples(gain):
    samples, moves = noisy(0.6 - 0.8j), jnp.asarray(TOP + np.array([0.1, 0.05, -0.1]))

    def best(at):
        return jnp.vdot(mean(at), samples) / jnp.sum(jnp.abs(mean(at)) ** 2)

    def literal(at):
        fitted = (best(at) if gain is None else gain) * mean(at)
        whole = jnp.sum(jnp.abs(samples) ** 2)
        return (whole - jnp.sum(jnp.abs(samples - fitted) ** 2)) / NOISE

    known = None if gain is None else jnp.asarray(gain)
    found = likelihood(samples, factors, moves, jnp.asarray(NOISE), known)
    np.testing.assert_allclose(found.value, literal(moves), rtol=1e-12)
    np.testing.assert_allclose(found.gradient, jax.grad(literal)(moves), rtol=1e-10)
    slopes = np.asarray(jax.jacfwd(mean)(moves)).reshape(-1, 3)
    if gain is None:  # changes that the gain can compensate carry no information
        unit = np.asarray(mean(moves)).ravel()
        unit = unit / np.linalg.norm(unit)
        slopes = slopes - unit[:, None] * (unit.conj() @ slopes)[None, :]
    level = abs(complex(best(moves) if gain is None else gain)) ** 2
    expected = 2 * level / NOISE * np.real(slopes.conj().T @ slopes)
    np.testing.assert_allclose(found.curvature, expected, rtol=1e-10, atol=1e-10)


def test_the_gradient_vanishes_at_the_maximum_and_a_disabled_start_stays():
    samples = noisy(3.0 + 0j)

    def at(moves):
        return likelihood(samples, factors, moves, jnp.asarray(NOISE), None)

    start = jnp.asarray(TOP + np.array([0.1, 0.1, 0.2]))
    top, value, converged = levenberg_marquardt(at, start, jnp.asarray(True))
    assert converged
    assert value > at(start).value
    scale = np.sqrt(np.diag(at(top).curvature))
    np.testing.assert_allclose(at(top).gradient / scale, 0, atol=1e-6)
    stayed, value, _ = levenberg_marquardt(at, start, jnp.asarray(False))
    np.testing.assert_array_equal(stayed, start)
    assert value == -jnp.inf


def test_solve_small_agrees_with_numpy():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 6))
    matrix, vector = root @ root.T, rng.normal(size=4)
    found = solve_small(jnp.asarray(matrix), jnp.asarray(vector))
    np.testing.assert_allclose(found, np.linalg.solve(matrix, vector), rtol=1e-10)


def test_a_long_curved_valley_cut_short_is_not_converged():
    """A Rosenbrock valley: short steps, but far from the maximum."""

    def at(moves):
        x, y = moves
        residual = jnp.stack([1e3 * (y - x**2), 1 - x])
        slope = jnp.stack([jnp.stack([-2e3 * x, 1e3 + 0 * x]), jnp.stack([0 * x - 1, 0 * x])])
        return Likelihood(-residual @ residual / 2, -slope.T @ residual, slope.T @ slope)

    start = jnp.asarray([-1.2, 1.44])
    short = levenberg_marquardt(at, start, jnp.asarray(True), 10)
    assert not short.converged
    full = levenberg_marquardt(at, start, jnp.asarray(True), 2000)
    assert full.converged
    np.testing.assert_allclose(full.moves, 1, rtol=1e-6)
