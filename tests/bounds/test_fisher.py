"""Truths: Monte Carlo of an estimator, inverses of whole matrices, known null spaces."""

import jax
import jax.numpy as jnp
import numpy as np

from heliostat.bounds.fisher import (
    change_parameters,
    eliminate_nuisance,
    identify,
    slepian_bangs,
)


def test_a_maximum_likelihood_estimator_reaches_two_over_n0_and_not_one():
    # Truth: phase of a tone in complex white noise, estimated by the angle of the matched filter.
    samples, noise_density, trials, phase = 64, 0.02, 20_000, 0.3
    tone = jnp.exp(1j * (0.2 * jnp.arange(samples) + phase))
    noise = jax.random.normal(jax.random.key(1), (trials, samples), dtype=jnp.complex128)
    received = tone[None, :] + jnp.sqrt(noise_density) * noise
    matched = received @ jnp.conj(jnp.exp(0.2j * jnp.arange(samples)))
    estimate = jnp.angle(matched)
    information = slepian_bangs((1j * tone)[:, None], jnp.asarray(noise_density))[0, 0]
    ratio = float(jnp.mean((estimate - phase) ** 2) * information)
    assert abs(ratio - 1) < 4 * np.sqrt(2 / trials)  # four standard errors of a variance
    assert abs(ratio - 0.5) > 0.3  # the printed 1/N0 would give this


def test_nuisance_elimination_equals_the_inverse_of_the_whole():
    draw = np.random.default_rng(0).normal(size=(9, 5))
    whole = jnp.asarray(draw.T @ draw)
    left = eliminate_nuisance(whole, 3)
    np.testing.assert_allclose(
        np.linalg.inv(left), np.linalg.inv(np.asarray(whole))[:3, :3], rtol=1e-9
    )


def test_a_nuisance_without_information_changes_nothing():
    draw = np.random.default_rng(1).normal(size=(9, 3))
    whole = np.zeros((5, 5))
    whole[:3, :3] = draw.T @ draw
    np.testing.assert_allclose(eliminate_nuisance(jnp.asarray(whole), 3), whole[:3, :3])


def test_change_of_parameters_is_the_chain_rule():
    rng = np.random.default_rng(2)
    model, to_old = rng.normal(size=(7, 4)) + 1j * rng.normal(size=(7, 4)), rng.normal(size=(4, 2))
    noise = jnp.asarray(0.3)
    direct = slepian_bangs(jnp.asarray(model @ to_old), noise)
    chained = change_parameters(slepian_bangs(jnp.asarray(model), noise), jnp.asarray(to_old.T))
    np.testing.assert_allclose(chained, direct, rtol=1e-12)


def test_lost_directions_are_named_whatever_the_units():
    # Truth: a matrix built without information along a chosen direction.
    lost = np.array([3.0, -1.0, 2.0])
    lost /= np.linalg.norm(lost)
    rest = np.linalg.svd(lost[None, :])[2][1:]
    information = rest.T @ np.diag([2.0, 5.0]) @ rest
    for unit in (1.0, 1e-6, 1e6):
        scale = np.array([1.0, unit, 1.0])
        scaled = information / scale[:, None] / scale[None, :]
        seen = identify(jnp.asarray(scaled), jnp.asarray(np.diag(np.diag(scaled))))
        assert int(seen.rank) == 2
        assert np.all(np.isinf(seen.variance))
        found = np.asarray(seen.directions)[np.asarray(seen.lost)][0]
        expected = lost * scale
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(abs(found @ expected), 1, rtol=1e-9)


def test_a_parameter_apart_from_the_lost_direction_keeps_its_bound():
    information = jnp.asarray(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 4.0]]))
    seen = identify(information, information)
    np.testing.assert_array_equal(np.isinf(seen.variance), [True, True, False])
    np.testing.assert_allclose(seen.variance[2], 0.25)


def test_no_information_at_all_gives_inf_and_no_nan():
    seen = identify(jnp.zeros((3, 3)), jnp.zeros((3, 3)))
    assert np.all(np.isinf(seen.variance))
    assert int(seen.rank) == 0
    assert np.all(np.isfinite(seen.directions))
