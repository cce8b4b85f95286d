"""Estimates and tracks over several paths, from scenarios with obstacles."""

import numpy as np
import pytest

import heliostat as hs
from heliostat.api.tracking import TrackError
from heliostat.scenario.localization.visibility import visible_paths
from tests.support.hall import hall

YARD = {
    "system": "localization",
    "carrier": {"frequency": "28 GHz", "bandwidth": "100 MHz"},
    "base_station": {"position": [-20, 0, 6], "antennas": 8, "axis": [0, 1, 0], "power": "30 dBm"},
    "surfaces": [
        {"name": "north", "position": [0, 14, 4], "azimuth": "-90 deg", "rows": 16, "columns": 16},
    ],
    "user": {"position": [4, 3, 1.5], "heading": "100 deg", "antennas": 8},
    "obstacles": [
        {"name": "shed", "footprint": [[-4, -9], [0, -9], [0, 0.5], [-4, 0.5]], "height": "10 m"}
    ],
    "link": {"noise": "-86 dBm"},
    "frame": {"pilot": "20 us", "optimization": "1 ms", "period": "50 ms"},
    "model": {"gain": "unknown", "clock": "unknown"},
}
WALK = np.array([[4.0, 4.0 - 1.5 * i] for i in range(6)])


@pytest.fixture(scope="module")
def run():
    return hs.run_protocol(hs.load(YARD), len(WALK), track=WALK)


def test_the_pose_is_found_within_its_covariance_and_gains_have_names():
    scenario = hs.load(YARD)
    pilots = hs.simulate_pilots(scenario, clock=12.0)
    pose = hs.estimate_pose(scenario, pilots, max_range=30.0)
    error = np.append(pose.position[:2] - [4, 3], pose.heading - np.radians(100))
    assert error @ np.linalg.solve(pose.covariance, error) < 30  # chi-squared of 3, 1e-6
    assert list(pose.gains) == ["direct path", "north"]
    assert pose.clock == pytest.approx(12, abs=0.5)
    assert pose.detected
    assert pose.fits
    assert pose.unique
    np.testing.assert_allclose(np.abs(list(pose.gains.values())), 1.0, rtol=0.2)


def test_a_shape_with_the_codes_is_required():
    scenario = hs.load(YARD)
    pilots = hs.simulate_pilots(scenario, bins=4).samples
    assert pilots.shape == (8, 8, 8, 4)
    with pytest.raises(ValueError, match="needs \\(8 configurations"):
        hs.estimate_pose(scenario, pilots[:4])


def test_another_path_serves_where_an_obstacle_blocks_the_direct_one(run):
    places = np.column_stack([WALK, np.full(len(WALK), 1.5)])
    seen = visible_paths(hs.load(YARD), places)
    assert seen[0].all()
    assert not seen[-1, 0]
    np.testing.assert_array_equal(run.visible, seen)
    assert run.path.values.tolist() == ["direct path", "north"]
    assert run.attrs["lost_periods"] == int((~run.found.values).sum())
    assert run.attrs["unreached_periods"] == 0
    served = run.serving.values[run.found.values]
    assert served[0] == 0  # the surface is weaker than the direct path
    assert served[-1] == 1
    assert run.attrs["handovers"] == np.sum(np.diff(served) != 0)
    assert run.attrs["handovers"] >= 1
    # A blocked path carries no data.
    assert (run.path_snr.values[~seen] == 0).all()


def test_errors_of_found_periods_are_those_of_the_bound(run):
    found = run.found.values
    assert found.sum() >= 5
    assert (run.position_error.values[found] < 6 * run.peb.values[found]).all()
    bounds = [
        hs.pose_bounds(hs.load(YARD, {"user.position": [*place, 1.5]}), int(antennas)).peb
        for place, antennas in zip(WALK, run.active_antennas.values, strict=True)
    ]
    # The sweeps are pointed at the previous estimate instead of the user.
    np.testing.assert_allclose(run.peb, bounds, rtol=0.5)


def test_a_track_through_an_obstacle_is_refused():
    with pytest.raises(TrackError, match=r"position 2, \(-2, -2\), is inside shed; leave it out"):
        hs.run_protocol(hs.load(YARD), 2, track=[[4, 3], [-2, -2]])


def test_the_best_allocation_may_leave_out_those_without_a_bound():
    # One antenna leaves the pose unidentifiable over the direct path alone. Truth: each allocation
    # by itself.
    box = {"name": "box", "footprint": [[4, 3], [5, 3], [5, 5], [4, 5]], "height": "20 m"}
    scenario = hall(obstacles=[box])
    objectives = [
        hs.pose_bounds(scenario, n).peb
        + hs.pose_bounds(scenario, n).reb
        - 1e-10 * hs.effective_rate(scenario, n).eadr
        for n in range(1, 5)
    ]
    assert np.isinf(objectives[0])
    best = hs.allocate_time(scenario)
    assert best.active_antennas == 1 + np.argmin(objectives)
    assert best.objective == pytest.approx(min(objectives), rel=1e-9)
    rates = best.trade_off.eadr[1:]
    assert hs.allocate_time(scenario, balance=0).active_antennas == 2 + np.argmax(rates)
