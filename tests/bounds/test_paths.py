"""Pose information over several paths, against derivatives of the full mean and known cases."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.bounds.fisher import identify
from heliostat.bounds.paths import (
    joint_information,
    joint_information_by_definition,
    paths_information,
    separate_information,
    separated_pose_information,
)
from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.geometry.arrays import PlanarArray, linear_steering
from heliostat.surface.passive import Phased
from tests.support.scenes import FOUR
from tests.support.sites import HADAMARD, yard

_information = eqx.filter_jit(paths_information)
_by_definition = eqx.filter_jit(joint_information_by_definition)
_joint = eqx.filter_jit(joint_information)
_separate = eqx.filter_jit(separate_information)


@pytest.mark.parametrize(
    "case",
    [
        {"surfaces": 1, "direct": True, "sweep": FOUR[:1]},
        {"surfaces": 3, "direct": True, "codes": HADAMARD},
        {"surfaces": 2, "direct": True, "spherical": True, "sweep": FOUR[:2]},
    ],
)
def test_information_is_that_of_the_full_mean(case):
    # Truth: the Slepian-Bangs formula with derivatives of the mean over all beam pairs.
    scene = yard(antennas=5, user_antennas=4, **case)
    fast, slow = _joint(scene, 3), _by_definition(scene, 3)
    scale = jnp.sqrt(jnp.diagonal(slow))
    scale = scale[:, None] * scale[None, :]
    np.testing.assert_allclose(fast / scale, slow / scale, atol=1e-11)


@pytest.mark.parametrize("gain_known", [True, False])
@pytest.mark.parametrize("clock_known", [True, False])
def test_unknown_gains_and_clock_are_eliminated(gain_known, clock_known):
    # Truth: the inverse of the information about the pose and all that is unknown beside it.
    scene = yard(surfaces=2, direct=True, gain_known=gain_known, clock_known=clock_known)
    whole = np.asarray(_joint(scene, 8))
    unknown = [0, 1, 2] + [3] * (not clock_known) + list(range(4, 10)) * (not gain_known)
    covariance = np.linalg.inv(whole[np.ix_(unknown, unknown)])[:3, :3]
    found = np.asarray(_information(scene, 8).information)
    np.testing.assert_allclose(np.linalg.inv(found), covariance, rtol=1e-7)


@pytest.mark.parametrize("gain_known", [True, False])
@pytest.mark.parametrize("clock_known", [True, False])
def test_one_path_through_a_surface_is_the_closed_form(gain_known, clock_known):
    scene = yard(gain_known=gain_known, clock_known=clock_known)
    one, closed = _information(scene, 5), pose_information(scene, 5)
    scale = jnp.sqrt(jnp.diagonal(closed.information))
    scale = scale[:, None] * scale[None, :]
    np.testing.assert_allclose(one.information / scale, closed.information / scale, atol=1e-12)
    # Only scales: that of the position has the product of both departure cosines in addition.
    np.testing.assert_allclose(one.reference[:2], closed.reference[:2], rtol=0.1)
    np.testing.assert_allclose(one.reference[2], closed.reference[2], rtol=1e-12)


def test_a_blocked_path_is_as_if_it_did_not_exist():
    scene = yard(surfaces=2, direct=True, clock_known=False)
    blocked = scene.with_gains(scene.gains().at[jnp.array([0, 2])].set(0.0))
    np.testing.assert_allclose(
        _information(blocked, 8).information,
        _information(scene.through(0), 8).information,
        rtol=1e-9,
    )


@pytest.mark.parametrize(
    ("surfaces", "direct", "clock_known", "configurations", "identifiable"),
    [
        (1, False, True, 1, False),
        (1, False, True, 2, True),
        (1, False, False, 2, False),
        (1, False, False, 4, True),
        (1, True, True, 1, True),
        (1, True, False, 1, True),
        (2, False, True, 1, True),
        (2, False, False, 1, True),
        (2, True, False, 1, True),
    ],
)
def test_what_is_identifiable_with_unknown_gains(
    surfaces, direct, clock_known, configurations, identifiable
):
    # Truth: the rank of the derivative of the mean, by singular values of the literal tensor.
    scene = yard(
        surfaces=surfaces, direct=direct, clock_known=clock_known, sweep=FOUR[:configurations]
    )
    pose = _information(scene, 8)
    found = identify(pose.information, jnp.diag(pose.reference))
    assert (int(found.rank) == 3) == identifiable
    assert bool(jnp.isfinite(error_bounds(pose)[0])) == identifiable


def test_the_order_of_the_surfaces_and_a_rotation_of_the_scene_change_nothing():
    scene = yard(surfaces=3, direct=True, clock_known=False)
    swapped = eqx.tree_at(lambda s: s.surfaces, scene, scene.surfaces[::-1])
    before = error_bounds(_information(scene, 8))
    np.testing.assert_allclose(error_bounds(_information(swapped, 8)), before, rtol=1e-9)
    angle = 0.7
    turn = jnp.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    rotated = jax.tree.map(lambda x: turn @ x if x.shape == (3,) else x, scene)
    rotated = eqx.tree_at(lambda s: s.user.heading, rotated, scene.user.heading - angle)
    np.testing.assert_allclose(error_bounds(_information(rotated, 8)), before, rtol=1e-9)


@pytest.mark.parametrize("clock_known", [True, False])
def test_two_panels_that_cancel_in_one_half_are_the_other_half_with_twice_the_amplitude(
    clock_known,
):
    phase = np.random.default_rng(1).uniform(-3, 3, (3, 5, 6))
    opposite = phase.copy()
    opposite[:, :, 3:] += np.pi
    flat = [each.reshape(3, -1) for each in (phase, opposite, phase[:, :, :3])]
    options = {"gain_known": True, "clock_known": clock_known}
    one, other = (yard(phases=[each], **options).surface for each in flat[:2])
    both = eqx.tree_at(lambda s: s.surfaces, yard(**options), (one, other))
    half = yard(phases=[flat[2]], columns=3, **options)
    half = eqx.tree_at(lambda s: s.surface.reflection, half, 2 * one.reflection)
    np.testing.assert_allclose(
        _information(both, 8).information, _information(half, 8).information, rtol=1e-9
    )


@pytest.mark.parametrize("known", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("spherical", [False, True])
def test_the_information_of_coded_paths_is_a_sum(known, spherical):
    gain_known, clock_known = known
    scene = yard(
        surfaces=3,
        direct=True,
        codes=HADAMARD,
        gain_known=gain_known,
        clock_known=clock_known,
        spherical=spherical,
    )
    gains = scene.gains()
    single = [scene.with_gains(gains * jnp.eye(4)[i]) for i in range(4)]
    summed = separated_pose_information(
        sum(_separate(one, 8) for one in single), clock_known=scene.link.clock_known
    )
    whole = _information(scene, 8)
    scale = 1 / np.sqrt(np.diagonal(whole.information))
    scale = scale[:, None] * scale[None, :]
    np.testing.assert_allclose(
        summed.information * scale, whole.information * scale, rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(summed.reference, whole.reference, rtol=1e-12)
    np.testing.assert_allclose(error_bounds(summed), error_bounds(whole), rtol=1e-9)


def test_the_length_of_the_codes_does_not_change_the_share_of_a_path():
    one, coded = yard(), yard(codes=HADAMARD)
    np.testing.assert_allclose(_separate(one, 8), _separate(coded, 8), rtol=1e-12)


def test_the_information_of_paths_without_codes_is_no_sum():
    scene = yard(surfaces=3, direct=True)
    gains = scene.gains()
    single = [scene.with_gains(gains * jnp.eye(4)[i]) for i in range(4)]
    summed = separated_pose_information(
        sum(_separate(one, 8) for one in single), clock_known=scene.link.clock_known
    )
    peb = error_bounds(_information(scene, 8))[0]
    assert abs(error_bounds(summed)[0] / peb - 1) > 1e-6


def test_a_panel_split_in_two_halves_has_the_information_of_the_whole():
    # The halves are two paths from the same reference point. Their phases differ by a function
    # of the position; their gains are otherwise equal.
    rng = np.random.default_rng(1)
    phases = rng.uniform(-np.pi, np.pi, (3, 5, 6))
    whole = yard(columns=6, rows=5, phases=[phases.reshape(3, -1)], antennas=5, user_antennas=4)
    panel = whole.surface.array

    def beyond(place):
        """Factor of the fourth column relative to the first."""
        position = jnp.append(place, whole.user.position[2])
        factor = lambda cosine: linear_steering(4, panel.spacing[0], cosine)[3]
        return factor(whole.arrival()[0]) * jnp.conj(factor(whole.departure(position)[0]))

    def half(columns, gain):
        array = PlanarArray(panel.horizontal, panel.vertical, panel.normal, panel.spacing, 3, 5)
        alignment = Phased(jnp.asarray(phases[:, :, columns].reshape(3, -1)))
        return eqx.tree_at(
            lambda s: (s.array, s.alignment, s.gain), whole.surface, (array, alignment, gain)
        )

    place = whole.user.position[:2]
    gain = whole.surface.gain
    halves = half(slice(0, 3), gain), half(slice(3, 6), gain * beyond(place))
    split = eqx.tree_at(lambda s: s.surfaces, whole, halves)
    turn = jax.grad(lambda at: jnp.angle(beyond(at) / beyond(place)))(place)
    # Rows: x, y, heading, clock, logarithms of both gains, phases of both gains.
    change = np.zeros((8, 6))
    change[:4, :4] = np.eye(4)
    change[4:6, 4] = change[6:8, 5] = 1
    change[7, :2] = turn
    expected = np.asarray(_joint(whole, 5))
    found = change.T @ np.asarray(_joint(split, 5)) @ change
    scale = np.sqrt(np.diagonal(expected))
    scale = scale[:, None] * scale[None, :]
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-11)
