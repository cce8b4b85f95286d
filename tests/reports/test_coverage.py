"""Tables and datasets of maps, against values known in advance."""

import numpy as np

from heliostat.maps.localization import AreaMap
from heliostat.maps.sensing import SensingMap
from heliostat.reports import coverage
from heliostat.scenario import parse
from tests.support.sensing_designs import yard


def test_quantiles_of_a_map_are_those_of_the_places_in_front():
    value = np.array([[1.0, 2.0, 3.0, 4.0, np.inf], [9.0, 9.0, 9.0, 9.0, 9.0]])
    served = np.array([[True] * 5, [False] * 5])
    area_map = AreaMap(np.arange(5.0), np.arange(2.0), value, "peb", served)
    rows = {row.label: row for row in coverage.localization_rows(area_map)}
    assert rows["minimum"].value == 1.0
    assert rows["median"].text == "3 m"
    assert rows["90 % quantile"].text == "no bound exists"
    nowhere = AreaMap(np.arange(5.0), np.arange(2.0), value, "peb", ~served & False)
    assert coverage.localization_rows(nowhere) == []


def test_a_sensing_map_keeps_its_values_and_its_scenario():
    bound, x, y = np.array([[3.0, 1.0, 2.0]]), np.arange(3.0), np.zeros(1)
    facing = np.ones((1, 3, 2), dtype=bool)
    found = SensingMap(x, y, np.full((1, 3, 2, 2), 0.5), bound, facing, False)
    rows = coverage.sensing_rows(found, "position")
    assert [row.value for row in rows] == [1.0, 2.0, 3.0]
    assert [row.value for row in coverage.sensing_rows(found, "direction")] == [0.5 * 2**0.5] * 3
    found.direction_std[0, 1:] = 2.0
    text = [row.text for row in coverage.sensing_rows(found, "direction")]
    assert text[0] == "40.5 deg = 0.707 rad"
    assert text[1:] == ["no bound below 1 rad"] * 2
    data = coverage.sensing_dataset(found, yard(), "title", {"a": "b"})
    np.testing.assert_array_equal(data.position_bound, bound)
    assert data.direction_std.attrs["units"] == "rad"
    assert data.attrs["title"] == "title"
    assert parse(data.attrs["scenario_text"]).dump() == yard().dump()
