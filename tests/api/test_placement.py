"""Placement of surfaces, against enumeration with maps of ordinary scenarios and known cases."""

import itertools

import numpy as np
import pytest
import yaml

import heliostat as hs
from heliostat.api.placement_arguments import goals_of
from heliostat.api.placement_results import PlacementError
from heliostat.api.placement_site import prepared, table_of
from heliostat.maps.placement_search import (
    Found,
    _limits,
    certified,
    greedy,
    reach,
    submodular_bound,
)
from heliostat.maps.placement_sets import met, values_of
from heliostat.scenario.localization.candidates import grid, site_walls, usable
from tests.support.corner import AREA, corner

SMALL = {"area": AREA, "points": 30, "spacing": 4, "turns": [0.0]}
LIMITS = {"peb": 0.05, "rate": 8e7}
BOTH = "peb below 50 mm and rate above 80 Mbit/s"


def panel(position, azimuth):
    return {
        "position": [float(x) for x in position],
        "azimuth": f"{float(azimuth)!r} rad",
        "rows": 8,
        "columns": 8,
    }


def met_by(scenario, positions, quantities):
    """Where a scenario meets the limits, by maps."""
    met = np.ones(len(positions), dtype=bool)
    for quantity in quantities:
        values = hs.coverage(scenario, quantity, positions=positions)[quantity].values
        met &= values < LIMITS["peb"] if quantity == "peb" else values > LIMITS["rate"]
    return met


def share_of(scenario, found):
    return met_by(scenario, found.positions, list(found.values)).mean()


@pytest.fixture(scope="module")
def two():
    return hs.place(corner(), "peb below 5 cm", 2, **SMALL)


@pytest.mark.parametrize("goal", ["peb below 50 mm", BOTH])
def test_the_best_set_is_that_of_an_enumeration(goal):
    # Truth: a scenario for each pair of candidates, in both orders, as the random phases of the
    # gains belong to the places in the list of surfaces.
    found = hs.place(corner(), goal, 2, candidates=["north", "east/west"], **SMALL)
    panels = list(map(panel, found.candidates.position, found.candidates.azimuth))
    pairs = itertools.permutations if "rate" in goal else itertools.combinations
    shares = [
        share_of(corner(surface=None, surfaces=list(pair)), found) for pair in pairs(panels, 2)
    ]
    assert found.share_on_grid == max(shares)
    assert found.bound == max(shares)
    assert found.share >= found.share_on_grid
    assert len(shares) == found.sets * (2 if "rate" in goal else 1)
    if goal != BOTH:
        single = [share_of(corner(surface=each), found) for each in panels]
        np.testing.assert_allclose(found.candidates.share, single, atol=1e-15)
        assert found.share_by_number[0, 1] == max(single)


def small_table(goal, number):
    scenario, positions = corner(), hs.coverage(corner(), "cause", area=AREA, points=30)
    x, y = (each.ravel() for each in np.meshgrid(positions.x, positions.y))
    poses = np.column_stack([x, y, np.full(x.size, 1.5), np.full(x.size, 0.3)])
    one = np.zeros(len(poses), dtype=int)
    walls = site_walls(scenario, ["north", "east/west"], {})
    listed, _ = usable(scenario, grid(scenario.panel, walls, 4, [4], [0]), user_ahead=False)
    site = prepared(scenario, listed, goals_of(goal), poses, one, number, None, keep=False)
    return table_of(site, listed)


@pytest.mark.parametrize("goal", ["peb below 50 mm", "rate above 80 Mbit/s", BOTH])
@pytest.mark.parametrize("number", [2, 3])
def test_bounds_hold_for_all_sets(goal, number):
    # Truth: each set, evaluated on its own.
    table = small_table(goal, number)
    goals, positions = table.setting.goals, len(table.setting.poses)
    counts = {
        chosen: int(met(goals, values_of(table.setting, table.sums(chosen))).sum())
        for chosen in itertools.permutations(range(table.mounts), number)
    }
    most = max(counts.values())
    served = reach(table, number)
    assert submodular_bound(served, number) >= most
    prefixes = np.array(list(itertools.permutations(range(table.mounts), number - 1)))
    limits = dict(zip(map(tuple, prefixes.tolist()), _limits(table, served, prefixes), strict=True))
    assert all(count <= limits[chosen[:-1]] for chosen, count in counts.items())
    # The search starts at a set that is not the best one, so that it has to find another.
    poor = Found(tuple(range(number)), (0.0, -np.inf, 0.0))
    exact = certified(table, poor, lambda *_: None)
    assert exact.best.merit[0] == exact.bound == most / positions
    best = greedy(table, number, lambda *_: None)[-1]
    for limit in ({"most_values": 0}, {"most_prefixes": 0}):
        assert most / positions <= certified(table, best, lambda *_: None, **limit).bound <= 1


