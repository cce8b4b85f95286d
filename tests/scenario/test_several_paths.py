"""Scenarios with several surfaces, a direct path and spherical waves."""

import numpy as np
import pytest

import heliostat as hs
from heliostat.scenario import ScenarioError, parse
from tests.support.hall import hall

NORTH = {"name": "north", "position": [5, 12, 4], "azimuth": "-90 deg", "rows": 4, "columns": 4}
WEST = {"name": "west", "position": [0, 6, 4], "azimuth": "0 deg", "rows": 4, "columns": 4}


def site(surfaces=(NORTH, WEST), **overrides):
    given = {
        "surface": None,
        "surfaces": list(surfaces),
        "base_station.position": [14, 1, 6],
        "user.position": [6, 5, 1],
    }
    given |= {key.replace("__", "."): value for key, value in overrides.items()}
    return hs.load(hall(), given)


def test_a_list_of_one_surface_is_that_surface():
    # Truth: the same scenario with the key `surface`.
    listed, single = site([WEST]), hs.load(site([WEST]), {"surfaces": None, "surface": WEST})
    assert hs.pose_bounds(listed).peb == hs.pose_bounds(single).peb
    assert hs.effective_rate(listed).eadr == hs.effective_rate(single).eadr
    assert listed.panel_names == ("west",)


def test_codes_of_all_paths_are_orthogonal():
    scene = site(link__direct="clear").build()
    codes = np.stack([np.ones(4), *(np.asarray(surface.code) for surface in scene.surfaces)])
    np.testing.assert_array_equal(np.abs(codes), 1)
    np.testing.assert_array_equal(codes @ codes.T, 4 * np.eye(3))
    plain = site(link__direct="clear", link__codes="none").build()
    assert plain.surface.code.shape == (1,)


def test_each_path_has_a_gain_of_its_own_and_the_first_keeps_the_one_it_had():
    one, three = site([NORTH]).build(), site(link__direct="clear").build()
    assert three.surfaces[0].gain == one.surface.gain
    gains = np.asarray(three.gains())
    np.testing.assert_allclose(np.abs(gains), 1, rtol=1e-12)
    assert len(np.unique(gains.round(6))) == 3


def test_each_added_path_lowers_the_bound():
    one = hs.pose_bounds(site([NORTH], model__clock="unknown"))
    two = hs.pose_bounds(site(model__clock="unknown"))
    three = hs.pose_bounds(site(model__clock="unknown", link__direct="clear"))
    assert three.peb < two.peb < one.peb


def test_what_would_make_a_pose_identifiable_is_told():
    # Truth: the table of what is identifiable with unknown gains, in docs/theory/localization.md.
    lost = hs.pose_bounds(site([NORTH | {"sweep": [[0, 0]]}]))
    assert lost.peb == np.inf
    assert lost.remedies == (
        "more configurations of the surface (remove surfaces.0.sweep)",
        "a clear direct path",
    )
    assert "or with a clear direct path." in lost.reason
    assert hs.pose_bounds(site()).remedies == ()


def test_a_user_behind_one_of_the_surfaces_has_the_paths_of_the_others():
    behind = NORTH | {"position": [5, 3, 4]}
    seen = hs.pose_bounds(site([WEST, behind], link__codes="none"))
    alone = hs.pose_bounds(site([WEST]))
    np.testing.assert_allclose(seen.peb, alone.peb, rtol=1e-6)
    rate = hs.effective_rate(site([WEST, behind]))
    assert list(rate.path_snr) == ["west", "north"]
    assert rate.path_snr["north"] == 0


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"surface": WEST}, "surface and surfaces are both given"),
        ({"surfaces": None}, "missing; add e.g. surface"),
        ({"surfaces": [WEST, WEST]}, "has two surfaces named west"),
        ({"surfaces": [WEST | {"name": "a b"}]}, "is not a name"),
        ({"surfaces": [WEST, NORTH | {"sweep": [[0, 0]]}]}, "has 1 configurations, but surfaces.0"),
        ({"base_station.position": [-3, 1, 6]}, "is behind west"),
        ({"surfaces": [WEST], "user.position": [-3, 1, 1]}, "is behind west"),
        ({"link.direct": "open"}, "is not one of 'blocked', 'clear' or 'auto'"),
    ],
)
def test_what_does_not_fit_is_refused(overrides, sentence):
    with pytest.raises(ScenarioError, match=sentence):
        hs.load(site(), overrides)


