"""Candidates on walls, against cases worked out by hand."""

import math

import numpy as np
import pytest

from heliostat.scenario.localization.candidates import (
    HIDDEN,
    INSIDE,
    NOT_ON_WALL,
    TAKEN,
    default_spacing,
    grid,
    site_walls,
    usable,
)
from tests.support.corner import corner


def test_walls_are_chosen_by_obstacle_or_by_wall():
    names = [wall.name for wall in site_walls(corner(), ["north", "east/west"], {})]
    assert names == ["north/south", "north/east", "north/north", "north/west", "east/west"]
    assert len(site_walls(corner(), None, {})) == 12
    listed = site_walls(corner(), None, {"facade": [[0, 3], [4, 3]]})
    assert [wall.name for wall in listed] == ["facade"]
    both = site_walls(corner(), ["facade", "east/west"], {"facade": [[0, 3], [4, 3]]})
    assert [wall.name for wall in both] == ["facade", "east/west"]
    with pytest.raises(ValueError, match="has no obstacles"):
        site_walls(corner(obstacles=[]), None, {})


def test_the_default_spacing_is_a_tenth_of_the_longest_wall():
    assert default_spacing(site_walls(corner(), ["north"], {})) == pytest.approx(2.1)
    assert default_spacing(site_walls(corner(), None, {"far": [[0, 9], [90, 9]]})) == 5


def test_panels_are_turned_from_the_normal_of_their_wall():
    scenario = corner(surface__tilt="10 deg")
    (wall,) = site_walls(scenario, ["east/west"], {})
    found = grid(scenario.panel, [wall], 9.0, [3.0, 4.0], [0.0, 0.5])
    assert len(found) == 3 * 2 * 2
    assert [each.panel.position for each in found[::4]] == [
        (6, 7.5, 3),
        (6, -1.5, 3),
        (6, -10.5, 3),
    ]
    assert found[1].panel.azimuth == pytest.approx(math.pi + 0.5 - 2 * math.pi)
    level = math.cos(math.radians(10))
    np.testing.assert_allclose(found[0].panel.facing[:2], [-level, 0], atol=1e-9)


def test_candidates_out_of_reach_are_dropped_and_counted():
    scenario = corner()
    walls = {wall.name: wall for wall in site_walls(scenario, None, {})}
    # The base station is in the street between y = 0 and y = 6, at x = -12. The facade east/west
    # at y = -7.5 is behind the corner building, the wall north/north faces away.
    panel = scenario.panel
    hidden = grid(panel, [walls["east/west"]], 12.0, [4.0], [0.0])
    kept, dropped = usable(scenario, hidden, user_ahead=False)
    assert [each.panel.position[1] for each in kept] == [4.5]
    assert dropped == {HIDDEN: 1}
    behind = grid(panel, [walls["north/north"]], 9.0, [4.0], [0.0])
    assert usable(scenario, behind, user_ahead=False) == ([], {HIDDEN: 2})
    high = grid(panel, [walls["east/west"]], 30.0, [-1.0, 10.0], [0.0])
    assert usable(scenario, high, user_ahead=False)[1] == {NOT_ON_WALL: 2}
    at_kept = grid(panel, [walls["east/west"]], 12.0, [4.0], [0.0])
    kept = [scenario.panel.model_copy(update={"position": (6.0, 4.49, 4.0)})]
    assert usable(scenario, at_kept, user_ahead=False, kept=kept)[1] == {HIDDEN: 1, TAKEN: 1}
    (through,) = site_walls(scenario, None, {"inner": [[8, 0], [8, 4]]})
    inner = grid(panel, [through], 10.0, [4.0], [0.0])
    assert usable(scenario, inner, user_ahead=False)[1] == {INSIDE: 1}


def test_the_user_is_in_front_of_a_surface_that_carries_the_only_path():
    # The user at y = -7 is behind a panel that faces north.
    scenario = corner()
    walls = site_walls(scenario, ["corner/north"], {})
    listed = grid(scenario.panel, walls, 15.0, [4.0], [0.0])
    assert len(usable(scenario, listed, user_ahead=False)[0]) == 1
    assert usable(scenario, listed, user_ahead=True)[0] == []