def test_the_site_reproduces_the_share(two):
    again = hs.load(yaml.safe_load(two.scenario.dump()))
    values = hs.coverage(again, "peb", positions=two.positions).peb.values
    np.testing.assert_allclose(two.values["peb"], values, rtol=1e-8)
    assert two.share == np.mean(values < 0.05)
    assert two.quantile == np.quantile(two.values["peb"], 0.9, method="inverted_cdf")
    np.testing.assert_array_equal(two.met, values < 0.05)
    assert again.panel_names == tuple(each.name for each in two.surfaces)
    outside = hs.coverage(corner(), "cause", area=AREA, points=30).served
    assert len(two.positions) == int(outside.sum())


def test_surfaces_remain_on_their_walls_after_the_refinement(two):
    assert two.share > two.share_on_grid
    for each in two.surfaces:
        x, y, z = each.position
        edge = {"east/west": abs(x - 6), "north/south": abs(y - 6)}[each.wall]
        assert edge < 1e-6
        assert z == 4
        assert -15 < y < 12


def test_small_steps_along_the_walls_do_not_help_after_the_refinement(two):
    along = {"east/west": np.array([0, 0.25, 0]), "north/south": np.array([0.25, 0, 0])}
    for i, each in enumerate(two.surfaces):
        for step in (along[each.wall], -along[each.wall]):
            moved = {f"surfaces.{i}.position": (each.position + step).tolist()}
            assert share_of(two.scenario.updated(moved), two) <= two.share


def test_the_wall_that_sees_the_user_is_chosen():
    # By hand: both facades are in sight of the base station, but the one at the corner faces north,
    # away from the user; the line from the facade in the east to the user is clear.
    found = hs.place(
        corner(),
        "rate above 1 Mbit/s",
        candidates=["corner/north", "east/west"],
        positions=[[1, -10]],
        spacing=6,
        names=["kiosk"],
    )
    assert found.surfaces[0].wall == "east/west"
    assert (found.share, found.bound, found.names) == (1, 1, ("kiosk",))
    seen = np.array(found.candidates.share) > 0
    walls = np.array(found.candidates.wall)
    assert set(walls[seen]) == {"east/west"}
    assert "corner/north" in walls


def rotated(point):
    x, y, *z = point
    return [-y, x, *z]


def test_a_rotated_site_gives_the_rotated_choice(two):
    turned = corner(
        base_station__position=rotated([-12, 2, 5]),
        base_station__axis=[-1, 0, 0],
        surface__position=rotated([6, 2, 4]),
        surface__azimuth="-90 deg",
        user__position=rotated([3, -7, 1.5]),
        user__heading="-70 deg",
        obstacles=[
            {
                "name": each.name,
                "footprint": [rotated(corner) for corner in each.footprint],
                "height": "9 m",
            }
            for each in corner().obstacles
        ],
    )
    arguments = {k: v for k, v in SMALL.items() if k not in ("area", "points")}
    positions = [rotated(place) for place in two.positions.tolist()]
    found = hs.place(turned, "peb below 5 cm", 2, positions=positions, **arguments)
    assert found.share == two.share
    assert found.quantile == pytest.approx(two.quantile, rel=1e-7)
    for mine, other in zip(found.surfaces, two.surfaces, strict=True):
        np.testing.assert_allclose(mine.position, rotated(other.position), atol=1e-5)
        turn = {"east/west": "east/south", "north/south": "north/east"}
        assert mine.wall == turn[other.wall]


def test_kept_surfaces_serve_with_the_placed_ones(two):
    first = two.surfaces[0]
    kept = corner(surface__position=first.position.tolist())
    found = hs.place(kept, BOTH, 2, keep=True, candidates=["north", "east/west"], **SMALL)
    assert len(found.scenario.panels) == 3
    assert found.share_by_number[0, 0] == share_of(kept, found)
    for quantity, values in found.values.items():  # with the phases of all gains
        expected = hs.coverage(found.scenario, quantity, positions=found.positions)
        np.testing.assert_allclose(values, expected[quantity].values, rtol=1e-8)
    assert found.scenario.panels[0].position == kept.panel.position


