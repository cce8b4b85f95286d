"""Truths: copies of a dwell, echoes without noise, a wrong estimate, Monte Carlo."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.protocol import target_search
from heliostat.protocol.multi_dwell import (
    dwell_bounds,
    matched_energy,
    simulate_dwell,
    transmission_of,
)
from heliostat.protocol.search_region import sample_positions, with_assumed_target
from heliostat.protocol.target_search import design_dwell, find, known_target_bound
from tests.support.dwells import (
    MIN_SNR,
    PATTERNS,
    REGION,
    SNAPSHOTS,
    designed_scans,
    scene_of,
)


@pytest.fixture(scope="module")
def scans():
    return designed_scans()


def test_bound_of_equal_dwells_decreases_with_the_root_of_their_number():
    scene = scene_of()
    design = design_dwell(scene, PATTERNS, MIN_SNR)
    one = known_target_bound(scene, PATTERNS, MIN_SNR, SNAPSHOTS)
    dwell = transmission_of(design, SNAPSHOTS)
    np.testing.assert_allclose(dwell_bounds(scene, [dwell] * 3).bound, one / np.sqrt(3), rtol=1e-9)
    assert (dwell_bounds(scene, [dwell]).snr >= MIN_SNR * (1 - 1e-6)).all()


def quiet(scene):
    return eqx.tree_at(
        lambda s: (s.noise, *(surface.noise for surface in s.surfaces)),
        scene,
        replace_fn=lambda noise: noise * 1e-10,
    )


def test_without_noise_the_second_dwell_confirms_the_position(scans):
    scene = quiet(scene_of())
    search = find(scene, scans, 6, SNAPSHOTS, MIN_SNR, None, jax.random.key(0))
    assert [r.focused for r in search.records[:2]] == [False, True]
    assert all(r.found for r in search.records)
    assert search.met
    last = search.records[-1].fix
    off = float(jnp.linalg.norm(last.position - scene.target.position))
    assert 0 < off < 6 * search.records[-1].bound < 1e-4
    np.testing.assert_allclose(np.abs(last.target_gain), np.abs(scene.target_gain), rtol=1e-4)
    # Without noise the energy of an echo equals its SNR.
    reception = simulate_dwell(scene, transmission_of(scans[0], SNAPSHOTS), jax.random.key(3))
    energy = matched_energy(scene, reception, scene.angles())
    np.testing.assert_allclose(energy, search.records[0].snr, rtol=1e-3)


def test_a_wrong_estimate_is_rejected_and_followed_by_a_scan(scans, monkeypatch):
    scene, real, calls = scene_of(), target_search.locate, []

    def misled(*arguments):
        fix = real(*arguments)
        calls.append(fix)
        if len(calls) > 1:
            return fix
        wrong = jnp.array([0.5, 21.5, -1.5])
        return eqx.tree_at(
            lambda f: (f.position, f.angles, f.consistent),
            fix,
            (wrong, scene.angles(wrong), jnp.asarray(True)),
        )

    monkeypatch.setattr(target_search, "locate", misled)
    search = find(scene, scans, 6, SNAPSHOTS, MIN_SNR, None, jax.random.key(1))
    first, second, third = search.records[:3]
    assert first.found
    assert second.focused
    assert not second.energy_consistent
    assert not second.found
    assert not third.focused
    last = search.records[-1]
    assert search.met
    assert last.focused
    assert float(jnp.linalg.norm(last.fix.position - scene.target.position)) < 5 * last.bound


def test_a_target_outside_the_region_is_never_confirmed(scans):
    scene = with_assumed_target(scans.scene, np.array([4.0, 15.0, 9.0]), 0.009)
    for seed in range(3):
        search = find(scene, scans, 3, SNAPSHOTS, MIN_SNR, None, jax.random.key(seed))
        assert not search.met
        assert len(search.records) == 3
        assert not any(r.confirmed for r in search.records)


def test_a_position_that_is_not_identifiable_is_refused(scans):
    # On the line through both surfaces, at their height.
    along = with_assumed_target(
        scene_of(target=(-5.0 + 1e-9, 30.0, 0.0)), np.array([-5 + 1e-9, 30, 0]), 0.009
    )
    with pytest.raises(ValueError, match=r"not identifiable"):
        find(along, scans, 3, SNAPSHOTS, 0.0, None, jax.random.key(0))


@pytest.mark.slow
def test_rms_error_over_many_searches_is_the_bound_of_all_dwells(scans):
    trials, squares = 80, []
    for trial, place in enumerate(sample_positions(REGION, scans.scene, trials, 1234)):
        scene = with_assumed_target(scans.scene, place, 0.009)
        search = find(scene, scans, 4, SNAPSHOTS, MIN_SNR, 0.0, jax.random.key(trial))
        last = search.records[-1]
        assert last.confirmed
        off = float(jnp.linalg.norm(last.fix.position - scene.target.position))
        squares.append((off / last.bound) ** 2)
    # The square over its mean is at most as widely spread as that of one Gaussian, variance 2.
    assert abs(np.mean(squares) - 1) < 4 * np.sqrt(2 / trials)
