"""Walls of footprints, against directions and positions worked out by hand."""

import numpy as np
import pytest

from heliostat.geometry.walls import evenly_spaced, facing_wall, walls_of

BLOCK = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 6.0], [0.0, 6.0]])
FACING = {"south": (0, -1), "east": (1, 0), "north": (0, 1), "west": (-1, 0)}


@pytest.mark.parametrize("footprint", [BLOCK, BLOCK[::-1]])
def test_walls_are_named_by_the_direction_that_they_face(footprint):
    walls = {wall.name: wall for wall in walls_of("block", footprint, 1.0, 9.0)}
    assert set(walls) == {f"block/{side}" for side in FACING}
    for side, normal in FACING.items():
        np.testing.assert_allclose(walls[f"block/{side}"].normal, normal, atol=1e-15)
    south = walls["block/south"]
    assert (south.length, south.base, south.top) == (10, 1, 9)
    assert south.position(4.0, 2.0)[1:] == (0, 2)
    assert south.azimuth == pytest.approx(-np.pi / 2)


def test_the_bearing_turns_the_names():
    # The y axis points east, so that the wall at large y faces east.
    walls = walls_of("block", BLOCK, 0.0, 9.0, np.pi / 2)
    east = next(wall for wall in walls if wall.name == "block/east")
    np.testing.assert_allclose(east.normal, [0, 1], atol=1e-15)


def test_walls_of_the_same_direction_are_numbered():
    corners = [[0, 0], [6, 0], [6, 4], [3, 4], [3, 2], [0, 2]]
    names = [wall.name for wall in walls_of("block", np.array(corners, float), 0.0, 9.0)]
    sides = ["south", "east", "north", "west", "north-2", "west-2"]
    assert names == [f"block/{side}" for side in sides]


@pytest.mark.parametrize(("place", "normal"), [((3, 5, 1), (0, 1)), ((3, -5, 1), (0, -1))])
def test_a_listed_wall_faces_the_base_station(place, normal):
    wall = facing_wall("facade", [0, 0], [10, 0], place)
    np.testing.assert_allclose(wall.normal, normal)


def test_positions_are_centered_on_the_wall():
    np.testing.assert_allclose(evenly_spaced(10.0, 4.0), [3, 7])
    np.testing.assert_allclose(evenly_spaced(12.0, 4.0), [2, 6, 10])
    np.testing.assert_allclose(evenly_spaced(3.0, 4.0), [1.5])
