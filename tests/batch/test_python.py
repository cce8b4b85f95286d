"""Studies from Python against single calls of the public functions."""

import numpy as np
import pytest

import heliostat as hs
from tests.support.hall import hall


def test_a_sweep_is_the_public_functions_at_every_point():
    rows, powers = np.array([4, 8]), ["20 dBm", "30 dBm"]
    data = hs.sweep(
        hall(),
        {"surface.rows": rows, "base_station.power": powers},
        ["pose_bounds.peb", "effective_rate.eadr"],
        options={"pose_bounds": {"active_antennas": 2}},
    )
    for size in rows:
        for power in powers:
            there = hall(surface__rows=int(size), base_station__power=power)
            at = {"surface.rows": size, "base_station.power_dbm": float(power.split()[0])}
            found = data.sel(at).isel(trial=0)
            assert float(found["pose_bounds.peb"]) == hs.pose_bounds(there, 2).peb
            assert float(found["effective_rate.eadr"]) == hs.effective_rate(there).eadr
    assert data["pose_bounds.peb"].attrs["units"] == "m"
    assert data.attrs["failures"] == 0


def test_random_values_are_drawn_in_each_trial():
    data = hs.sweep(
        hall(),
        {"surface.rows": [4]},
        ["pose_bounds.reb"],
        random={"user.heading": "0..90 deg"},
        trials=3,
    )
    assert len(np.unique(data["pose_bounds.reb"])) == 3


@pytest.mark.parametrize(
    ("axes", "outputs", "sentence"),
    [
        ({"surface.row": [4]}, ["pose_bounds.peb"], "surface.row.*no such key"),
        ({"surface.rows": [4]}, ["pose_bounds.pbe"], "did you mean pose_bounds.peb"),
        ({"surface.rows": [4]}, ["direction_bounds.crb"], "needs a sensing scenario"),
        ({"surface.rows": []}, ["pose_bounds.peb"], "is not a list of values"),
    ],
)
def test_what_is_no_study_is_refused(axes, outputs, sentence):
    with pytest.raises(hs.ScenarioError, match=sentence):
        hs.sweep(hall(), axes, outputs)