def test_each_size_is_searched(two):
    found = hs.place(corner(), "peb below 5 cm", 2, sizes=[(4, 4), (8, 8)], **SMALL)
    np.testing.assert_array_equal(found.share_by_number[1], two.share_by_number[0])
    assert found.share_by_number[0, 2] == found.share_by_number[0].max()
    assert found.share_by_number[0, 2] < found.share_by_number[1, 2]
    assert (found.surfaces[0].rows, found.surfaces[0].columns) == (8, 8)
    assert (found.share, found.sets) == (two.share, 2 * two.sets)


def test_users_of_the_scenario_are_served():
    users = [
        {"position": [3, -5, 1.5], "heading": "20 deg", "antennas": 4, "name": "kiosk"},
        {"position": [2, -3, 1], "heading": "70 deg", "antennas": 2, "antenna_gain": "3 dBi"},
        {"position": [4, -2, 1], "heading": "70 deg", "antennas": 4},
    ]
    scenario = corner(user=None, users=users)
    found = hs.place(scenario, BOTH, candidates=["east"], at_users=True, spacing=4)
    assert found.names == ("kiosk", "user 2", "user 3")
    for quantity, values in found.values.items():
        expected = hs.coverage(found.scenario, quantity, at_users=True)[quantity].values
        np.testing.assert_allclose(values, expected, rtol=1e-8)
    with pytest.raises(PlacementError, match="leave those out"):
        hs.place(scenario, BOTH, at_users=True, points=3)


def test_listed_walls_carry_surfaces():
    found = hs.place(
        corner(obstacles=[]),
        "rate above 1 Mbit/s",
        walls={"facade-east": [[6, -4], [6, 8]]},
        positions=[[3, -5]],
    )
    assert found.surfaces[0].wall == "facade-east"
    assert found.surfaces[0].name == "facade-east-1"
    assert abs(found.surfaces[0].azimuth - found.surfaces[0].turn) == pytest.approx(np.pi)


def test_spherical_waves_and_phases_of_few_bits_are_those_of_the_map():
    scenario = corner(
        surface__bits=1, model__wavefront="auto", surface__rows=32, surface__columns=2
    )
    places = {"positions": [[4, -3], [2, -6], [5, 0.5]], "turns": [0.3]}
    found = hs.place(scenario, "peb below 1 m", 2, candidates=["east"], **places)
    assert found.scenario.model.wavefront == "spherical"
    values = hs.coverage(found.scenario, "peb", positions=found.positions).peb.values
    np.testing.assert_allclose(found.values["peb"], values, rtol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"goal": "peb under 3 cm"}, "goal: 'peb under 3 cm' has no 'below'"),
        ({"goal": "speed above 3 m"}, "goal: 'speed above 3 m' is not a goal; write 'peb below"),
        ({"goal": "peb below 3 Hz"}, "goal: '3 Hz' is a frequency, not a length"),
        ({"surfaces": 0}, "surfaces is 0"),
        ({"candidates": ["eas"]}, "eas is neither an obstacle nor a wall; did you mean east"),
        ({"candidates": "east"}, "give a list of names"),
        ({"walls": {"a": [0, 1]}}, r"wall a has the shape \(2,\)"),
        ({"walls": {"a": [[0, 1], [0, 1]]}}, "wall a has no length"),
        ({"spacing": 0}, "spacing is 0 m"),
        ({"spacing": 1e-6}, "candidates are too many"),
        ({"heights": [float("nan")]}, "heights is"),
        ({"heights": [30]}, "candidates are usable .* above or below the wall"),
        ({"turns": [2]}, "turns must be between"),
        ({"sizes": [(8, 0)]}, "sizes is"),
        ({"positions": [[-5, -5]]}, "no position is outside the obstacles"),
        ({"positions": [[3, -5]], "headings": [1, 2]}, "headings needs 1"),
        ({"area": [1, 2, 3]}, r"area has the shape \(3,\)"),
        ({"candidates": ["east/west"], "surfaces": 9, "spacing": 8}, "fewer than the surfaces"),
    ],
)
def test_impossible_requests_are_refused(arguments, sentence):
    with pytest.raises(PlacementError, match=sentence):
        hs.place(corner(), **({"goal": "peb below 5 cm"} | arguments))


@pytest.mark.parametrize(
    ("overrides", "arguments", "field"),
    [
        ({"surface__phases": "random"}, {}, r"surface\.phases"),
        ({"surface__focus": [3, -3, 1]}, {"keep": True}, r"surface\.focus"),
        ({"link__codes": "none"}, {}, r"link\.codes"),
    ],
)
def test_scenarios_that_are_not_steered_are_refused(overrides, arguments, field):
    with pytest.raises(hs.ScenarioError, match=field):
        hs.place(corner(**overrides), "peb below 5 cm", **arguments)
