"""Truths: the bounds called directly, what does not depend on how one looks, refused requests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import heliostat as hs
from heliostat.api import sensing as sensing_api
from heliostat.api.sensing import designed
from heliostat.bounds.direction import (
    direction_bound,
    position_bound,
    scene_information,
)
from heliostat.scenario import ScenarioError
from tests.support.direction_definition import direction_information_by_definition
from tests.support.sensing_designs import yard
from tests.support.sensing_scenes import random_covariance, random_reflections

PAPER = hs.load("sensing-two-surfaces")
SMALL = PAPER.updated({"base_station.antennas": 6})
UNEQUAL = SMALL.updated({"surfaces.1.rows": 3, "surfaces.1.spacing": [0.4, 0.6]})


def setting(scenario, patterns=1, rank=2):
    """Covariances [surface, pattern, tx, tx], and coefficients of each surface and pattern."""
    scene, rng = scenario.build(), np.random.default_rng(3)
    antennas = scenario.base_station.antennas
    covariance = jnp.array(
        [
            [random_covariance(rng, antennas, rank) for _ in range(patterns)]
            for _ in scenario.surfaces
        ]
    )
    return scene, covariance, random_reflections(scene, patterns=patterns)


@pytest.mark.parametrize("patterns", [1, 2])
@pytest.mark.parametrize("scenario", [SMALL, UNEQUAL], ids=["equal", "unequal"])
def test_bounds_are_those_of_the_definition(scenario, patterns):
    scene, covariance, reflection = setting(scenario, patterns)
    bounds = hs.direction_bounds(scenario, covariance, reflection)
    angles = scene.angles()
    for i in range(2):
        expected = direction_bound(
            direction_information_by_definition(
                scene.link(i), reflection[i], covariance[i], angles[i], scene.target_gain[i]
            )
        )
        np.testing.assert_allclose(bounds.crb[i], expected.crb, rtol=1e-6)
        np.testing.assert_allclose(bounds.direction_std[i], expected.direction_std, rtol=1e-6)
        np.testing.assert_allclose(bounds.snr[i], expected.snr, rtol=1e-9)
    information = scene_information(scene, tuple(covariance), reflection)
    np.testing.assert_allclose(bounds.position_bound, position_bound(scene, information)[0])
    assert bounds.crb.shape == bounds.snr.shape == (2,)
    assert bounds.direction_std.shape == (2, 2)
    assert bounds.lost == ((), ())
    assert bounds.identifiable
    assert bounds.reason == ""


def test_one_pattern_needs_no_axis_of_its_own():
    _, covariance, reflection = setting(SMALL)
    whole = hs.direction_bounds(SMALL, covariance, reflection)
    stacked = hs.direction_bounds(SMALL, covariance[:, 0], np.stack(reflection)[:, 0])
    listed = hs.direction_bounds(SMALL, list(covariance[:, 0]), [psi[0] for psi in reflection])
    for other in (stacked, listed):
        np.testing.assert_array_equal(other.crb, whole.crb)


def test_one_covariance_serves_all_patterns():
    _, covariance, reflection = setting(SMALL, 2)
    covariance = covariance.at[:, 1].set(covariance[:, 0])
    one = hs.direction_bounds(SMALL, covariance[:, 0], reflection)
    both = hs.direction_bounds(SMALL, covariance, reflection)
    np.testing.assert_allclose(one.crb, both.crb, rtol=1e-12)


def test_turning_everything_changes_nothing():
    turn = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()

    def turned(vector):
        return (turn @ vector).tolist()

    written = {"base_station.position": turned(SMALL.base_station.position)}
    written["base_station.axis"] = turned(SMALL.base_station.axis)
    written["target.position"] = turned(SMALL.target.position)
    for i, surface in enumerate(SMALL.surfaces):
        written[f"surfaces.{i}.position"] = turned(surface.position)
        written[f"surfaces.{i}.horizontal"] = turned(surface.axes[0])
        written[f"surfaces.{i}.vertical"] = turned(surface.axes[1])
    _, covariance, reflection = setting(SMALL)
    here = hs.direction_bounds(SMALL, covariance, reflection)
    there = hs.direction_bounds(SMALL.updated(written), covariance, reflection)
    np.testing.assert_allclose(there.crb, here.crb, rtol=1e-8)
    np.testing.assert_allclose(there.direction_std, here.direction_std, rtol=1e-8)
    np.testing.assert_allclose(there.position_bound, here.position_bound, rtol=1e-8)


def test_bounds_fall_with_power_and_dwell():
    _, covariance, reflection = setting(SMALL)
    here = hs.direction_bounds(SMALL, covariance, reflection)
    longer = hs.direction_bounds(SMALL.updated({"dwell.symbols": 400}), 4 * covariance, reflection)
    np.testing.assert_allclose(longer.direction_std, here.direction_std / 4, rtol=1e-9)
    np.testing.assert_allclose(longer.snr, 16 * here.snr, rtol=1e-9)


def test_one_surface_sees_a_direction_but_no_position():
    alone = SMALL.updated({"surfaces": [{"position": [-5, 10, 0], "rows": 4, "columns": 4}]})
    _, covariance, reflection = setting(alone)
    bounds = hs.direction_bounds(alone, covariance, reflection)
    assert np.isfinite(bounds.crb).all()
    assert bounds.position_bound == np.inf
    along = np.array([10.0, 5.0, 0.0]) / np.sqrt(125)  # the line of sight from the surface
    np.testing.assert_allclose(np.abs(bounds.unidentifiable @ along), [1.0], rtol=1e-6)
    assert "do not change the echoes" in bounds.reason


def test_a_surface_of_one_row_names_the_angle_it_loses():
    flat = SMALL.updated({"surfaces.1.rows": 1})
    _, covariance, reflection = setting(flat)
    bounds = hs.direction_bounds(flat, covariance, reflection)
    assert bounds.lost[0] == ()
    assert bounds.lost[1] == ("elevation",)
    assert bounds.crb[1] == bounds.direction_std[1, 0] == np.inf
    assert np.isfinite(bounds.direction_std[1, 1])
    assert "Not identifiable at surface 1: elevation." in bounds.reason
    dark = hs.direction_bounds(SMALL, 0 * setting(SMALL)[1], setting(SMALL)[2])
    assert dark.lost == (("elevation", "azimuth"),) * 2
    assert not np.isnan(dark.crb).any()


def test_channels_are_drawn_from_the_seed_or_a_key():
    _, covariance, reflection = setting(SMALL)
    here = hs.direction_bounds(SMALL, covariance, reflection).crb
    keyed = hs.direction_bounds(SMALL, covariance, reflection, key=jax.random.key(7)).crb
    seeded = hs.direction_bounds(SMALL.updated({"link.seed": 7}), covariance, reflection).crb
    assert not np.allclose(here, keyed)
    np.testing.assert_array_equal(keyed, seeded)


@pytest.mark.parametrize(
    ("covariance", "reflection", "message"),
    [
        (np.eye(6), np.ones((2, 16)), r"has the shape \(6, 6\); .* \(surface, tx, tx\)"),
        (1.0, np.ones((2, 16)), r"has the shape \(\)|has the shape \(0,\)"),
        (np.ones((2, 5, 5)), np.ones((2, 16)), r"\(5, 5\); .* needs \(6, 6\), or \(1, 6, 6\)"),
        (np.ones((2, 3, 6, 6)), np.ones((2, 2, 16)), r"\(3, 6, 6\); .* or \(2, 6, 6\)"),
        (np.ones((2, 6, 6)), np.ones((2, 9)), r"\(9,\); .* needs \(16,\) or \(patterns, 16\)"),
        (np.ones((2, 6, 6)), np.ones((2, 0, 16)), r"\(0, 16\); .* needs \(16,\)"),
        (np.ones((2, 6, 6)), np.ones(32), r"\(32,\); .* length 2"),
        (np.ones((2, 6, 6)), [np.ones(16)], r"has the shape \(1,\); .* length 2"),
        (np.ones((2, 6, 6)), np.full((2, 16), np.nan), "not finite"),
        (np.full((2, 6, 6), 1e300), np.ones((2, 16)), "numbers above 1e\\+18; give SI units"),
        (np.ones((2, 6, 6)), np.full((2, 16), 1e300), "numbers above 1e\\+18; give SI units"),
        (np.triu(np.ones((2, 6, 6))), np.ones((2, 16)), "is not Hermitian"),
        (-np.ones((2, 6, 6)), np.ones((2, 16)), "has a negative eigenvalue"),
    ],
)
def test_arrays_of_the_wrong_shape_name_both(covariance, reflection, message):
    with pytest.raises(ValueError, match=message):
        hs.direction_bounds(SMALL, covariance, reflection)


def test_the_largest_arrays_lead_to_numbers():
    covariance = np.tile(1e18 * np.eye(6), (2, 1, 1))
    for size in (1e18, 1.0):
        found = hs.direction_bounds(SMALL, covariance, np.full((2, 16), size))
        for values in (found.crb, found.snr, found.direction_std, found.position_bound):
            assert not np.isnan(values).any()


def test_each_function_wants_its_own_system():
    table = hs.load("localization-table-1")
    with pytest.raises(TypeError, match="direction_bounds needs a sensing scenario"):
        hs.direction_bounds(table, np.eye(2), np.eye(2))
    with pytest.raises(TypeError, match="pose_bounds needs a localization scenario"):
        hs.pose_bounds(PAPER)
    with pytest.raises(TypeError, match="design_transmit needs a sensing scenario"):
        hs.design_transmit(table, np.eye(2))


def test_a_transmit_design_keeps_what_the_scenario_demands():
    scenario = SMALL.updated({"dwell.min_snr": "-3 dB"})
    scene, _, reflection = setting(scenario)
    single = [psi[0] for psi in reflection]
    fast = hs.design_transmit(scenario, single)
    assert fast.status == "optimal"
    assert np.all(np.asarray(fast.snr) >= 10**-0.3 * (1 - 1e-6))
    for left in (fast.slack.transmit, fast.slack.surface, fast.slack.amplitude):
        assert np.all(np.asarray(left) >= -1e-9)
    bounds = hs.direction_bounds(scenario, fast.covariance, fast.reflection)
    np.testing.assert_allclose(bounds.crb, fast.crb, rtol=1e-9)
    slow = hs.design_transmit(scenario, single, method="sdp")
    np.testing.assert_allclose(fast.worst_crb, slow.worst_crb, rtol=1e-5)
    assert scene.n_surfaces == len(slow.covariance)


def test_impossible_transmit_designs_are_refused():
    _, _, reflection = setting(SMALL, 2)
    with pytest.raises(ValueError, match=r"reflection\[0\] has 2 patterns"):
        hs.design_transmit(SMALL, reflection)
    single = [psi[0] for psi in reflection]
    with pytest.raises(ValueError, match="exceeds the amplification"):
        hs.design_transmit(SMALL, [2 * psi for psi in single])
    with pytest.raises(ValueError, match="cannot be reached"):
        hs.design_transmit(SMALL.updated({"dwell.min_snr": "90 dB"}), single)


def test_minimum_snr_that_binds_while_surfaces_have_power_left_is_kept():
    rng = np.random.default_rng(1)
    phases = np.exp(2j * np.pi * rng.random((2, 16)))
    psi = 8 * phases * rng.uniform(0.5, 1, (2, 16))
    scenario = hs.load(
        "sensing-two-surfaces",
        {
            "surfaces.0.power": "1 W",
            "surfaces.1.power": "1 W",
            "link.seed": 1,
            "dwell.patterns": 1,
            "dwell.min_snr": "22.734 dB",
        },
    )
    design = hs.design_transmit(scenario, psi)
    assert design.status == "optimal"
    np.testing.assert_allclose(np.min(design.snr), 10**2.2734, rtol=1e-5)
    assert np.all(np.asarray(design.slack.surface) > 0.5)


def test_power_beyond_the_budget_is_a_note():
    _, covariance, psi = setting(SMALL)
    power = np.trace(np.asarray(covariance), axis1=2, axis2=3).real.mean()
    within = hs.direction_bounds(SMALL, covariance * (0.99 * 20 / power), psi)
    beyond = hs.direction_bounds(SMALL, covariance * (2 * 20 / power), psi)
    (note,) = set(beyond.notes) - set(within.notes)
    assert "a mean power of 40 W over the dwell, but base_station.power is 20 W" in note
    np.testing.assert_allclose(beyond.crb, within.crb * 0.99 / 2, rtol=1e-9)


def test_results_show_themselves_in_a_notebook():
    _, covariance, reflection = setting(SMALL)
    html = hs.direction_bounds(SMALL, covariance, reflection)._repr_html_()
    assert html.startswith("<table>")
    assert "elevation" in html
    flat = SMALL.updated({"surfaces.1.rows": 1})
    _, covariance, reflection = setting(flat)
    assert "Not identifiable" in hs.direction_bounds(flat, covariance, reflection)._repr_html_()


# designs


def isotropic(scenario, factor=1.0):
    antennas, power = scenario.base_station.antennas, scenario.base_station.power
    return np.broadcast_to(factor * power / antennas * np.eye(antennas), (2, antennas, antennas))


@pytest.mark.parametrize("function", [hs.design_beamforming, hs.design_for_region])
def test_a_design_is_asked_for_what_the_scenario_demands(monkeypatch, function):
    scenario = SMALL.updated({"dwell.patterns": 2, "dwell.min_snr": "13 dB"})
    asked = []

    def designed(scenes, **options):
        asked.append((scenes, options))
        raise InterruptedError("enough is known")

    monkeypatch.setattr(sensing_api, "design_both", designed)
    monkeypatch.setattr(sensing_api, "design_everywhere", designed)
    places = [[5.0, 15.0, 0.0], [3.0, 16.0, 1.0]]
    key = jax.random.key(7)
    if function is hs.design_beamforming:
        with pytest.raises(InterruptedError):
            function(scenario, key=key, seed=4)
        ((scene, options),) = asked
        assert options.pop("method") == "direct"
        assert callable(options.pop("on_progress"))
    else:
        with pytest.raises(InterruptedError):
            function(scenario, places, "mean", key=key, seed=4)
        (((scene, other), options),) = asked
        assert options.pop("criterion") == "mean"
        there = scenario.updated({"target.position": places[1]}).build(key)
        np.testing.assert_allclose(other.target.position, places[1])
        np.testing.assert_allclose(other.target_gain, there.target_gain, rtol=1e-12)
    assert options == {"patterns": 2, "min_snr": pytest.approx(10**1.3), "seed": 4}
    np.testing.assert_array_equal(scene.bs_to_irs[1], scenario.build(key).bs_to_irs[1])


def test_a_reflective_design_beats_random_phases_and_keeps_every_constraint():
    scenario = yard()
    covariance = isotropic(scenario)
    design = hs.design_reflection(scenario, covariance, seed=1)
    bounds = hs.direction_bounds(scenario, covariance, design.reflection)
    np.testing.assert_allclose(bounds.crb, design.crb, rtol=1e-9)
    np.testing.assert_array_equal(design.covariance, covariance)
    for left in (design.slack.transmit, design.slack.surface, design.slack.amplitude):
        assert np.all(np.asarray(left) >= -1e-9)
    others = [
        hs.direction_bounds(scenario, covariance, random_reflections(scenario.build(), seed)).crb
        for seed in range(20)
    ]
    assert np.all(design.crb < np.min(others, axis=0))


@pytest.mark.slow
def test_the_relaxation_does_not_beat_the_direct_reflective_design():
    scenario = yard()
    covariance = isotropic(scenario)
    design = hs.design_reflection(scenario, covariance, seed=1)
    relaxed = hs.design_reflection(scenario, covariance, "sdr", seed=1)
    assert np.all(relaxed.crb >= design.crb * (1 - 1e-3))  # from several starts, not one


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda: hs.design_beamforming(SMALL.updated({"dwell.patterns": 2}), "sdr"),
            "dwell.patterns of .* is 2, method 'sdr' designs 1 pattern",
        ),
        (
            lambda: hs.design_reflection(SMALL, isotropic(SMALL, 2.0)),
            r"power of 40 W .* base_station.power .* is 20 W; multiply it by at most 0\.5",
        ),
        (lambda: hs.design_reflection(SMALL, np.eye(6)), r"\(6, 6\); .* needs \(surface, tx, tx\)"),
        (
            lambda: hs.design_for_region(SMALL, [5, 15, 0]),
            r"shape \(3,\); it needs \(position, 3\)",
        ),
        (lambda: hs.design_for_region(SMALL, np.zeros((0, 3))), r"shape \(0, 3\)"),
        (lambda: hs.design_for_region(SMALL, [[5, 15, np.nan]]), "not finite"),
        (
            lambda: hs.design_for_region(SMALL, [[5, 15, 0], [-6, 15, 0]]),
            r"positions\[1\] is \(-6, 15, 0\), behind surfaces\.0",
        ),
    ],
)
def test_designs_that_cannot_be_are_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


def test_only_designs_of_the_scenario_are_certified():
    """Truth: the same channel by its seed, and what the design attains in other scenarios."""
    key = jax.random.key(5)
    design = hs.design_beamforming(SMALL, key=key)
    certified = hs.certify(SMALL, design, key=key)
    assert certified.worst_crb == design.worst_crb
    of_seed = SMALL.updated({"link.seed": 5})
    np.testing.assert_allclose(
        certified.lower_bound, hs.certify(of_seed, hs.design_beamforming(of_seed)).lower_bound
    )
    with pytest.raises(ValueError, match=r"not one for .* its worst CRB would be .* rad²; give"):
        hs.certify(SMALL, design)
    for changes, message in (
        ({"base_station.power": "16 W"}, "the base station exceeds its power by 4 W"),
        ({"surfaces.0.amplification": 1}, "an element of surface 0 exceeds the amplification"),
        ({"dwell.symbols": 90}, "its worst CRB would be"),
        ({"surfaces.0.rows": 5}, r"reflection\[0\] has the shape"),
        ({"dwell.patterns": 2}, "its number of patterns is 1, not 2"),
        ({"dwell.min_snr": "60 dB"}, "below the minimum"),
    ):
        with pytest.raises(ValueError, match=f"not one for .*{message}"):
            hs.certify(SMALL.updated(changes), design, key=key)


@pytest.mark.parametrize(
    "changes",
    [
        {"base_station.antennas": 1},
        {"surfaces.0.columns": 1, "surfaces.1.columns": 1},
        {"surfaces.0.rows": 1, "surfaces.1.rows": 1},
    ],
)
@pytest.mark.parametrize("method", ["direct", "sdr"])
def test_angles_that_cannot_be_estimated_are_a_problem_of_the_scenario(changes, method):
    with pytest.raises(ScenarioError, match="surfaces: elevation and azimuth cannot both be"):
        designed(SMALL.updated(changes), method)


def test_a_target_almost_in_the_plane_of_a_surface_has_a_design():
    """Its elevation can hardly be estimated; matrices of the lower bound are singular there."""
    design = hs.design_beamforming(SMALL.updated({"target.position": [-4.9999, 15, 0]}))
    assert 0 <= float(design.lower_bound) <= design.worst_crb


def test_a_certified_design_is_the_same_with_a_larger_bound():
    # Both power limits count, so that the bound for both is larger.
    panel = {"rows": 2, "columns": 2, "power": "10 mW"}
    small = SMALL.updated({f"surfaces.{i}.{k}": v for i in (0, 1) for k, v in panel.items()})
    design = hs.design_beamforming(small)
    certified = hs.certify(small, design)
    np.testing.assert_array_equal(certified.covariance, design.covariance)
    assert float(design.lower_bound) < float(certified.lower_bound)
    assert float(certified.lower_bound) <= design.worst_crb * (1 + 1e-9)
    assert certified.excess_db < design.excess_db
    assert certified.notes == design.notes
