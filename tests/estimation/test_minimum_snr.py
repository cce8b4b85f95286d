"""Truth: the Cramér-Rao bound at the true direction, and the count of gross errors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import heliostat as hs
from heliostat.bounds.direction import direction_information
from heliostat.design.cooperative import design_jointly
from heliostat.estimation.direction import cosine_grid, likeliest_direction
from heliostat.geometry.frames import wrapped_angle
from heliostat.observation.echoes import simulate_echo, transmitted_signal

TRIALS = 1000
GROSS = 60.0
"""Squared error over the bound's covariance from which an error is gross; noise within the main
lobe exceeds it once in exp(30) times. [1]"""


def squared_errors(patterns, snr):
    """Squared errors over the bound's covariance, of designs whose weakest echo has this SNR.

    A design remains optimal when all target gains and the SNR constraint are scaled together, so
    that the unconstrained design, its gain scaled to the SNR, is the one where the constraint
    begins to bind.
    """
    scene = hs.load("sensing-two-surfaces", {"dwell.patterns": patterns}).build()
    design = design_jointly(scene, patterns=patterns, min_snr=0.0, starts=3)
    i = int(np.argmin(design.snr))
    angles, snapshots = scene.angles()[i], 4  # exact for signals of rank 4 or less
    covariance = jnp.reshape(design.covariance[i], (patterns, 16, 16))
    reflection = jnp.reshape(design.reflection[i], (patterns, 16))
    link = eqx.tree_at(
        lambda at: at.symbols, scene.link(i), jnp.asarray(float(snapshots * patterns))
    )
    signal = jax.vmap(lambda covar: transmitted_signal(covar, snapshots))(covariance)
    told = direction_information(link, reflection, covariance, angles, jnp.ones(()) + 0j)
    gain = jnp.sqrt(snr / told.snr) + 0j
    information = told.information * jnp.abs(gain) ** 2
    grid = cosine_grid(link.array)

    def squared(key):
        draw = lambda p, s, k: simulate_echo(link, p, angles, gain, s, key=k)
        echoes = jax.vmap(draw)(reflection, signal, jax.random.split(key, patterns))
        found = likeliest_direction(link, reflection, signal, echoes, grid)
        error = wrapped_angle(found.angles - angles)
        return error @ information @ error

    keys = jax.random.split(jax.random.key(7), TRIALS)
    return np.asarray(jax.jit(lambda k: jax.lax.map(squared, k))(keys))


@pytest.mark.slow
@pytest.mark.parametrize("patterns", [1, 2, 3])
def test_estimates_reach_the_bound_at_the_default_minimum_snr(patterns):
    dwell = {"dwell.patterns": patterns, "dwell.min_snr": None}
    squared = squared_errors(patterns, hs.load("sensing-two-surfaces", dwell).dwell.required_snr)
    assert (squared > GROSS).sum() <= 5  # at a rate of 1e-3, more occur 6 times in 10000
    # The mean of chi-square variables with two degrees of freedom, over 2, errs by 1/sqrt(trials).
    assert squared[squared <= GROSS].mean() / 2 < 1.1 + 4 / np.sqrt(TRIALS)
