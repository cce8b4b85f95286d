"""Search from scenario to dataset; truths: the scenario itself, simple arithmetic."""

import jax
import numpy as np
import pytest
import yaml

import heliostat as hs
from heliostat.api import target_search as target_search_api
from heliostat.api.target_search import SearchError, snapshots_of, whole_dwell
from tests.support.cheap_search import cheap_search
from tests.support.sensing_designs import YARD, yard

BOX = [[0.0, 10.0], [10.0, 20.0], [-1.0, 3.0]]
# Equal panels: what is compiled for one serves the other.
LOUD = {"base_station__noise": "-120 dBm", "dwell__symbols": 103, "surfaces__1__columns": 2}


def test_results_of_a_search_are_consistent_and_depend_on_the_key_alone():
    found = hs.find_target(yard(**LOUD), 3, accuracy=0.0, region=BOX)
    assert found.sizes["dwell"] == 3
    assert found.kind[0] == "scan"
    truth = np.asarray(yard().target.position)
    np.testing.assert_array_equal(found.attrs["target"], truth)
    place = np.stack([found[f"{axis}_estimate"].values for axis in "xyz"], axis=1)
    off, seen = np.linalg.norm(place - truth, axis=1), np.isfinite(found.position_std.values)
    np.testing.assert_allclose(found.position_error.values[seen], off[seen], rtol=1e-12)
    trace = np.trace(found.covariance.values, axis1=1, axis2=2)
    np.testing.assert_allclose(found.position_std, np.sqrt(trace), rtol=1e-9)
    np.testing.assert_array_equal(found.confirmed, found.found & (found.kind == "focused"))
    # The last error is within six times its bound, and bounds decrease.
    assert found.confirmed[-1]
    assert found.position_error[-1] < 6 * found.bound[-1]
    assert (np.diff(found.bound) < 0).all()
    assert all("units" in values.attrs for values in found.data_vars.values())

    goal = 1.001 * float(found.position_std[1:].max())
    met = np.flatnonzero(found.confirmed & (found.position_std <= goal))[0] + 1
    seed = yard().link.seed
    run = hs.find_target(yard(**LOUD), 3, accuracy=goal, region=BOX, key=jax.random.key(seed))
    assert run.sizes["dwell"] == run.attrs["dwells_needed"] == met
    np.testing.assert_array_equal(run.x_estimate, found.x_estimate[:met])
    other = hs.find_target(yard(**LOUD), 1, region=BOX, key=jax.random.key(4))
    assert not np.array_equal(other.reduced_chi2[0], found.reduced_chi2[0])


def test_summary_of_a_search(monkeypatch):
    monkeypatch.setattr(target_search_api, "find", cheap_search)
    run = hs.find_target(yard(), 9, accuracy=0.15, region=BOX)
    # Standard deviations inf, 1/2, 1/4, 1/8: the fourth is the first below 0.15.
    np.testing.assert_array_equal(run.position_std, [np.inf, 0.5, 0.25, 0.125])
    np.testing.assert_allclose(run.position_error[1:], 0.6 * np.sqrt(3) * run.position_std[1:])
    assert run.position_error[0] == np.inf
    assert run.kind.values.tolist() == ["scan", "scan", "focused", "focused"]
    known = 0.5 / np.sqrt([1, 2, 3, 4])
    np.testing.assert_allclose(run.known_target_bound, known)
    excess = 10 * np.log10((np.array([2, 1, 0.5, 0.25]) / known) ** 2)
    np.testing.assert_allclose(run.excess_db, excess, atol=1e-12)
    counts = {
        name: run.attrs[name] for name in ("dwells_needed", "inconsistent_dwells", "lost_dwells")
    }
    assert counts == {"dwells_needed": 4, "inconsistent_dwells": 0, "lost_dwells": 1}
    # (0.5 / 0.15)² = 11.1 dwells with a bound of half a meter each.
    assert run.attrs["dwells_known_target"] == 12
    assert hs.find_target(yard(), 9, region=BOX).attrs["dwells_known_target"] == 1
    assert hs.find_target(yard(), 2, accuracy=0.0).attrs["dwells_needed"] == 0
    # The target at (5, 14, 1) is in the given box and in the default one.
    assert run.attrs["target_in_region"] == 1
    assert hs.find_target(yard(), 2).attrs["target_in_region"] == 1
    away = hs.find_target(yard(), 2, region=[[0, 6], [24, 30], [-1, 3]])
    assert away.attrs["target_in_region"] == 0


def test_only_whole_symbols_are_used():
    scenario = yard(**LOUD)
    assert snapshots_of(scenario) == 51
    assert float(whole_dwell(scenario, scenario.build()).symbols) == 102.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dwells": 0}, "dwells is 0"),
        ({"dwells": True}, "dwells is True"),
        ({"accuracy": -1.0}, "accuracy is -1"),
        ({"accuracy": np.nan}, "accuracy is nan"),
        ({"region": [[0, 1], [0, 1]]}, r"shape \(2, 2\)"),
        ({"region": [[0, 1], [2, 1], [0, 1]]}, "from 2 to 1 in y"),
        ({"region": [[0, 1], [0, np.inf], [0, 1]]}, "not finite"),
        ({"region": [[-9, -7], [10, 20], [0, 3]]}, "behind a surface"),
    ],
)
def test_bad_arguments_are_refused(arguments, words):
    with pytest.raises(SearchError, match=words):
        hs.find_target(yard(), **arguments)


def test_other_systems_and_one_surface_are_refused():
    with pytest.raises(TypeError, match="find_target"):
        hs.find_target(hs.load("localization-table-1"))
    alone = yaml.safe_load(YARD)
    del alone["surfaces"][1]
    with pytest.raises(SearchError, match="has 1 surface"):
        hs.find_target(alone)
