"""Truths: the direction that made the echo, the bound by definition, noise drawn term by term."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from heliostat.bounds.direction import direction_bound
from heliostat.estimation.direction import (
    angles_of,
    cosine_grid,
    likeliest_direction,
    music_direction,
)
from heliostat.observation.echoes import (
    echo_mean,
    noise_covariance,
    simulate_echo,
    transmitted_signal,
)
from tests.support.direction_definition import direction_information_by_definition, reradiated_noise
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

    def reduced_chi2(key):
        draw = lambda p, s, k: simulate_echo(link, p, angles, gain, s, key=k)
        echo = jax.vmap(draw)(psi, signal, jax.random.split(key, 2))
        return likeliest_direction(link, psi, signal, echo, grid).reduced_chi2

    found = np.asarray(jax.vmap(reduced_chi2)(jax.random.split(jax.random.key(3), 30)))
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


def at_snr(snr_db, snapshots=SNAPSHOTS, rank=8, **changes):
    """As `observed`, with a signal of some rank and a gain that gives a certain SNR."""
    link, psi, _, _, angles, _ = observed(**changes)
    rng = np.random.default_rng(rank)
    beams = rng.normal(size=(len(psi), 8, rank)) + 1j * rng.normal(size=(len(psi), 8, rank))
    signal = jax.vmap(lambda b: transmitted_signal(b @ b.conj().T, snapshots))(jnp.asarray(beams))
    snr = jnp.sum(jnp.abs(whitened_echo(link, psi, angles, signal)) ** 2)
    return link, psi, signal, angles, jnp.sqrt(10 ** (snr_db / 10) / snr) + 0j


def whitened_echo(link, psi, angles, signal):
    """Mean for a gain of one over all patterns, the noise white with variance one."""

    def pattern(p, s):
        factor = jnp.linalg.cholesky(noise_covariance(link, p))
        return jnp.linalg.solve(factor, echo_mean(link, p, angles, jnp.ones(()) + 0j, s))

    return jax.vmap(pattern)(psi, signal)


def received(link, psi, signal, angles, gain, key):
    keys = jax.random.split(key, len(psi))
    return jax.vmap(lambda p, s, k: simulate_echo(link, p, angles, gain, s, key=k))(
        psi, signal, keys
    )


@pytest.mark.parametrize(("patterns", "rank"), [(2, 8), (1, 1)])
def test_p_value_of_a_second_echo_is_that_of_a_least_squares_fit(patterns, rank):
    # Truth: for every direction of the grid, the residual energy that `lstsq` takes away when the
    # second echo is added to the linearized model of the first.
    link, psi, signal, angles, gain = at_snr(30, 10, rank, patterns=patterns)
    grid = cosine_grid(link.array)
    echoes = received(link, psi, signal, angles, gain, jax.random.key(1))
    found = likeliest_direction(link, psi, signal, echoes, grid)

    def white(cosines):
        return whitened_echo(link, psi, angles_of(cosines), signal).ravel()

    def real(vector):
        return np.concatenate([np.real(vector), np.imag(vector)])

    theta, phi = np.asarray(found.angles)
    at = jnp.array([np.sin(theta) * np.cos(phi), np.cos(theta)])
    factors = jax.vmap(lambda p: jnp.linalg.cholesky(noise_covariance(link, p)))(psi)
    residual = jnp.linalg.solve(factors, echoes).ravel() - found.target_gain * white(at)
    residual = real(np.asarray(residual))
    slopes = np.asarray(found.target_gain * jax.jacfwd(white)(at)).T
    tangent = [real(v) for v in (np.asarray(white(at)), 1j * np.asarray(white(at)), *slopes)]
    tangent = [v / np.linalg.norm(v) for v in tangent]
    cosines = [(h, v) for h in grid.horizontal for v in grid.vertical if h**2 + v**2 < 1]
    largest = 0.0
    for vector in np.asarray(jax.jit(jax.vmap(white))(jnp.asarray(cosines))):
        echo = vector / np.linalg.norm(vector)
        columns = np.stack([*tangent, real(echo), real(1j * echo)], axis=1)
        fitted = columns @ np.linalg.lstsq(columns, residual, rcond=1e-9)[0]
        largest = max(largest, fitted @ fitted)
    cells = grid.horizontal.size * grid.vertical.size
    expected = min(1.0, cells * np.exp(-largest))
    np.testing.assert_allclose(found.second_echo_p_value, expected, rtol=1e-4)


@pytest.mark.parametrize(("patterns", "rank"), [(2, 8), (1, 1)])
def test_second_echo_hidden_in_the_total_energy_shows(patterns, rank):
    # A tenth of the amplitude at an SNR of 40 dB: an energy of 100, where the total energy's own
    # standard deviation is 18 or 25.
    link, psi, signal, angles, gain = at_snr(40, rank=rank, patterns=patterns)
    grid = cosine_grid(link.array)
    echoes = received(link, psi, signal, angles, gain, jax.random.key(0))
    assert likeliest_direction(link, psi, signal, echoes, grid).fits
    other = angles + jnp.array([0.5, -0.5])
    energy = [jnp.sum(jnp.abs(whitened_echo(link, psi, a, signal)) ** 2) for a in (angles, other)]
    level = 0.1 * gain * jnp.sqrt(energy[0] / energy[1])
    second = jax.vmap(lambda p, s: echo_mean(link, p, other, level * 1j, s))(psi, signal)
    found = likeliest_direction(link, psi, signal, echoes + second, grid)
    assert (
        jnp.abs(found.reduced_chi2 - 1) < 5 * found.reduced_chi2_std
    )  # energy alone does not show it
    assert found.second_echo_p_value < 1e-6
    assert not found.fits


@pytest.mark.slow
@pytest.mark.parametrize(("patterns", "rank"), [(1, 1), (2, 8), (3, 2)])
def test_noise_passes_for_a_second_echo_once_in_a_thousand(patterns, rank):
    trials, rate = 4000, 1e-3
    link, psi, signal, angles, gain = at_snr(20, 10, rank, patterns=patterns)
    grid = cosine_grid(link.array)

    def alarm(key):
        echoes = received(link, psi, signal, angles, gain, key)
        return likeliest_direction(link, psi, signal, echoes, grid).second_echo_p_value <= rate

    keys = jax.random.split(jax.random.key(5), trials)
    alarms = int(jax.jit(lambda k: jax.lax.map(alarm, k))(keys).sum())
    assert alarms <= binom.isf(1e-4, trials, rate)