def test_functions_for_one_surface_refuse_several():
    with pytest.raises(ScenarioError, match="assumed_errors is for one path"):
        hs.run_protocol(site(), assumed_errors=True)
    with pytest.raises(ValueError, match="printed equations"):
        hs.load(site(), {"model.as_printed": True})


def test_near_field_is_noted_for_plane_waves_only():
    large = WEST | {"rows": 64, "columns": 64}
    plane = site([large])
    assert any("Fraunhofer distance" in note for note in plane.notes)
    spherical = site([large], model__wavefront="auto")
    assert spherical.spherical == (True,)
    assert not any("of west" in note and "Fraunhofer" in note for note in spherical.notes)
    assert site(model__wavefront="auto").spherical == (False, False)


def test_spherical_waves_give_the_bound_of_plane_waves_far_away():
    # A focused panel: equal for a user beyond the Fraunhofer distance, some 0.6 m here.
    plane = hs.pose_bounds(site([WEST]))
    spherical = hs.pose_bounds(site([WEST], model__wavefront="spherical"))
    np.testing.assert_allclose(spherical.peb, plane.peb, rtol=0.02)
    np.testing.assert_allclose(spherical.reb, plane.reb, rtol=0.02)


def test_dumping_and_reading_gives_the_same_scenario():
    scenario = site(link__direct="clear", model__wavefront="auto")
    assert parse(scenario.dump()).dump() == scenario.dump()
    assert parse(scenario.dump()).panel_names == ("north", "west")


WALL = {"name": "wall", "footprint": [[9, 2], [10, 2], [10, 4], [9, 4]], "height": "5 m"}


def test_obstacles_block_the_paths_that_cross_them():
    # The wall is between the base station at (14, 1, 6) and the user at (6, 5, 1), and below the
    # path to west.
    free, walled = site(link__direct="clear"), site(obstacles=[WALL])
    assert free.direct == "clear"
    assert walled.direct == "auto"
    assert site().direct == "blocked"
    np.testing.assert_array_equal(np.abs(walled.build().gains()) > 0, [False, True, True])
    assert "Blocked: wall blocks the direct path." in walled.notes
    low = site(obstacles=[WALL | {"height": "1 m"}])
    np.testing.assert_array_equal(np.abs(low.build().gains()) > 0, [True, True, True])
    assert hs.pose_bounds(low).peb == hs.pose_bounds(free).peb


def test_a_blocked_single_path_leaves_no_bound_and_no_rate():
    between = {"name": "rack", "footprint": [[2, 4], [3, 4], [3, 7], [2, 7]], "height": "10 m"}
    blocked = site([WEST], obstacles=[between], link__direct="blocked")
    assert hs.pose_bounds(blocked).peb == np.inf
    assert hs.effective_rate(blocked).eadr == 0
    assert blocked.notes[0] == "Blocked: rack blocks the path through west."


@pytest.mark.parametrize(
    ("obstacle", "field", "sentence"),
    [
        ({"footprint": [[5, 4], [7, 4], [7, 6], [5, 6]]}, "user.position", "is inside box"),
        ({"footprint": [[0, 0], [1, 1], [1, 0], [0, 1]]}, "footprint", "self-intersection"),
        ({"footprint": [[0, 0], [1, 1], [2, 2]]}, "footprint", "is not a valid polygon"),
    ],
)
def test_impossible_obstacles_are_refused(obstacle, field, sentence):
    box = {"name": "box", "height": "5 m"} | obstacle
    with pytest.raises(ScenarioError, match=sentence) as refused:
        site(obstacles=[box])
    assert field in str(refused.value)


