"""Tables and files of maps, against values known in advance and read back by other libraries."""

import csv
import json

import numpy as np
import pytest

import heliostat as hs
from heliostat.reports import coverage
from tests.support.fake_maps import fake_map

VALUE = np.array([[1.0, 2.0, 3.0, 4.0, np.inf]] * 4)
SERVED = np.array([[True] * 5, *[[False] * 5] * 3])


def test_quantiles_are_those_of_the_served_positions():
    data = fake_map("peb", VALUE, SERVED)
    rows = {row.label: row for row in coverage.rows(data, below=0.5 + 2)}
    assert rows["minimum"].value == 1.0
    assert rows["median over the served area"].text == "3 m"
    assert rows["90 % quantile over the served area"].text == "no bound exists"
    assert rows["share of the served area below 2.5 m"].value == 2 / 5
    assert coverage.rows(fake_map("peb", VALUE, SERVED & False)) == []


def test_angles_above_1_rad_are_no_bound_and_ratios_are_in_decibels():
    texts = [row.text for row in coverage.rows(fake_map("direction", 0.5 * VALUE))]
    assert texts[0] == "28.6 deg = 0.5 rad"
    assert texts[1] == "no bound below 1 rad"
    assert coverage.rows(fake_map("snr", 100 * VALUE))[0].text == "20.0 dB"


def test_a_table_has_a_row_for_each_position(tmp_path):
    data = fake_map("peb", VALUE, SERVED)
    coverage.write_csv(data, tmp_path / "map.csv")
    with (tmp_path / "map.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["x_m", "y_m", "z_m", "peb_m", "served", "near_field"]
    assert len(rows) == 20
    for row in rows:
        there = data.sel(x=float(row["x_m"]), y=float(row["y_m"]))
        assert float(row["peb_m"]) == float(there.peb)
        assert (row["served"] == "True") == bool(there.served)


def test_geojson_has_a_point_for_each_position(tmp_path):
    data = hs.coverage("factory-hall", positions=[[5, 8, 1], [-3, 8, 2]], names=["dock", "out"])
    coverage.write_geojson(data, tmp_path / "map.geojson")
    document = json.loads((tmp_path / "map.geojson").read_text())
    assert document["type"] == "FeatureCollection"
    dock, out = document["features"]
    assert dock["geometry"] == {"type": "Point", "coordinates": [5.0, 8.0]}
    assert dock["properties"]["place"] == "dock"
    assert dock["properties"]["height_m"] == 1.0
    assert dock["properties"]["peb_m"] == pytest.approx(float(data.peb[0]), rel=1e-8)
    assert out["properties"]["peb_m"] is None
    assert out["properties"]["served"] is False


def test_geojson_has_longitudes_where_the_scenario_has_a_site(tmp_path):
    scenario = hs.load("factory-hall", {"site.origin": [13.4, 52.5]})
    coverage.write_geojson(hs.coverage(scenario, positions=[[5, 8]]), tmp_path / "map.geojson")
    document = json.loads((tmp_path / "map.geojson").read_text())
    expected = scenario.site.longitude_latitude(np.array([5.0]), np.array([8.0]))
    found = document["features"][0]["geometry"]["coordinates"]
    np.testing.assert_allclose(found, np.ravel(expected), atol=1e-8)
    assert "longitude and latitude" in document["coordinate_system"]
