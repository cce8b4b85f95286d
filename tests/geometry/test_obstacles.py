"""Blocked paths against cases worked out by hand and a dense walk along each path."""

import numpy as np
import pytest
from matplotlib.path import Path

from heliostat.geometry.obstacles import Obstacle, blocked, inside

SQUARE = Obstacle(np.array([[0, 0], [10, 0], [10, 10], [0, 10]], dtype=float), 0.0, 8.0)
L_SHAPE = Obstacle(
    np.array([[0, 0], [10, 0], [10, 4], [4, 4], [4, 10], [0, 10]], dtype=float), 2.0, 6.0
)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ((-5, 5, 1), (15, 5, 1), True),  # through the middle
        ((-5, 5, 9), (15, 5, 9), False),  # above the roof
        ((-5, 5, 8), (15, 5, 8), False),  # along the roof
        ((-5, 5, 1), (0, 5, 1), False),  # ends on a wall
        ((0, 5, 1), (-5, 9, 3), False),  # begins on a wall
        ((0, 5, 1), (5, 12, 1), True),  # begins on a wall and passes through the inside
        ((-5, 0, 1), (15, 0, 1), False),  # along a wall
        ((-5, 5, 1), (5, -5, 1), False),  # touches the corner
        ((-5, 5, 20), (5, 5, 8), False),  # ends on the roof
        ((-6, 5, 15), (6, 5, 3), True),  # enters through the roof at x = 1
        ((-2, 5, 12), (6, 5, 0), True),
        ((5, 5, 20), (5, 5, 9), False),  # vertical above it
        ((5, 5, 20), (5, 5, 1), True),  # vertical into it
        ((-3, 5, 8), (3, 5, 8.5), False),  # rises from the roof's height
    ],
)
def test_paths_worked_out_by_hand(start, end, expected):
    each = np.array([start, end], dtype=float)
    assert blocked(each[:1], each[1:], [SQUARE])[0] == expected
    assert blocked(each[1:], each[:1], [SQUARE])[0] == expected  # and in the other direction


def test_random_paths_equal_a_walk_along_each():
    # Truth: Matplotlib's point-in-polygon test at 4000 points of each path.
    rng = np.random.default_rng(0)
    starts, ends = rng.uniform([-5, -5, 0], [15, 15, 9], (2, 500, 3))
    share = np.linspace(0, 1, 4000)
    for obstacle in (SQUARE, L_SHAPE):
        walk = starts[:, None] + share[:, None] * (ends - starts)[:, None]
        polygon = Path(obstacle.footprint)
        within = polygon.contains_points(walk[:, :, :2].reshape(-1, 2)).reshape(walk.shape[:2])
        within &= (walk[:, :, 2] > obstacle.base) & (walk[:, :, 2] < obstacle.top)
        found = blocked(starts, ends, [obstacle])
        # A path that clips a corner between two points of the walk may differ.
        clipped = found & ~within.any(axis=1)
        assert clipped.sum() <= 2
        np.testing.assert_array_equal(found[~clipped], within.any(axis=1)[~clipped])
        assert 50 < found.sum() < 450


def test_several_obstacles_block_what_one_of_them_blocks():
    rng = np.random.default_rng(1)
    starts, ends = rng.uniform([-5, -5, 0], [15, 15, 9], (2, 200, 3))
    moved = SQUARE._replace(footprint=SQUARE.footprint + np.array([3.0, -6.0]))
    either = blocked(starts, ends, [L_SHAPE]) | blocked(starts, ends, [moved])
    np.testing.assert_array_equal(blocked(starts, ends, [L_SHAPE, moved]), either)


def test_positions_on_the_surface_of_an_obstacle_are_outside():
    places = np.array([[5, 5, 4], [0, 5, 4], [5, 5, 8], [5, 5, 9], [7, 7, 4]], dtype=float)
    np.testing.assert_array_equal(inside(places, SQUARE), [True, False, False, False, True])
    np.testing.assert_array_equal(inside(places, L_SHAPE), [False] * 5)
