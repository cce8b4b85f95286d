"""Likelihood over several paths, against least squares over the full mean and its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.estimation.path_likelihood import match_paths, path_likelihood
from heliostat.observation.paths import mean_at_antennas, simulate_at_antennas
from heliostat.observation.pilots import band_bins
from tests.support.sites import HADAMARD, yard

ACTIVE, BINS = 3, 4
CASES = {
    "two surfaces and the direct path": {"surfaces": 2, "direct": True, "codes": HADAMARD},
    "without codes": {"surfaces": 2, "direct": True},
    "spherical": {"surfaces": 2, "spherical": True, "codes": HADAMARD[:2, :2]},
    "gains known": {"surfaces": 2, "direct": True, "gain_known": True},
}


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request):
    """A scene as known to the receiver, samples, and both forms of the likelihood."""
    changes = {"antennas": 5, "user_antennas": 4, "noise": 1e-10, "clock_known": False}
    scene = yard(**(changes | CASES[request.param]))
    frequency = band_bins(scene.link.bandwidth, BINS)
    samples = simulate_at_antennas(scene, ACTIVE, frequency, clock=3.0, key=jax.random.key(1))
    count = len(scene.gains())
    known = scene if scene.link.gain_known else scene.with_gains(jnp.ones(count, dtype=complex))

    def at(unknowns):
        x, y, heading, _ = unknowns
        return known.with_user(jnp.stack([x, y, scene.user.position[2]]), heading)

    @jax.jit
    def fast(unknowns):
        matched = match_paths(known, samples, ACTIVE)
        present = jnp.ones(count)
        return path_likelihood(at(unknowns), matched, frequency, unknowns[3], ACTIVE, present)

    def residual(unknowns, gains):
        of_path = lambda i: mean_at_antennas(
            at(unknowns).with_gains(jnp.where(jnp.arange(count) == i, known.gains(), 0.0)),
            ACTIVE,
            frequency,
            unknowns[3],
        ).ravel()
        means = jnp.stack([of_path(i) for i in range(count)], axis=1)
        if gains is None and not scene.link.gain_known:
            gains = jnp.linalg.lstsq(means, samples.ravel())[0]
        return samples.ravel() - means @ (jnp.ones(count) if gains is None else gains)

    @jax.jit
    def slow(unknowns):
        energy = jnp.sum(jnp.abs(samples) ** 2)
        return (energy - jnp.sum(jnp.abs(residual(unknowns, None)) ** 2)) / scene.link.noise_density

    pose = [*np.asarray(scene.user.position[:2]), float(scene.user.heading), 3.0]
    return scene, fast, slow, residual, jnp.asarray(pose)


def test_value_and_gradient_are_those_of_least_squares_over_all_samples(case):
    _, fast, slow, _, pose = case
    away = pose + jnp.array([0.3, -0.2, 0.05, 0.4])
    found, _ = fast(away)
    np.testing.assert_allclose(found.value, slow(away), rtol=1e-8)
    np.testing.assert_allclose(found.gradient, jax.grad(slow)(away), rtol=1e-6)


def test_curvature_is_that_of_the_residual_orthogonal_to_the_means(case):
    # Truth: the Gauss-Newton matrix of the residual with the gains as unknowns, by automatic
    # differentiation, reduced to pose and clock by its inverse.
    scene, fast, _, residual, pose = case
    found, gains = fast(pose)
    relative = gains / (scene.gains() if scene.link.gain_known else 1.0)
    count = len(relative)

    def parts(unknowns):
        own = unknowns[4 : 4 + count] + 1j * unknowns[4 + count :]
        left = residual(unknowns[:4], relative + own)
        return jnp.concatenate([jnp.real(left), jnp.imag(left)])

    slopes = jax.jacfwd(parts)(jnp.concatenate([pose, jnp.zeros(2 * count)]))
    whole = np.asarray(2 * slopes.T @ slopes / scene.link.noise_density)
    if scene.link.gain_known:
        expected = whole[:4, :4]
    else:
        expected = np.linalg.inv(np.linalg.inv(whole)[:4, :4])
    scale = np.sqrt(np.diagonal(expected))
    scale = scale[:, None] * scale[None, :]
    np.testing.assert_allclose(found.curvature / scale, expected / scale, atol=1e-6)
