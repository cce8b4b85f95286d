"""Truths: tracking without noise, the paper's rate, uniform errors, geometry of the search."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.estimation.place_search import place_grid
from heliostat.geometry.obstacles import Obstacle
from heliostat.observation.pilots import band_bins
from heliostat.protocol.errors import ErrorLevels
from heliostat.protocol.motion import random_walk
from heliostat.protocol.next_period import TradeOffObjective
from heliostat.protocol.tracking import initial_state, pilot_snr, run_periods
from heliostat.protocol.user_search import search_beams, with_sweep
from heliostat.rates.effective import eadr
from tests.support.scenes import FOUR, localization_scene
from tests.support.sites import yard

BINS = 16
OBJECTIVE = TradeOffObjective(weight=1e-10)


def scene_of(**changes):
    # One size for all: the loop is compiled once.
    options = {"gain_known": False, "sweep": FOUR, "user_antennas": 8, "antennas": 8}
    return localization_scene(**(options | changes))


def loop(scene, positions, *, assumed=None, seed=0, antennas=2):
    positions = np.asarray(positions, dtype=float)
    heading = scene.user.heading
    return run_periods(
        scene,
        initial_state(jnp.asarray(positions[0]), heading, antennas),
        positions,
        np.full(len(positions), heading),
        np.ones((len(positions), 1)),
        band_bins(scene.link.bandwidth, BINS),
        place_grid(scene, BINS),
        OBJECTIVE,
        jax.random.key(seed),
        assumed,
    )


WALK = [[20.0 + i, 40.0 - 0.7 * i, 0.0] for i in range(12)]


def test_without_noise_the_rate_is_that_of_a_surface_focused_on_the_truth():
    scene = scene_of(noise=1e-11)
    silent = eqx.tree_at(lambda s: s.link.noise_density, scene, scene.link.noise_density * 1e-10)
    record = loop(silent, WALK)
    np.testing.assert_allclose(record.estimate.position, WALK, rtol=1e-8)
    assert record.found.all()
    for i, place in enumerate(WALK):
        there = silent.with_user(jnp.asarray(place), silent.user.heading)
        focused = there.focused(data=there.user.position)
        expected = eadr(focused, int(record.active_antennas[i]))
        np.testing.assert_allclose(record.eadr[i], expected, rtol=1e-6)


def test_assumed_errors_have_the_given_size():
    scene = scene_of()
    levels = lambda position, heading: ErrorLevels(*map(jnp.asarray, (position, heading, 0.0, 0.0)))
    stay = [WALK[0]] * 200
    exact = loop(scene, stay, assumed=levels(0.0, 0.0))
    np.testing.assert_allclose(exact.estimate.position, stay, rtol=1e-12)
    rough = loop(scene, stay, assumed=levels(3.0, 0.2))
    off = np.linalg.norm(np.asarray(rough.estimate.position)[:, :2] - WALK[0][:2], axis=1)
    # Uniform in a disc: the mean square is half the squared radius, its deviation R²/sqrt(12).
    assert off.max() <= 3.0
    assert abs(np.mean(off**2) - 4.5) < 4 * 9 / np.sqrt(12 * 200)
    turned = np.asarray(rough.estimate.heading) - float(scene.user.heading)
    assert np.abs(turned).max() <= 0.2
    assert np.mean(np.asarray(rough.eadr)) < np.mean(np.asarray(exact.eadr))
    # The estimated SNR is the energy of the pilots, within six standard deviations.
    record, max_range = loop(scene, WALK), place_grid(scene, BINS).distance[-1]
    for antennas, snr, found, i in zip(
        record.active_antennas, record.estimate.snr, record.found, range(len(WALK)), strict=True
    ):
        assert found
        before = WALK[max(i - 1, 0)]
        focused = scene.with_user(jnp.asarray(before), scene.user.heading)
        here = with_sweep(
            focused, initial_state(jnp.asarray(before), scene.user.heading, 2), max_range
        )
        here = here.with_user(jnp.asarray(WALK[i]), scene.user.heading)
        energy = float(pilot_snr(here, jnp.asarray(float(antennas))))
        assert abs(float(snr) - energy) < 6 * np.sqrt(2 * energy)


@pytest.mark.parametrize("height", [0.0, 30.0])
def test_a_search_covers_all_directions_once_starting_at_the_last_position(height):
    scene = scene_of(columns=6, rows=10, position=(20.0, 40.0, height))
    position, max_range = scene.user.position, 80.0
    beams, searched = [], initial_state(position, scene.user.heading, 2)
    for sweep in range(60):  # 240 beams: many laps
        at = eqx.tree_at(lambda b: b.searched, searched, jnp.asarray(sweep))
        beams.append(np.asarray(search_beams(scene, at, jnp.asarray(max_range))))
    width = np.array([1 / 3, 1 / 5])
    steps = (np.concatenate(beams) - np.asarray(scene.departure(position))) / width
    np.testing.assert_allclose(np.abs(steps[:4]), 0.5, rtol=1e-9)
    # The second round is shifted by half a beam.
    lap = next(i for i in range(1, 240) if np.allclose(steps[i], steps[0] + 0.5))
    first = steps[:lap]
    assert len(np.unique(first.round(6), axis=0)) == lap
    assert (np.diff(np.abs(first).max(axis=1).round(6)) >= 0).all()
    # Every possible direction is within half a beamwidth of a beam.
    rng = np.random.default_rng(0)
    offset = np.column_stack([rng.uniform([0.5, -80], [80, 80], (4000, 2)), np.full(4000, 0.0)])
    offset[:, 2] = height - 30.0
    length = np.linalg.norm(offset, axis=1)
    offset, length = offset[length < max_range], length[length < max_range]
    cosines = (offset[:, 1:] / length[:, None] - np.asarray(scene.departure(position))) / width
    off = np.abs(cosines[:, None, :] - first[None, :, :]).max(axis=2).min(axis=1)
    assert off.max() <= 0.5 + 1e-9


def test_a_user_that_moves_far_in_one_period_is_lost_and_found_again():
    # With this noise pilots are detected within the beams only; the step is seven beamwidths. The
    # heading keeps both positions away from end-fire, where no estimate of the pose converges.
    scene = scene_of(noise=5e-6, heading=0.3)
    near, far, trials = [20.0, 40.0, 0.0], [10.0, -8.0, 0.0], 20
    recovered = 0
    for seed in range(trials):
        record = loop(scene, [near] + [far] * 11, seed=seed)
        found = np.asarray(record.found)
        assert (np.asarray(record.eadr)[~found] == 0).all()
        assert found[0]
        assert not found[1]  # the second period's sweep is steered at the first position
        off = np.asarray(record.position - record.estimate.position)[:, :2]
        covariance = np.asarray(record.estimate.covariance)[:, :2, :2]
        distance = [e @ np.linalg.solve(c, e) for e, c in zip(off, covariance, strict=True)]
        # Errors of accepted estimates are within six estimated standard deviations.
        assert (np.asarray(distance)[found] < 6**2).all()
        recovered += found[-1]
    # Of searches that succeed nine times in ten, so few would once in 400 runs.
    assert recovered >= 14


def test_random_steps_stay_in_their_disc_and_in_front_of_the_surface():
    scene = scene_of()
    path = random_walk(scene, [], 7.0, 300, 70.0, jax.random.key(1))
    step = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert step.max() <= 7.0
    offset = path - np.asarray(scene.surface.position)
    assert (offset @ np.asarray(scene.surface.array.normal) > 0).all()
    assert (np.linalg.norm(offset, axis=1) < 70.0).all()
    # Uniform in a disc, where nothing turns the user back.
    free = step[np.linalg.norm(offset[:-1], axis=1) < 60.0]
    assert abs(np.mean(free**2) - 24.5) < 5 * 49 / np.sqrt(12 * len(free))


def test_random_steps_do_not_pass_through_obstacles():
    scene = yard(surfaces=2, direct=True)
    wall = Obstacle(np.array([[1.8, 0.0], [2.0, 0.0], [2.0, 9.0], [1.8, 9.0]]), 0.0, 3.0)
    walk = random_walk(scene, [wall], 3.0, 200, 30.0, jax.random.key(0))
    free = random_walk(scene, [], 3.0, 200, 30.0, jax.random.key(0))
    steps = np.linalg.norm(np.diff(walk, axis=0), axis=1)
    assert steps.max() <= 3.0
    assert (steps > 0).mean() > 0.9
    # Truth: orientation of the corners of both segments, for steps near the wall's middle line.
    across = (walk[:-1, 0] - 1.9) * (walk[1:, 0] - 1.9) < 0
    share = (1.9 - walk[:-1, 0])[across] / np.diff(walk[:, 0])[across]
    y = walk[:-1, 1][across] + share * np.diff(walk[:, 1])[across]
    assert not ((y > 0) & (y < 9)).any()
    assert ((free[:-1, 0] < 1.8) & (free[1:, 0] > 2.0)).any()  # without the wall, steps cross it


def test_an_objective_is_a_weight_or_a_balance():
    assert TradeOffObjective().numbers() == (1e-10, None)  # the weight of the paper's figures
    assert TradeOffObjective(weight=2.0).numbers() == (2.0, None)
    assert TradeOffObjective(balance=0.5).numbers() == (None, 0.5)
    with pytest.raises(ValueError, match="both given"):
        TradeOffObjective(1e-10, 0.5)
