"""Truths: differentiated echoes, echoes without noise, copies of a dwell, a wrong belief."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.estimation.direction import likeliest_direction
from heliostat.observation.echoes import echo_mean, noise_covariance, target_steering
from heliostat.protocol import target_search
from heliostat.protocol.multi_dwell import (
    listen,
    locate,
    longer,
    matched_energy,
    sent_in,
    together,
    told_by,
)
from heliostat.protocol.search_region import (
    Region,
    Scans,
    Setting,
    places_in,
    region_ahead,
    region_grids,
    supposed,
)
from heliostat.protocol.target_search import aim, find, known_target_bound
from heliostat.surface.active import random_reflection, reflected_power
from tests.support.sensing_scenes import random_covariance, sensing_scene

PATTERNS, SNAPSHOTS = 2, 10
REGION = Region(jnp.array([0.0, 8.0, -2.0]), jnp.array([14.0, 22.0, 4.0]))
MIN_SNR = 100.0


def scene_of(**changes):
    # One size for all: every program is compiled once.
    options = {"antennas": 8, "rows": (3, 3), "columns": (3, 3), "target": (6.0, 14.0, 1.0)}
    options |= {"symbols": float(2 * PATTERNS * SNAPSHOTS), "noise": 1e-13, "surface_noise": 1e-13}
    return sensing_scene(**(options | changes))


def random_setting(scene, seed):
    rng = np.random.default_rng(seed)
    covariance, reflection = [], []
    for i, surface in enumerate(scene.surfaces):
        key = jax.random.fold_in(jax.random.key(seed), i)
        psi = random_reflection(key, PATTERNS * surface.array.elements, surface.amplification)
        reflection.append(psi.reshape(PATTERNS, -1))
        sent = [random_covariance(rng, 8, 3, 10.0 + k) for k in range(PATTERNS)]
        covariance.append(jnp.stack([jnp.asarray(r) for r in sent]))
    return Setting(tuple(covariance), tuple(reflection))


def heard_in(scene, seeds):
    settings = [random_setting(scene, seed) for seed in seeds]
    keys = [jax.random.fold_in(jax.random.key(9), seed) for seed in seeds]
    pairs = zip(settings, keys, strict=True)
    return [listen(scene, sent_in(setting, SNAPSHOTS), key) for setting, key in pairs]


@pytest.fixture(scope="module")
def scans():
    return Scans(scene_of(), REGION, PATTERNS)


def parts_of(heard):
    """Reflection, signal and echo of all dwells, one entry a surface each."""
    every = [(*dwell.sent, dwell.echoes) for dwell in heard]
    return [
        [jnp.concatenate(each) for each in zip(*part, strict=True)]
        for part in zip(*every, strict=True)
    ]


def bound_by_definition(scene, heard):
    """Of the position, from every sample of every dwell: its slopes to all seven unknowns."""

    stacked = parts_of(heard)

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

    # In units of the gains' own size, so that the matrix can be inverted.
    size = jnp.concatenate([jnp.ones(3), jnp.tile(jnp.abs(scene.target_gain), 2)])
    gains = jnp.concatenate([jnp.real(scene.target_gain), jnp.imag(scene.target_gain)])
    at = jnp.concatenate([scene.target.position, gains])
    slopes = jax.jit(jax.jacfwd(lambda moved: samples(moved * size)))(at / size)
    information = 2 * jnp.real(jnp.conj(slopes).T @ slopes)
    return float(jnp.sqrt(jnp.trace(jnp.linalg.inv(information)[:3, :3])))


def test_the_bound_of_several_dwells_is_that_of_all_their_samples():
    scene = scene_of()
    heard = heard_in(scene, [1, 2, 3])
    every, capacity = together(heard)
    assert capacity == 4
    assert every.echoes[0].shape[0] == 4 * PATTERNS
    bound = told_by(scene, [dwell.sent for dwell in heard]).bound
    np.testing.assert_allclose(bound, bound_by_definition(scene, heard), rtol=1e-7)


def test_dwells_designed_for_the_true_place_have_bounds_that_fall_with_their_root():
    scene = scene_of()
    setting = aim(scene, PATTERNS, MIN_SNR, seed=0)
    one = known_target_bound(scene, PATTERNS, MIN_SNR, SNAPSHOTS)
    dwell = sent_in(setting, SNAPSHOTS)
    np.testing.assert_allclose(told_by(scene, [dwell] * 3).bound, one / np.sqrt(3), rtol=1e-9)
    assert (told_by(scene, [dwell]).snr >= MIN_SNR * (1 - 1e-6)).all()


def test_silent_dwells_change_no_estimate():
    scene = scene_of()
    heard = heard_in(scene, [1, 2, 3])
    grids = region_grids(scene, REGION)
    fix = locate(scene, heard, grids, REGION)
    for i in range(2):
        joined = [part[i] for part in parts_of(heard)]
        alone = likeliest_direction(longer(scene, 3).link(i), *joined, grids[i])
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
    heard = heard_in(scene, [1, 2, 3])
    fix, moved = locate(scene, heard, grids, REGION), locate(turned, heard, grids, region)
    np.testing.assert_allclose(moved.position, turn @ fix.position + shift, rtol=1e-6)
    expected = turn @ fix.covariance @ turn.T
    np.testing.assert_allclose(
        moved.covariance, expected, rtol=1e-5, atol=1e-6 * float(jnp.max(fix.covariance))
    )
    assert fix.sound
    assert moved.sound


def test_what_a_scan_looks_at():
    scene = scene_of()
    places = places_in(REGION, scene, 200, 3)
    assert (places >= np.asarray(REGION.low)).all()
    assert (places <= np.asarray(REGION.high)).all()
    assert (places[:, 0] > -5.0).all()
    grids = region_grids(scene, REGION)
    for surface, grid in zip(scene.surfaces, grids, strict=True):
        way = places - np.asarray(surface.position)
        way /= np.linalg.norm(way, axis=1)[:, None]
        for axis, side in ((1, grid.horizontal), (2, grid.vertical)):
            assert side[0] < way[:, axis].min()
            assert side[-1] > way[:, axis].max()
    behind = Region(jnp.array([-9.0, 8.0, -2.0]), jnp.array([-6.0, 22.0, 4.0]))
    with pytest.raises(ValueError, match="behind a surface"):
        places_in(behind, scene, 8, 0)
    # Without a word from anyone: 20.6 m before the surfaces, as thick.
    box = region_ahead(scene)
    far = np.hypot(5.0, 20.0)
    np.testing.assert_allclose(box.low, [-5.0, 10 - far / 2, -far / 2], rtol=1e-12)
    np.testing.assert_allclose(box.high, [far - 5, 10 + far / 2, far / 2], rtol=1e-12)


def test_a_scan_keeps_every_power_and_serves_what_it_has_not_been_told_of(scans):
    scene = scans.scene
    for number in (0, 1):
        setting = scans[number]
        assert scans[number] is setting
        sent = sum(float(jnp.real(jnp.einsum("kaa->", r))) for r in setting.covariance)
        assert sent / (2 * PATTERNS) <= float(scene.base_station.power) * (1 + 1e-9)
        for i, surface in enumerate(scene.surfaces):
            assert float(jnp.max(jnp.abs(setting.reflection[i]))) <= 8.0 * (1 + 1e-9)
            steering = target_steering(surface.array, scene.angles()[i])
            for psi, sent in zip(setting.reflection[i], setting.covariance[i], strict=True):
                power = reflected_power(
                    psi, scene.bs_to_irs[i], sent, steering, scene.target_gain[i], surface.noise
                )
                # The echo of the echo is a millionth of what a surface radiates.
                assert float(power.total) <= float(surface.power) * (1 + 1e-5)
    # At places that no scan was made for, the two together beat as many random settings.
    scanned = [sent_in(scans[n], SNAPSHOTS) for n in (0, 1)]
    random = [sent_in(random_setting(scene, n), SNAPSHOTS) for n in (0, 1)]
    places = places_in(REGION, scene, 20, 99)
    designed, undesigned = (
        [float(told_by(supposed(scene, place, 0.01), dwells).bound) for place in places]
        for dwells in (scanned, random)
    )
    assert np.median(designed) < 0.5 * np.median(undesigned)


def quiet(scene):
    return eqx.tree_at(
        lambda s: (s.noise, *(surface.noise for surface in s.surfaces)),
        scene,
        replace_fn=lambda noise: noise * 1e-10,
    )


def test_without_noise_the_second_dwell_knows_the_place(scans):
    scene = quiet(scene_of())
    course = find(scene, scans, 6, SNAPSHOTS, MIN_SNR, None, jax.random.key(0))
    assert [r.aimed for r in course.records[:2]] == [False, True]
    assert all(r.found for r in course.records)
    assert course.met
    last = course.records[-1].fix
    off = float(jnp.linalg.norm(last.position - scene.target.position))
    assert 0 < off < 6 * course.records[-1].bound < 1e-4
    np.testing.assert_allclose(np.abs(last.target_gain), np.abs(scene.target_gain), rtol=1e-4)
    # An echo has the energy that its SNR says, noise apart.
    heard = listen(scene, sent_in(scans[0], SNAPSHOTS), jax.random.key(3))
    energy = matched_energy(scene, heard, scene.angles()).matched
    np.testing.assert_allclose(energy, course.records[0].snr, rtol=1e-3)


def test_a_wrong_belief_breaks_its_promise_and_is_scanned_away(scans, monkeypatch):
    scene, real, calls = scene_of(), target_search.locate, []

    def misled(*arguments):
        fix = real(*arguments)
        calls.append(fix)
        if len(calls) > 1:
            return fix
        wrong = jnp.array([0.5, 21.5, -1.5])
        return eqx.tree_at(
            lambda f: (f.position, f.angles, f.sound),
            fix,
            (wrong, scene.angles(wrong), jnp.asarray(True)),
        )

    monkeypatch.setattr(target_search, "locate", misled)
    course = find(scene, scans, 6, SNAPSHOTS, MIN_SNR, None, jax.random.key(1))
    first, second, third = course.records[:3]
    assert first.found
    assert second.aimed
    assert not second.kept
    assert not second.found
    assert not third.aimed
    last = course.records[-1]
    assert course.met
    assert last.aimed
    assert float(jnp.linalg.norm(last.fix.position - scene.target.position)) < 5 * last.bound


def test_a_target_outside_the_region_is_never_believed(scans):
    scene = supposed(scans.scene, np.array([4.0, 15.0, 9.0]), 0.009)
    for seed in range(3):
        course = find(scene, scans, 3, SNAPSHOTS, MIN_SNR, None, jax.random.key(seed))
        assert not course.met
        assert len(course.records) == 3
        assert not any(r.confirmed for r in course.records)


def test_what_can_tell_no_position_is_refused(scans):
    # On the line through both surfaces, at their height.
    along = supposed(scene_of(target=(-5.0 + 1e-9, 30.0, 0.0)), np.array([-5 + 1e-9, 30, 0]), 0.009)
    with pytest.raises(ValueError, match=r"tells nothing|cannot tell both"):
        find(along, scans, 3, SNAPSHOTS, 0.0, None, jax.random.key(0))


@pytest.mark.slow
def test_errors_over_many_runs_are_those_of_the_bound_by_all_that_was_sent(scans):
    trials, squares = 80, []
    for trial, place in enumerate(places_in(REGION, scans.scene, trials, 1234)):
        scene = supposed(scans.scene, place, 0.009)
        course = find(scene, scans, 4, SNAPSHOTS, MIN_SNR, 0.0, jax.random.key(trial))
        last = course.records[-1]
        assert last.confirmed
        off = float(jnp.linalg.norm(last.fix.position - scene.target.position))
        squares.append((off / last.bound) ** 2)
    # The square over its mean is at most as widely spread as that of one Gaussian, variance 2.
    assert abs(np.mean(squares) - 1) < 4 * np.sqrt(2 / trials)
