"""Truths: the direction that made the echo, the bound by definition, noise drawn term by term."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.bounds.direction import direction_bound, direction_information_by_definition
from heliostat.estimation.direction import cosine_grid, likeliest_direction, music_direction
from heliostat.observation.echoes import (
    echo_mean,
    noise_covariance,
    reradiated_noise,
    simulate_echo,
    transmitted_signal,
)
from tests.support.sensing_scenes import random_reflections, sensing_scene

SNAPSHOTS = 40


def observed(patterns=2, watts=20.0, **changes):
    """One surface of a small scene: link, coefficients, signal, angles, gain."""
    scene = sensing_scene(antennas=8, symbols=2.0 * SNAPSHOTS * patterns, **changes)
    psi = random_reflections(scene, patterns=patterns)[0]
    covariance = jnp.eye(8, dtype=complex) * (watts / 8)
    signal = jnp.broadcast_to(transmitted_signal(covariance, SNAPSHOTS), (patterns, 8, SNAPSHOTS))
    return scene.link(0), psi, covariance, signal, scene.angles()[0], scene.target_gain[0]


def test_signal_has_exactly_its_covariance():
    rng = np.random.default_rng(0)
    beams = rng.normal(size=(6, 3)) + 1j * rng.normal(size=(6, 3))
    covariance = beams @ beams.conj().T
    signal = np.asarray(transmitted_signal(jnp.asarray(covariance), 5))
    assert signal.shape == (6, 5)
    np.testing.assert_allclose(signal @ signal.conj().T / 5, covariance, atol=1e-12)


def test_noise_of_the_simulation_has_the_covariance_of_the_bounds():
    link, psi, _, signal, angles, gain = observed(surface_noise=1e-6, noise=1e-11)
    gain = gain * 3e3  # so loud a target that the neglected noise shows
    mean = echo_mean(link, psi[0], angles, gain, signal[0])
    for neglect in (True, False):
        draw = jax.jit(
            lambda key, neglect=neglect: simulate_echo(
                link, psi[0], angles, gain, signal[0], neglect_reradiated=neglect, key=key
            )
        )
        trials = 2000
        noise = np.asarray(jax.vmap(draw)(jax.random.split(jax.random.key(0), trials)))
        noise = noise - np.asarray(mean)
        sample = np.einsum("kat,kbt->ab", noise, noise.conj()) / (trials * SNAPSHOTS)
        expected = noise_covariance(link, psi[0])
        if not neglect:
            extra = reradiated_noise(link, psi[0], angles, gain)
            assert np.trace(extra).real > 0.1 * np.trace(expected).real
            expected = expected + extra
        # Entries of a sample covariance err by sqrt(R_aa R_bb / count).
        level = np.sqrt(np.diag(expected).real)
        allowed = 6 / np.sqrt(trials * SNAPSHOTS) * np.outer(level, level)
        assert (np.abs(sample - expected) < allowed).all()


@given(x=st.floats(0.5, 8), y=st.floats(5, 20), z=st.floats(-4, 4))
@settings(max_examples=15)
def test_echoes_without_noise_give_the_direction_from_a_cold_start(x, y, z):
    link, psi, _, signal, angles, gain = observed(target=(x, y, z))
    echoes = jax.vmap(lambda p, s: echo_mean(link, p, angles, gain, s))(psi, signal)
    grid = cosine_grid(link.array)
    found = likeliest_direction(link, psi, signal, echoes, grid)
    np.testing.assert_allclose(found.angles, angles, rtol=1e-8)
    np.testing.assert_allclose(found.target_gain, gain, rtol=1e-7)
    np.testing.assert_allclose(music_direction(link, psi, echoes, grid), angles, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("watts", [2.0, 20.0, 2000.0])
def test_errors_reach_the_bound_and_musics_do_not(watts):
    trials = 600
    link, psi, covariance, signal, angles, gain = observed(watts=watts)
    grid = cosine_grid(link.array)

    def errors(key):
        echoes = jax.vmap(lambda p, s, k: simulate_echo(link, p, angles, gain, s, key=k))(
            psi, signal, jax.random.split(key, 2)
        )
        found = likeliest_direction(link, psi, signal, echoes, grid)
        return found.angles - angles, music_direction(link, psi, echoes, grid) - angles

    keys = jax.random.split(jax.random.key(2), trials)
    likeliest, music = jax.jit(lambda k: jax.lax.map(errors, k))(keys)
    told = direction_information_by_definition(link, psi, jnp.stack([covariance] * 2), angles, gain)
    bound = np.asarray(direction_bound(told).direction_std) ** 2
    squared = np.asarray(likeliest) ** 2
    spread = squared.std(axis=0) / np.sqrt(trials)
    assert (np.abs(squared.mean(axis=0) - bound) < 4 * spread).all()
    assert (4 * spread < 0.4 * bound).all()
    assert (np.mean(np.asarray(music) ** 2, axis=0) > bound * 1.1).all()


def test_echoes_of_another_model_show():
    link, psi, _, signal, angles, gain = observed(watts=2e4)
    grid = cosine_grid(link.array)
    keys = jax.random.split(jax.random.key(0), 2)
    echoes = jax.vmap(lambda p, s, k: simulate_echo(link, p, angles, gain, s, key=k))(
        psi, signal, keys
    )
    found = likeliest_direction(link, psi, signal, echoes, grid)
    assert found.fits
    assert found.detected
    # A second target that the model does not know.
    second = jax.vmap(lambda p, s: echo_mean(link, p, angles + 0.5, gain, s))(psi, signal)
    assert not likeliest_direction(link, psi, signal, echoes + second, grid).fits


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_the_right_model_fits_whatever_rank_the_signal_has(rank):
    # Truth: residual energy over noise is a chi-square over its mean, from the count of samples.
    # Few snapshots: rounding that passes for a beam would be heard as loud as all of them.
    (link, psi, _, _, angles, gain), snapshots = observed(), 4
    rng = np.random.default_rng(rank)
    beams = rng.normal(size=(8, rank)) + 1j * rng.normal(size=(8, rank))
    covariance = jnp.asarray(20 * beams @ beams.conj().T / rank)
    signal = jnp.broadcast_to(transmitted_signal(covariance, snapshots), (2, 8, snapshots))
    grid = cosine_grid(link.array)

    def misfit(key):
        draw = lambda p, s, k: simulate_echo(link, p, angles, gain, s, key=k)
        echo = jax.vmap(draw)(psi, signal, jax.random.split(key, 2))
        return likeliest_direction(link, psi, signal, echo, grid).misfit

    found = np.asarray(jax.vmap(misfit)(jax.random.split(jax.random.key(3), 30)))
    samples = 2 * 8 * snapshots
    assert abs(found.mean() - 1) < 5 / np.sqrt(30 * samples)


def test_noise_alone_is_no_target():
    link, psi, _, signal, angles, gain = observed()
    keys = jax.random.split(jax.random.key(4), 2)
    silent = jax.vmap(lambda p, s, k: simulate_echo(link, p, angles, 0 * gain, s, key=k))(
        psi, signal, keys
    )
    found = likeliest_direction(link, psi, signal, silent, cosine_grid(link.array))
    assert not found.detected
    assert found.fits
