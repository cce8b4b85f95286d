"""Truths: what a process without noise must do, the paper's rate, a user that jumps away."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from heliostat.estimation.pose import place_grid
from heliostat.observation.pilots import band_bins
from heliostat.protocol.errors import ErrorLevels
from heliostat.protocol.loop import Weighing, believed, discs, pilot_snr, run_loop, swept
from heliostat.rates.effective import eadr
from tests.scenes import FOUR, localization_scene

BINS = 16
WEIGHT = Weighing(jnp.asarray(1e-10), balanced=False)


def scene_of(**changes):
    # One size for all: the loop is compiled once.
    options = {"gain_known": False, "sweep": FOUR, "user_antennas": 8, "antennas": 8}
    options |= {"columns": 16, "rows": 16}
    return localization_scene(**(options | changes))


def loop(scene, positions, *, invented=None, seed=0, antennas=2):
    positions = jnp.asarray(positions, dtype=float)
    heading = scene.user.heading
    return run_loop(
        scene,
        believed(positions[0], heading, antennas),
        positions,
        jnp.full(len(positions), heading),
        band_bins(scene.link.bandwidth, BINS),
        place_grid(scene, BINS),
        WEIGHT,
        jax.random.key(seed),
        invented,
    )


WALK = [[20.0 + i, 40.0 - 0.7 * i, 0.0] for i in range(12)]


def test_without_noise_the_rate_is_that_of_a_surface_focused_on_the_truth():
    scene = scene_of(noise=1e-11)
    silent = eqx.tree_at(lambda s: s.link.noise_density, scene, scene.link.noise_density * 1e-10)
    record = loop(silent, WALK)
    np.testing.assert_allclose(record.estimate.position, WALK, rtol=1e-8)
    assert record.detected.all()
    for i, place in enumerate(WALK):
        there = silent.with_user(jnp.asarray(place), silent.user.heading)
        focused = there.focused(data=there.user.position)
        expected = eadr(focused, int(record.active_antennas[i]))
        np.testing.assert_allclose(record.eadr[i], expected, rtol=1e-6)


def test_invented_errors_of_nothing_are_the_truth_and_others_have_their_size():
    scene = scene_of()
    levels = lambda position, heading: ErrorLevels(*map(jnp.asarray, (position, heading, 0.0, 0.0)))
    stay = [WALK[0]] * 200  # one length: compiled once
    exact = loop(scene, stay, invented=levels(0.0, 0.0))
    np.testing.assert_allclose(exact.estimate.position, stay, rtol=1e-12)
    rough = loop(scene, stay, invented=levels(3.0, 0.2))
    off = np.linalg.norm(np.asarray(rough.estimate.position)[:, :2] - WALK[0][:2], axis=1)
    # Uniform in a disc: the mean square is half the squared radius, its deviation R²/sqrt(12).
    assert off.max() <= 3.0
    assert abs(np.mean(off**2) - 4.5) < 4 * 9 / np.sqrt(12 * 200)
    turned = np.asarray(rough.estimate.heading) - float(scene.user.heading)
    assert np.abs(turned).max() <= 0.2
    assert np.mean(np.asarray(rough.eadr)) < np.mean(np.asarray(exact.eadr))
    # The pilots' energy is what an estimate finds it to be, to a few of its standard deviations.
    found, key = loop(scene, WALK), jax.random.key(0)
    for antennas, snr, detected, i in zip(
        found.active_antennas, found.estimate.snr, found.detected, range(len(WALK)), strict=True
    ):
        assert detected
        before = WALK[max(i - 1, 0)]
        aimed = scene.with_user(jnp.asarray(before), scene.user.heading)
        here = swept(aimed, believed(jnp.asarray(before), scene.user.heading, 2), key)
        here = here.with_user(jnp.asarray(WALK[i]), scene.user.heading)
        energy = float(pilot_snr(here, jnp.asarray(float(antennas))))
        assert abs(float(snr) - energy) < 6 * np.sqrt(2 * energy)


def test_a_user_that_jumps_out_of_sight_is_lost_counted_and_found_again():
    # So much noise that pilots are hardly heard outside the beams; a jump over four beamwidths.
    scene = scene_of(noise=3e-4)
    near, far = [20.0, 40.0, 0.0], [22.0, 27.0, 0.0]
    recovered = 0
    for seed in range(6):
        record = loop(scene, [near] * 3 + [far] * 9, seed=seed)
        found = np.asarray(record.detected)
        assert found[:3].all()
        assert (np.asarray(record.eadr)[~found] == 0).all()
        off = np.linalg.norm(np.asarray(record.estimate.position)[-1] - far)
        recovered += not found[3] and found[-1] and off < 3.0
    # A search at random needs luck, and so has a user that is heard all the same.
    assert recovered >= 3


def test_jumps_stay_in_their_disc_and_in_front_of_the_surface():
    scene = scene_of()
    path = np.asarray(discs(scene, jnp.asarray(7.0), 300, jnp.asarray(70.0), jax.random.key(1)))
    step = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert step.max() <= 7.0
    offset = path - np.asarray(scene.surface.position)
    assert (offset @ np.asarray(scene.surface.array.normal) > 0).all()
    assert (np.linalg.norm(offset, axis=1) < 70.0).all()
    # Uniform in a disc, where nothing turns the user back.
    free = step[np.linalg.norm(offset[:-1], axis=1) < 60.0]
    assert abs(np.mean(free**2) - 24.5) < 5 * 49 / np.sqrt(12 * len(free))
