"""The public estimators: the truth within what they say of themselves, and what they refuse."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import heliostat as hs
from heliostat.design.result import patterned
from tests.support.sensing_designs import YARD, cheap_design

ROOM = """\
system: localization
carrier: {frequency: 30 GHz, bandwidth: 50 MHz}
base_station: {position: [10, -5, 8], antennas: 4, power: 30 dBm}
surface: {position: [0, 0, 3], rows: 8, columns: 8, focus: [7.5, 5, 1]}
user: {position: [8, 6, 1], heading: 30 deg, antennas: 8}
link: {noise: -100 dBm}
frame: {pilot: 10 us, optimization: 1 ms, period: 5 ms}
"""
CLOCKED = {"model.gain": "unknown", "model.clock": "unknown"}
KNOWN = {"model.gain": "known"}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Loads one of the two scenarios with overrides."""
    folder = tmp_path_factory.mktemp("scenarios")
    for name, text in (("room", ROOM), ("yard", YARD)):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return lambda name, sets=None: hs.load(folder / f"{name}.yaml", sets or {})


@pytest.mark.parametrize(("sets", "clock"), [(KNOWN, 0.0), (CLOCKED, 4.0)])
def test_a_pose_is_found_within_what_it_says_of_itself_whatever_the_scenario_says(
    loaded, sets, clock
):
    scenario = loaded("room", sets)
    pilots = hs.simulate_pilots(scenario, 3, clock=clock, key=jax.random.key(5))
    assert pilots.samples.shape == (len(scenario.sweep_of(scenario.panel)), 3, 8, 16)
    found = hs.estimate_pose(scenario, pilots, expected_heading=0.5)
    assert found.detected
    assert found.converged
    assert found.fits
    truth = np.array([8.0, 6.0, np.deg2rad(30)])
    error = np.array([*found.position[:2], found.heading]) - truth
    assert (np.abs(error) < 6 * np.sqrt(np.diag(found.covariance))).all()
    assert error @ np.linalg.solve(found.covariance, error) < 6**2
    assert np.sqrt(np.trace(found.covariance[:2, :2])) < 0.2  # or it would be no high SNR
    assert found.clock == pytest.approx(clock, abs=1.0)
    # The receiver must not peek: another place and heading in the scenario change nothing.
    moved = {"user.position": "[3, -4, 1]", "user.heading": "-100 deg"}
    again = hs.estimate_pose(loaded("room", sets | moved), pilots, expected_heading=0.5)
    for name in ("position", "heading", "clock", "covariance", "snr"):
        np.testing.assert_allclose(getattr(again, name), getattr(found, name), rtol=1e-6)


def test_pilots_of_another_shape_are_refused_with_both_shapes(loaded):
    scenario = loaded("room")
    pilots = hs.simulate_pilots(scenario, 2)
    count = len(scenario.sweep_of(scenario.panel))
    wrong = [
        pilots.samples[:, :, :5],
        pilots.samples[:1],
        pilots.samples[..., :7],
        pilots.samples[0],
        np.repeat(pilots.samples, 4, axis=1),
    ]
    for samples in wrong:
        with pytest.raises(ValueError, match=r"pilots\.samples has the shape") as refusal:
            hs.estimate_pose(scenario, replace(pilots, samples=samples))
        told = str(refusal.value)
        assert str(samples.shape) in told
        assert f"({count} configurations, 1 to 4 active antennas, 8, 16)" in told
    broken = pilots.samples.copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        hs.estimate_pose(scenario, replace(pilots, samples=broken))
    with pytest.raises(ValueError, match="max_range is 1e"):
        hs.estimate_pose(scenario, pilots, max_range=1e6)
    with pytest.raises(ValueError, match="bins is 1"):
        hs.simulate_pilots(scenario, bins=1)
    with pytest.raises(TypeError, match="needs a localization scenario"):
        hs.simulate_pilots(loaded("yard"))


def test_directions_and_their_crossing_are_found_within_what_they_say(loaded):
    # Much less noise: the round trip over small panels is faint.
    nodes = ("base_station", "surfaces.0", "surfaces.1")
    quiet = {f"{node}.noise": "-160 dBm" for node in nodes}
    quiet["surfaces.1.columns"] = 2  # one size of panel: compiled once
    scenario = loaded("yard", quiet)
    covariance, reflection = patterned(cheap_design(scenario))
    echoes = hs.simulate_echoes(scenario, covariance, reflection, key=jax.random.key(1))
    found = hs.estimate_direction(scenario, echoes, reflection)
    assert found.detected.all()
    assert found.converged.all()
    truth = np.asarray(scenario.build().angles())
    error = found.angles - truth
    for e, spread in zip(error, found.covariance, strict=True):
        assert e @ np.linalg.solve(spread, e) < 6**2
    for method in ("least_squares", "stansfield"):
        fix = hs.triangulate(scenario, found.angles, found.covariance, method)
        off = fix.position - scenario.target.position
        assert off @ np.linalg.solve(fix.covariance, off) < 6**2
    # The target's own position in the scenario is not looked at.
    x, y, z = scenario.target.position
    moved = loaded("yard", quiet | {"target.position": f"[{x + 1}, {y - 1}, {z}]"})
    again = hs.estimate_direction(moved, echoes, reflection)
    np.testing.assert_allclose(again.angles, found.angles, rtol=1e-9)
    cut = tuple(samples[:, :-1] for samples in echoes.samples)
    with pytest.raises(ValueError, match="echoes of surface 0 have the shapes"):
        hs.estimate_direction(scenario, replace(echoes, samples=cut), reflection)
    with pytest.raises(ValueError, match="echoes have 1 surfaces received and 2 sent"):
        hs.estimate_direction(scenario, replace(echoes, samples=echoes.samples[:1]), reflection)


def test_lines_that_do_not_cross_are_refused_with_their_geometry(loaded):
    scenario = loaded("yard")
    scene = scenario.build()
    count = scene.n_surfaces
    truth, spread = np.asarray(scene.angles()), np.tile(1e-4 * np.eye(2), (count, 1, 1))
    far = np.asarray(scene.angles(scene.target.position * 1e9))
    with pytest.raises(ValueError, match="line through the surfaces, or very far away"):
        hs.triangulate(scenario, far, spread)
    # On the far side of the second surface, as seen from the first.
    first, second = (surface.position for surface in scene.surfaces[:2])
    on_line = np.asarray(scene.angles(second + 0.7 * (second - first)))
    with pytest.raises(ValueError, match="line through the surfaces"):
        hs.triangulate(scenario, on_line, spread)
    sideways = first - second
    for far_apart in (1.5, 2.0, 3.0, 4.0):
        apart = np.array(truth)
        for i, sign in enumerate((1, -1)):
            moved = scene.target.position + sign * far_apart * sideways
            apart[i] = np.asarray(scene.angles(moved))[i]
        for method in ("least_squares", "stansfield"):
            with pytest.raises(ValueError, match="diverge"):
                hs.triangulate(scenario, apart, spread, method)
    with pytest.raises(ValueError, match=rf"angles has the shape \(1, 2\).*\({count}, 2\)"):
        hs.triangulate(scenario, truth[:1], spread)
    with pytest.raises(ValueError, match="covariance has an eigenvalue"):
        hs.triangulate(scenario, truth, 0 * spread)
    with pytest.raises(ValueError, match="not symmetric"):
        hs.triangulate(scenario, truth, spread + np.array([[0, 1e-5], [0, 0]]))
    with pytest.raises(ValueError, match="method is 'music'"):
        hs.triangulate(scenario, truth, spread, "music")
