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
        ({"surface": WEST}, "a second list of surfaces beside surface"),
        ({"surfaces": None}, "missing; add e.g. surface"),
        ({"surfaces": [WEST, WEST]}, "has two surfaces named west"),
        ({"surfaces": [WEST | {"name": "a b"}]}, "is no name"),
        ({"surfaces": [WEST, NORTH | {"sweep": [[0, 0]]}]}, "has 1 configurations, but surfaces.0"),
        ({"base_station.position": [-3, 1, 6]}, "is behind west"),
        ({"surfaces": [WEST], "user.position": [-3, 1, 1]}, "is behind west"),
        ({"link.direct": "open"}, "is not one of 'blocked' or 'clear'"),
    ],
)
def test_what_does_not_fit_is_refused(overrides, sentence):
    with pytest.raises(ScenarioError, match=sentence):
        hs.load(site(), overrides)


def test_functions_for_one_surface_refuse_several():
    for function in (hs.simulate_pilots, hs.run_protocol):
        with pytest.raises(ValueError, match="has several paths or spherical waves"):
            function(site())
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
