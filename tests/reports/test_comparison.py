"""Comparisons against the public functions of each scenario."""

import json

import numpy as np
import pytest
import xarray as xr

import heliostat as hs
from heliostat.plots.comparison import difference_figure, distributions_figure
from heliostat.reports.comparison import _change, comparison_report
from heliostat.reports.tables import length
from tests.support.fake_maps import fake_map
from tests.support.hall import hall
from tests.support.sensing_designs import yard


@pytest.fixture(scope="module")
def report():
    scenarios = {"one": hall(), "loud": hall(base_station__power="23.010299956639813 dBm")}
    return comparison_report(scenarios, points=9)


def test_values_are_those_of_each_scenario(report):
    values, changes = report.tables
    lines = {line.label: line.cells for line in values.lines}
    found = [cell.value for cell in lines["Position error bound (PEB)"]]
    loud = hall(base_station__power="23.010299956639813 dBm")
    assert found == [hs.pose_bounds(hall()).peb, hs.pose_bounds(loud).peb]
    # Twice the power halves the variance and adds 3 dB.
    texts = {line.label: line.cells[0].text for line in changes.lines}
    assert texts["Position error bound (PEB)"] == "-29.3 %"
    assert texts["SNR, DFT beams"] == "+3.0 dB"
    assert "Active antennas" not in texts  # the same


def test_rounding_is_no_change():
    # Truth: 0.1 + 0.2 is 0.3 but for rounding.
    base, moved = length("peb", "PEB", 0.3), length("peb", "PEB", 0.1 + 0.2)
    assert base.value != moved.value
    assert _change(base, moved).text == "same"
    assert _change(base, length("peb", "PEB", 0.3003)).text == "+0.1 %"


def test_the_served_share_of_the_area_is_compared():
    # Truth: two of the four columns of points are in front of the moved surface, all of the first.
    scenarios = {"all": hall(), "half": hall(surface__position=[5, 0, 3])}
    report = comparison_report(scenarios, area=[1, 9, -4, 8], points=24)
    lines = {line.label: line.cells for line in report.tables[0].lines}
    assert [cell.value for cell in lines["Map: served share of the area"]] == [1.0, 0.5]


def test_files_hold_all_scenarios(report, tmp_path):
    report.write(tmp_path)
    with xr.open_dataset(tmp_path / "compare.nc", engine="h5netcdf") as stored:
        assert stored.scenario.values.tolist() == ["one", "loud"]
        ratio = stored.peb.sel(scenario="loud") / stored.peb.sel(scenario="one")
        np.testing.assert_allclose(ratio.values[np.isfinite(ratio)], np.sqrt(0.5), rtol=1e-9)
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    assert document["scenarios"]["one"]["peb_m"] == hs.pose_bounds(hall()).peb
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Comparison of one, loud" in page


def test_a_difference_is_the_ratio_where_both_have_a_value():
    value, served = np.geomspace(1, 100, 20).reshape(4, 5), np.ones((4, 5), dtype=bool)
    served[0, 0], value[1, 1] = False, np.inf
    maps = {"a": fake_map("peb", value, served), "b": fake_map("peb", 2 * value)}
    image = difference_figure(maps).axes[0].collections[0]
    ratio = image.get_array()
    assert np.ma.getmaskarray(ratio).reshape(4, 5).sum() == 2
    np.testing.assert_allclose(ratio.compressed(), 2.0)


def test_distributions_share_one_unit():
    value = np.linspace(1e-3, 2e-3, 20).reshape(4, 5)
    axes = distributions_figure(
        {"a": fake_map("peb", value), "b": fake_map("peb", 1000 * value)}
    ).axes[0]
    curves = {line.get_label(): line.get_xdata() for line in axes.lines}
    np.testing.assert_allclose(curves["b"], 1000 * curves["a"])
    assert axes.lines[0].get_ydata()[-1] == 1.0


def test_scenarios_of_two_systems_are_refused():
    with pytest.raises(ValueError, match="all of the same system"):
        comparison_report({"a": hall(), "b": yard()})