def test_a_map_of_causes_counts_what_is_visible():
    # Truth: `geometry.obstacles` for each hop of each path at each place, one by one.
    scenario = site(obstacles=[WALL])
    places = np.array([[6.0, 5.0], [12, 6], [8, 2.5], [9.5, 3], [3, 10], [-1, 5]])
    found = hs.coverage(scenario, "cause", positions=places)
    (obstacle,), start = [o.prism for o in scenario.obstacles], (14, 1, 6)
    names = found.cause.attrs["flag_meanings"].split("; ")
    for place, value, served in zip(places, found.cause.values, found.served.values, strict=True):
        end = (*place, 1.0)
        reaching = [] if crosses(start, end, obstacle) else ["direct path"]
        for panel in scenario.panels:
            ahead = np.dot(np.subtract(end, panel.position), panel.facing) > 0
            hops = [(start, panel.position), (panel.position, end)]
            if ahead and not any(crosses(*hop, obstacle) for hop in hops):
                reaching.append(panel.name)
        within = 9 < place[0] < 10 and 2 < place[1] < 4
        assert served == (not within)
        assert names[value] == ("no path" if within else ", ".join(reaching) or "no path")
    assert len(set(names)) == len(names) >= 4


def test_sets_of_many_paths_are_listed_only_where_they_occur():
    many = [NORTH | {"name": f"panel-{i}", "rows": 1, "columns": 1} for i in range(64)]
    found = hs.coverage(site(many), "cause", positions=[[6, 5], [6, 20]])
    names = found.cause.attrs["flag_meanings"].split("; ")
    assert [names[i] for i in found.cause.values] == [", ".join(p["name"] for p in many), "no path"]


def crosses(start, end, obstacle):
    """Whether a segment passes through a box along the axes, by a dense walk."""
    walk = np.linspace(start, end, 20001)[1:-1]
    low, high = obstacle.footprint.min(axis=0), obstacle.footprint.max(axis=0)
    inside = (walk[:, :2] > low + 1e-5).all(axis=1) & (walk[:, :2] < high - 1e-5).all(axis=1)
    return bool((inside & (walk[:, 2] < obstacle.top)).any())


def test_a_map_of_several_paths_has_the_bound_of_each_place():
    scenario = site(obstacles=[WALL], model__wavefront="auto")
    places = [[6.0, 5.0], [8, 2.5], [4, 9]]
    found = hs.coverage(scenario, "peb", positions=places)
    rates = hs.coverage(scenario, "rate", positions=places)
    for place, peb, rate in zip(places, found.peb.values, rates.rate.values, strict=True):
        there = scenario.updated({"user.position": [*place, 1]})
        np.testing.assert_allclose(hs.pose_bounds(there).peb, peb, rtol=1e-9)
        np.testing.assert_allclose(hs.effective_rate(there).eadr, rate, rtol=1e-9)


@pytest.mark.parametrize("bits", [(2, 1), (None, 1)])
def test_a_map_of_surfaces_with_different_bits_has_the_bound_of_each_place(bits):
    # Truth: the scenario with its user there.
    surfaces = [each | {"bits": n} for each, n in zip((NORTH, WEST), bits, strict=True)]
    scenario, place = site(surfaces), [8, 4, 1]
    found = hs.coverage(scenario, "peb", positions=[place])
    there = hs.pose_bounds(scenario.updated({"user.position": place}))
    np.testing.assert_allclose(found.peb, there.peb, rtol=1e-9)
    assert abs(hs.pose_bounds(site(**{"user.position": place})).peb / there.peb - 1) > 1e-3
    first = "2 bits" if bits[0] else "continuous"
    assert f"phases: north {first}, west 1 bit" in found.attrs["title"]
    fixed = hs.coverage(scenario, "peb", positions=[[6, 5, 1]], steering="fixed")
    np.testing.assert_allclose(fixed.peb, hs.pose_bounds(scenario).peb, rtol=1e-9)
