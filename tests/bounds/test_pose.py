"""Truths: automatic differentiation of the pilot mean, the literal loop over beam pairs, rotation
of the whole scene, known singular models, and the facts of the paper's own set-up."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from heliostat.bounds.fisher import identify
from heliostat.bounds.pose import (
    PoseInformation,
    error_bounds,
    pose_information,
    pose_information_by_definition,
)
from heliostat.observation.pilots import (
    band_nodes,
    channel_params,
    pilot_mean,
    unknowns_at,
)
from heliostat.scenario import load
from heliostat.units import SPEED_OF_LIGHT
from tests.observation.test_pilots import paper_mean
from tests.support.scenes import FOUR, localization_scene, random_scenes, real


def relative(actual, expected):
    """Largest difference of two matrices, each entry against the scale of its parameters."""
    scale = np.sqrt(np.asarray(expected.reference))
    scale = np.where(scale > 0, scale, 1.0)
    difference = np.asarray(actual.information - expected.information)
    return np.max(np.abs(difference) / scale[:, None] / scale[None, :])


@given(random_scenes())
def test_closed_form_equals_the_definition_for_steered_surfaces(scene):
    active = scene.base_station.array.elements
    closed = pose_information(scene, active)
    definition = pose_information_by_definition(scene, active)
    assert relative(closed, definition) < 1e-10
    np.testing.assert_allclose(closed.reference, definition.reference, rtol=1e-9)


@given(random_scenes(steered=False))
def test_closed_form_equals_the_definition_for_arbitrary_phases(scene):
    active = scene.base_station.array.elements
    assert (
        relative(pose_information(scene, active), pose_information_by_definition(scene, active))
        < 1e-10
    )


@pytest.mark.parametrize("sweep", [((0.0, 0.0),), FOUR])
def test_closed_form_equals_automatic_differentiation_to_ten_digits(sweep):
    # Truth: pose -> mean differentiated at once, no channel parameters, no nuisance.
    scene = localization_scene(
        columns=4, rows=3, antennas=6, user_antennas=5, focus=(21.0, 39.0, 0.5), sweep=sweep
    )
    nodes = band_nodes(scene.link.bandwidth)

    def mean(pose):
        unknowns = jnp.concatenate([pose, jnp.zeros(3)])
        return pilot_mean(scene, channel_params(scene, unknowns), 6, nodes).ravel()

    slope = np.asarray(jax.jacfwd(mean)(unknowns_at(scene)[:3]))
    expected = 2 / float(scene.link.noise_density) * np.real(slope.conj().T @ slope)
    np.testing.assert_allclose(pose_information(scene, 6).information, expected, rtol=1e-10)
    peb = np.sqrt(np.trace(np.linalg.inv(expected)[:2, :2]))
    np.testing.assert_allclose(error_bounds(pose_information(scene, 6))[0], peb, rtol=1e-9)


def test_closed_form_equals_the_literal_double_loop_over_beam_pairs():
    # Truth: the paper's dense matrices (tests/observation), differentiated numerically, summed
    # over every beam pair in a Python loop.
    scene = localization_scene(columns=3, rows=2, antennas=4, user_antennas=3, bandwidth=1e9)
    nodes = np.asarray(band_nodes(scene.link.bandwidth))
    steps = np.array([1e-5, 1e-5, 1e-6])

    def mean(change):
        x, y, turn = change
        moved = scene.with_user(
            scene.user.position + real([x, y, 0.0]), scene.user.heading + real(turn)
        )
        return paper_mean(moved, 4, nodes)

    slopes = [(mean(e) - mean(-e)) / (2 * s) for e, s in zip(np.diag(steps), steps, strict=True)]
    total = np.zeros((3, 3))
    for b in range(4):
        for m in range(3):
            pair = np.stack([slope[0, b, m] for slope in slopes], axis=1)  # [bin pose]
            total += 2 / float(scene.link.noise_density) * np.real(pair.conj().T @ pair)
    actual = pose_information(scene, 4)
    scale = np.sqrt(np.asarray(actual.reference))
    np.testing.assert_allclose(
        np.asarray(actual.information) / scale[:, None] / scale[None, :],
        total / scale[:, None] / scale[None, :],
        atol=2e-6,  # central differences of a phase of some thousand radians
    )


@given(random_scenes())
def test_turning_the_whole_scene_about_the_vertical_turns_nothing(scene):
    # Truth: physics has no preferred compass direction. Heading turns clockwise, hence the minus.
    turn = 0.7
    c, s = np.cos(turn), np.sin(turn)
    rotation = real([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    where = lambda t: (
        t.base_station.position,
        t.base_station.array.axis,
        t.surface.position,
        t.surface.array.horizontal,
        t.surface.array.vertical,
        t.surface.array.normal,
        t.user.position,
    )
    turned = eqx.tree_at(where, scene, tuple(rotation @ x for x in where(scene)))
    turned = eqx.tree_at(lambda t: t.user.heading, turned, scene.user.heading - turn)
    before, after = (error_bounds(pose_information(x, 3)) for x in (scene, turned))
    pose = pose_information(scene, 3)
    scale = np.maximum(np.sqrt(np.asarray(pose.reference)), 1e-300)
    power = np.linalg.eigvalsh(np.asarray(pose.information) / scale[:, None] / scale[None, :])
    if power[0] > 1e-10 * power[-1]:  # else rounding of the information decides about its inverse
        np.testing.assert_allclose(after, before, rtol=1e-7 + 1e-13 * power[-1] / power[0])
    full = np.eye(3)
    full[:2, :2] = np.asarray(rotation)[:2, :2]
    information, expected = pose_information(turned, 3), pose_information(scene, 3)
    rotated = PoseInformation(
        jnp.asarray(full @ np.asarray(expected.information) @ full.T), expected.reference
    )
    assert relative(information, rotated) < 1e-9


def test_bounds_fall_with_the_square_root_of_the_pilots():
    scene = localization_scene()
    one, nine = (error_bounds(pose_information(scene, n)) for n in (1, 9))
    np.testing.assert_allclose(np.divide(one, nine), 3.0, rtol=1e-12)


@given(random_scenes())
def test_bounds_equal_the_inverse_or_are_infinite_with_it(scene):
    # Truth: the generic eigenvalue route of `fisher.identify`, NumPy's inverse where regular.
    pose = pose_information(scene, 4)
    peb, reb = (float(x) for x in error_bounds(pose))
    seen = identify(pose.information, jnp.diag(pose.reference))
    variance = np.asarray(seen.variance)
    assert not np.isnan(peb)
    assert not np.isnan(reb)
    reference = np.asarray(pose.reference)
    scale = np.where(reference > 0, 1 / np.sqrt(np.where(reference > 0, reference, 1.0)), 0.0)
    scaled = np.asarray(pose.information) * scale[:, None] * scale[None, :]
    smallest = np.linalg.eigvalsh(scaled)[0]
    if smallest > 1e-9:
        covariance = np.linalg.inv(scaled) * scale[:, None] * scale[None, :]
        np.testing.assert_allclose(peb, np.sqrt(np.trace(covariance[:2, :2])), rtol=1e-5)
        np.testing.assert_allclose(reb, np.sqrt(covariance[2, 2]), rtol=1e-5)
    elif smallest < 1e-13:
        assert np.isinf(peb) == np.isinf(variance[:2].sum())
        assert np.isinf(reb) == np.isinf(variance[2])


UNKNOWN = {"gain_known": False}
NO_CLOCK = {"gain_known": False, "clock_known": False}


@pytest.mark.parametrize(
    ("sweep", "knowledge", "rank"),
    [
        (((0.0, 0.0),), {}, 3),
        (((0.0, 0.0),), UNKNOWN, 2),  # one configuration, any: the paper's stage, honestly
        (((0.4, -0.7),), UNKNOWN, 2),
        (((0.5, 0.0), (-0.5, 0.0)), UNKNOWN, 3),
        (((0.0, 0.5), (0.0, -0.5)), UNKNOWN, 2),  # they differ along z only: no azimuth
        (FOUR, UNKNOWN, 3),
        (((0.0, 0.0),), NO_CLOCK, 1),
        (((0.5, 0.0), (-0.5, 0.0)), NO_CLOCK, 2),
        (((-0.5, -0.25), (0.0, 0.0), (0.5, 0.25)), NO_CLOCK, 2),  # three in line
        (((-0.5, -0.25), (0.0, 0.3), (0.5, 0.0)), NO_CLOCK, 3),
        (FOUR, NO_CLOCK, 3),
    ],
)
def test_what_a_sweep_can_see(sweep, knowledge, rank):
    scene = localization_scene(sweep=sweep, **knowledge)
    pose = pose_information(scene, 8)
    by_definition = pose_information_by_definition(scene, 8)
    for information in (pose, by_definition):
        seen = identify(information.information, jnp.diag(information.reference))
        assert int(seen.rank) == rank
        assert np.isfinite(error_bounds(information)[0]) == (rank == 3)


def test_the_lost_direction_is_one_along_which_the_pilots_do_not_change():
    # Truth: step the pose along it and fit the best complex gain; nothing is left over.
    scene = localization_scene(**UNKNOWN, antennas=4, user_antennas=6)
    pose = pose_information(scene, 4)
    seen = identify(pose.information, jnp.diag(pose.reference))
    lost = np.asarray(seen.directions)[np.asarray(seen.lost)][0]
    nodes = band_nodes(scene.link.bandwidth)

    def mean(step):
        unknowns = unknowns_at(scene).at[:3].add(step)
        return np.asarray(pilot_mean(scene, channel_params(scene, unknowns), 4, nodes)).ravel()

    here = mean(jnp.zeros(3))

    def change(direction):
        there = mean(1e-4 * jnp.asarray(direction))
        gain = (here.conj() @ there) / (here.conj() @ here)
        return np.linalg.norm(there - gain * here) / np.linalg.norm(here)

    across = np.array([lost[1], -lost[0], 0.0]) / np.hypot(lost[0], lost[1])
    assert change(lost) < 1e-3 * change(across)


def test_heading_cannot_be_seen_at_end_fire_but_position_can():
    # Truth: the array points along the ground track to the surface, level with it.
    scene = localization_scene(surface=(-20.0, 20.0, 0.0), heading=np.arctan2(-20.0, 40.0))
    for pose in (pose_information(scene, 8), pose_information_by_definition(scene, 8)):
        peb, reb = error_bounds(pose)
        assert np.isfinite(peb)
        assert np.isinf(reb)


def test_position_bound_does_not_jump_where_heading_is_lost():
    # Truth: continuity; at a few microradians off end-fire heading is just not lost.
    end_fire = np.arctan2(-20.0, 40.0)
    bounds = [
        error_bounds(
            pose_information(localization_scene(surface=(-20, 20, 0), heading=end_fire + off), 8)
        )[0]
        for off in (1e-2, 1e-4, 1e-7, 1e-9)
    ]
    np.testing.assert_allclose(bounds[1:], bounds[1], rtol=1e-3)
    np.testing.assert_allclose(bounds[0], bounds[1], rtol=0.1)


def test_with_unknown_gain_the_bound_is_the_same_for_every_phase_reference():
    # Truth: the model written anew with all phases counted from the arrays' centers, summed over
    # elements, differentiated, its gain and the mean projected out.
    scene = localization_scene(sweep=FOUR, columns=5, rows=4, user_antennas=6, **UNKNOWN)
    array, nodes = scene.surface.array, band_nodes(scene.link.bandwidth)
    target = scene.surface.alignment.focus[None, :] + scene.surface.alignment.offset
    centered = lambda n: jnp.arange(n) - (n - 1) / 2

    def mean(pose):
        unknowns = jnp.concatenate([pose, jnp.zeros(3)])
        delay, arrival, horizontal, vertical, *_ = channel_params(scene, unknowns)
        step = jnp.pi * (target - jnp.stack([horizontal, vertical])[None, :])
        row = jnp.exp(1j * step[:, :1] * centered(array.columns)[None, :]).sum(axis=1)
        column = jnp.exp(1j * step[:, 1:] * centered(array.rows)[None, :]).sum(axis=1)
        receive = jnp.exp(1j * jnp.pi * arrival * centered(6))
        band = jnp.exp(-2j * jnp.pi * nodes * delay / SPEED_OF_LIGHT)
        return jnp.einsum("k,m,f->kmf", row * column, receive, band).ravel()

    pose = unknowns_at(scene)[:3]
    here, slope = np.asarray(mean(pose)), np.asarray(jax.jacfwd(mean)(pose))
    slope = slope - np.outer(here, here.conj() @ slope) / (here.conj() @ here)
    shape = np.real(slope.conj().T @ slope)
    actual = np.asarray(pose_information(scene, 8).information)
    np.testing.assert_allclose(actual / actual[0, 0], shape / shape[0, 0], rtol=1e-8)


def test_four_configurations_cost_less_than_a_factor_of_two():
    known = error_bounds(pose_information(localization_scene(), 8))[0]
    unknown = error_bounds(pose_information(localization_scene(sweep=FOUR, **UNKNOWN), 8))[0]
    assert known < unknown < 2 * known


def test_a_null_on_the_user_gives_inf_not_nan():
    # Truth: a 2x1 panel steered half a period off cancels exactly.
    scene = localization_scene(columns=2, rows=1, sweep=((2.0, 0.0),), **UNKNOWN)
    peb, reb = error_bounds(pose_information(scene, 8))
    assert np.isinf(peb)
    assert not np.isnan(reb)


def test_scale_of_the_bound_by_hand():
    # Truth: one element, one antenna everywhere, gain known: only the delay and the path loss
    # tell, and both tell the distance. J = 2 E |h|^2/N0 (pi^2B^2/(3c^2) + 1/(d1+d2)^2) along it.
    scene = localization_scene(columns=1, rows=1, antennas=1, user_antennas=1)
    d1, d2 = 30.0, np.linalg.norm([40.0, 20.0, -30.0])
    amplitude = 299792458.0 / 60e9 / (4 * np.pi * (d1 + d2))
    energy = 10**-0.3 * 67e-6 * amplitude**2
    expected = 2 * energy / (1e-11 / 1e8)
    expected *= (np.pi * 1e8 / SPEED_OF_LIGHT) ** 2 / 3 + 1 / (d1 + d2) ** 2
    level = np.array([40.0, 20.0]) / d2
    information = np.asarray(pose_information(scene, 1).information)
    np.testing.assert_allclose(information[:2, :2], expected * np.outer(level, level), rtol=1e-10)
    assert np.all(information[2] == 0)


@pytest.mark.parametrize(
    ("share", "peb"), [(0, 0.0871e-3), (0.25, 0.1150e-3), (0.5, 0.1711e-3), (0.75, 0.3406e-3)]
)
def test_a_known_gain_makes_the_bound_depend_on_where_phases_are_counted_from(share, peb):
    """The table of docs/theory/localization.md; its truth is the differentiated mean."""
    np.testing.assert_allclose(_peb_counted_from(share), peb, rtol=1e-3)
    if share == 0:  # the corner, as in the paper and in the closed form
        bound = error_bounds(pose_information(load("localization-table-1").build(), 8))[0]
        np.testing.assert_allclose(_peb_counted_from(share), bound, rtol=1e-6)


def test_counted_from_the_centre_a_known_gain_leaves_the_position_unidentifiable():
    information = _information_counted_from(1.0)
    scale = np.sqrt(np.diag(information))
    least = np.linalg.eigvalsh(information / scale[:, None] / scale[None, :])[0]
    assert abs(least) < 1e-12


def _information_counted_from(share):
    """Of the paper's scenario, the panel's phases counted from between its corner element (0) and
    its center (1)."""
    scene = load("localization-table-1").build()
    unknowns, nodes = unknowns_at(scene), band_nodes(scene.link.bandwidth)

    def mean(pose):
        channel = channel_params(scene, unknowns.at[:3].set(pose))
        array = scene.surface.array
        middle = array.spacing * (jnp.array([array.columns, array.rows]) - 1.0) / 2
        turn = jnp.exp(2j * jnp.pi * share * jnp.dot(middle, channel[2:4]))
        return (turn * pilot_mean(scene, channel, 8, nodes)).ravel()

    slope = np.asarray(jax.jacfwd(mean)(unknowns[:3]))
    return 2 / float(scene.link.noise_density) * np.real(slope.conj().T @ slope)


def _peb_counted_from(share):
    covariance = np.linalg.inv(_information_counted_from(share))
    return np.sqrt(covariance[0, 0] + covariance[1, 1])
