"""Truths: least squares, differentiated echoes, Monte Carlo, the estimator of one dwell."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.estimation.direction import likeliest_direction
from heliostat.observation.echoes import echo_mean, noise_covariance
from heliostat.protocol.multi_dwell import (
    dwell_bounds,
    locate,
    matched_energy,
    simulate_dwell,
    stack_dwells,
    transmission_of,
    with_duration,
)
from heliostat.protocol.search_region import Region, region_grids
from tests.support.dwells import (
    PATTERNS,
    REGION,
    SNAPSHOTS,
    parts_of,
    random_design,
    receptions_of,
    scene_of,
)


def without_target(scene):
    return eqx.tree_at(lambda s: s.target_gain, scene, jnp.zeros(2, dtype=complex))


def test_matched_energy_is_that_of_the_least_squares_gain():
    # Truth: the weighted sum of squares that the best gain takes away, by `lstsq`.
    scene = scene_of()
    dwells = receptions_of(scene, [1, 2, 3])
    angles = scene.angles() + jnp.array([[0.05, -0.1], [0.0, 0.2]])
    expected = []
    for i, (psi, signal, echo) in enumerate(zip(*parts_of(dwells), strict=True)):
        link, columns, samples = scene.link(i), [], []
        for one, sent, received in zip(psi, signal, echo, strict=True):
            # Any square root of the inverse covariance serves.
            value, vector = np.linalg.eigh(np.asarray(noise_covariance(link, one)))
            white = (vector / np.sqrt(value)) @ vector.conj().T
            mean = echo_mean(link, one, angles[i], jnp.ones((), dtype=complex), sent)
            columns.append((white @ np.asarray(mean)).ravel())
            samples.append((white @ np.asarray(received)).ravel())
        column, sample = np.concatenate(columns)[:, None], np.concatenate(samples)
        residual = sample - column @ np.linalg.lstsq(column, sample)[0]
        expected.append(np.linalg.norm(sample) ** 2 - np.linalg.norm(residual) ** 2)
    stacked = stack_dwells(dwells)[0]
    np.testing.assert_allclose(matched_energy(scene, stacked, angles), expected, rtol=1e-6)


def test_matched_energy_of_noise_is_exponential_with_mean_one():
    scene, trials = scene_of(), 400
    transmission = transmission_of(random_design(scene, 1), SNAPSHOTS)

    def energy(key):
        reception = simulate_dwell(without_target(scene), transmission, key)
        return matched_energy(scene, reception, scene.angles())

    found = np.asarray(jax.vmap(energy)(jax.random.split(jax.random.key(0), trials)))
    # Mean and standard deviation of the exponential distribution are one, its fourth central
    # moment is nine.
    assert (np.abs(found.mean(axis=0) - 1) < 4 / np.sqrt(trials)).all()
    assert (np.abs(found.var(axis=0) - 1) < 4 * np.sqrt(8 / trials)).all()


def test_noise_alone_gives_no_position():
    scene = scene_of()
    dwells = receptions_of(without_target(scene), [1, 2, 3])
    fix = locate(scene, dwells, region_grids(scene, REGION), REGION)
    assert not fix.detected.any()
    assert not fix.consistent
    assert fix.std == jnp.inf
    np.testing.assert_array_equal(fix.position, [7.0, 15.0, 1.0])


def test_a_position_outside_the_region_is_inconsistent():
    scene = scene_of()
    dwells, grids = receptions_of(scene, [1, 2, 3]), region_grids(scene, REGION)
    # The target is at (6, 14, 1).
    beside = Region(jnp.array([8.0, 8.0, -2.0]), REGION.high)
    fix, other = (locate(scene, dwells, grids, region) for region in (REGION, beside))
    assert fix.consistent
    assert not other.consistent
    np.testing.assert_array_equal(fix.position, other.position)


def test_noise_twice_as_strong_as_assumed_is_inconsistent():
    scene = scene_of()
    dwells, grids = receptions_of(scene, [1, 2, 3]), region_grids(scene, REGION)
    louder = [
        eqx.tree_at(lambda d: d.echoes, d, tuple(np.sqrt(2.0) * echo for echo in d.echoes))
        for d in dwells
    ]
    fix = locate(scene, louder, grids, REGION)
    np.testing.assert_allclose(fix.reduced_chi2, 2.0, rtol=5 / np.sqrt(480))
    assert not fix.consistent


def test_a_second_echo_is_flagged_as_by_the_direction_estimator():
    # An energy of 80 over the noise at one surface, where the standard deviation of the total
    # energy over 480 samples is 22.
    scene = scene_of()
    dwells, grids = receptions_of(scene, [1, 2, 3]), region_grids(scene, REGION)
    assert locate(scene, dwells, grids, REGION).consistent

    other = scene.angles(jnp.array([2.0, 19.0, 3.0]))[0]
    unit = eqx.tree_at(lambda s: s.target_gain, scene, jnp.ones(2, dtype=complex))

    def echo_of(psi, signal):
        return echo_mean(unit.link(0), psi, other, jnp.ones((), dtype=complex), signal)

    sent = [d.transmission for d in dwells]
    means = [jax.vmap(echo_of)(t.reflection[0], t.transmitted[0]) for t in sent]
    with_unit = [
        eqx.tree_at(lambda d: d.echoes[0], d, m) for d, m in zip(dwells, means, strict=True)
    ]
    energy = matched_energy(scene, stack_dwells(with_unit)[0], jnp.stack([other, other]))[0]
    level = jnp.sqrt(80.0 / energy)
    disturbed = [
        eqx.tree_at(lambda d: d.echoes[0], d, d.echoes[0] + level * m)
        for d, m in zip(dwells, means, strict=True)
    ]

    joined = [part[0] for part in parts_of(disturbed)]
    alone = likeliest_direction(with_duration(scene, 3).link(0), *joined, grids[0])
    assert jnp.abs(alone.reduced_chi2 - 1) < 5 * alone.reduced_chi2_std
    assert not alone.fits

    found = locate(scene, disturbed, grids, REGION)
    assert not found.consistent
    assert found.second_echo_p_value[0] == pytest.approx(float(alone.second_echo_p_value), rel=1e-6)
    assert found.second_echo_p_value[1] > 1e-3


def bound_by_definition(scene, dwells):
    """Position error bound from the derivatives of all samples to all seven unknowns."""

    stacked = parts_of(dwells)

    def samples(unknown):
        position, gains = unknown[:3], jax.lax.complex(unknown[3:5], unknown[5:7])
        angles, found = scene.angles(position), []
        for i, (psi, sent) in enumerate(zip(stacked[0], stacked[1], strict=True)):
            link = scene.link(i)

            def white(psi, sent, link=link, towards=angles[i], gain=gains[i]):
                root = jnp.linalg.cholesky(noise_covariance(link, psi))
                return jnp.linalg.solve(root, echo_mean(link, psi, towards, gain, sent))

            found.append(jax.vmap(white)(psi, sent).ravel())
        return jnp.concatenate(found)

    # Gains in units of their modulus, so that the matrix is well conditioned.
    size = jnp.concatenate([jnp.ones(3), jnp.tile(jnp.abs(scene.target_gain), 2)])
    gains = jnp.concatenate([jnp.real(scene.target_gain), jnp.imag(scene.target_gain)])
    at = jnp.concatenate([scene.target.position, gains])
    slopes = jax.jit(jax.jacfwd(lambda moved: samples(moved * size)))(at / size)
    information = 2 * jnp.real(jnp.conj(slopes).T @ slopes)
    return float(jnp.sqrt(jnp.trace(jnp.linalg.inv(information)[:3, :3])))


def test_the_bound_of_several_dwells_is_that_of_all_their_samples():
    scene = scene_of()
    dwells = receptions_of(scene, [1, 2, 3])
    every, capacity = stack_dwells(dwells)
    assert capacity == 4
    assert every.echoes[0].shape[0] == 4 * PATTERNS
    bound = dwell_bounds(scene, [dwell.transmission for dwell in dwells]).bound
    np.testing.assert_allclose(bound, bound_by_definition(scene, dwells), rtol=1e-7)


def test_silent_dwells_change_no_estimate():
    scene = scene_of()
    dwells = receptions_of(scene, [1, 2, 3])
    grids = region_grids(scene, REGION)
    fix = locate(scene, dwells, grids, REGION)
    for i in range(2):
        joined = [part[i] for part in parts_of(dwells)]
        alone = likeliest_direction(with_duration(scene, 3).link(i), *joined, grids[i])
        np.testing.assert_allclose(fix.angles[i], alone.angles, rtol=1e-7)
        np.testing.assert_allclose(fix.target_gain[i], alone.target_gain, rtol=1e-6)
        left = 0.0
        for psi, sent, echo in zip(*joined, strict=True):
            mean = echo_mean(scene.link(i), psi, fix.angles[i], fix.target_gain[i], sent)
            root = np.linalg.cholesky(noise_covariance(scene.link(i), psi))
            left += float(np.sum(np.abs(np.linalg.solve(root, echo - mean)) ** 2))
        samples = 3 * PATTERNS * 8 * SNAPSHOTS
        np.testing.assert_allclose(fix.reduced_chi2[i], left / (samples - 2), rtol=1e-7)
        assert abs(float(fix.reduced_chi2[i]) - 1) < 5 / np.sqrt(samples)
        assert fix.detected[i] == alone.detected


def test_an_estimate_turns_and_moves_with_the_scene():
    scene, shift = scene_of(), jnp.array([30.0, -20.0, 7.0])
    turn = jnp.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned = scene_of(turn=np.asarray(turn))
    places = lambda s: (
        s.base_station.position,
        s.target.position,
        *(surface.position for surface in s.surfaces),
    )
    turned = eqx.tree_at(places, turned, [place + shift for place in places(turned)])
    corners = jnp.stack([turn @ REGION.low, turn @ REGION.high]) + shift[None, :]
    region = Region(jnp.min(corners, axis=0), jnp.max(corners, axis=0))
    grids = region_grids(scene, REGION)
    dwells = receptions_of(scene, [1, 2, 3])
    fix, moved = locate(scene, dwells, grids, REGION), locate(turned, dwells, grids, region)
    np.testing.assert_allclose(moved.position, turn @ fix.position + shift, rtol=1e-6)
    expected = turn @ fix.covariance @ turn.T
    np.testing.assert_allclose(
        moved.covariance, expected, rtol=1e-5, atol=1e-6 * float(jnp.max(fix.covariance))
    )
    assert fix.consistent
    assert moved.consistent
