"""Truths: moments of the uniform disc and interval, independence of how trials are split."""

import jax
import jax.numpy as jnp
import numpy as np

from heliostat.protocol.errors import ErrorLevels, draw_errors
from tests.support.scenes import real

TRIALS = 20_000
LEVELS = ErrorLevels(real(7.0), real(0.5), real(3.0), real(1e-11))


def drawn(trials, key=None):
    key = jax.random.key(5) if key is None else key
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.asarray(trials))
    return jax.vmap(lambda k: draw_errors(LEVELS, k))(keys)


def test_moments_are_those_of_the_papers_distributions():
    errors = drawn(np.arange(TRIALS))
    for points, radius in (
        (errors.movement, 3.0),
        (errors.position, 7.0),
        (errors.previous_position, 7.0),
    ):
        distance = np.linalg.norm(np.asarray(points), axis=1)
        assert distance.max() <= radius
        # Uniform in a disc: mean of r^2 is R^2/2 with standard deviation R^2/sqrt(12).
        error = np.mean(distance**2) - radius**2 / 2
        assert abs(error) < 4 * radius**2 / np.sqrt(12 * TRIALS)
        assert np.all(
            np.abs(np.mean(np.asarray(points), axis=0)) < 4 * radius / 2 / np.sqrt(TRIALS)
        )
    heading = np.asarray(errors.heading)
    assert np.abs(heading).max() <= 0.5
    assert abs(np.mean(heading**2) - 0.25 / 3) < 4 * 0.25 * np.sqrt(4 / 45 / TRIALS)
    gain = np.asarray(errors.gain)
    assert abs(np.mean(np.abs(gain) ** 2) / 1e-11 - 1) < 4 / np.sqrt(TRIALS)


def test_errors_of_successive_periods_are_independent():
    errors = drawn(np.arange(TRIALS))
    for a, b in (
        (errors.position, errors.previous_position),
        (errors.movement, errors.previous_position),
        (errors.movement, errors.position),
    ):
        correlation = np.corrcoef(np.asarray(a)[:, 0], np.asarray(b)[:, 0])[0, 1]
        assert abs(correlation) < 4 / np.sqrt(TRIALS)


def test_a_trial_is_the_same_alone_and_among_others():
    several = drawn([0, 1, 2, 3])
    alone = drawn([2])
    for whole, single in zip(jax.tree.leaves(several), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(np.asarray(whole)[2], np.asarray(single)[0])


def test_levels_scale_the_same_draw():
    key = jax.random.key(0)
    small, large = (
        draw_errors(ErrorLevels(real(r), real(r), real(r), real(r * r)), key) for r in (1.0, 4.0)
    )
    for a, b in zip(jax.tree.leaves(small), jax.tree.leaves(large), strict=True):
        np.testing.assert_allclose(4 * np.asarray(a), np.asarray(b), rtol=1e-12)
