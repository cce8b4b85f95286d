"""Truth: automatic differentiation of `joint.joint_objective`, the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.design.baselines import with_passive_surfaces
from heliostat.design.joint import joint_layout, joint_objective, joint_tasks, random_unknowns
from heliostat.design.joint_gradient import stack_tasks, values_and_slopes
from tests.support.sensing_scenes import sensing_scene

PLACES = ((5.0, 15.0, 0.0), (6.0, 14.0, 1.0))
POWER = np.array([20.0, 5.0])
definition = jax.jit(
    jax.value_and_grad(
        lambda flat, log_power, task, sharpness, layout: joint_objective(
            task, flat, jnp.exp(log_power), sharpness, layout
        ),
        argnums=(0, 1),
    ),
    static_argnames="layout",
)


def compare(scenes, patterns=2, mean=False, sharpness=30.0, min_snr=0.0, log_price=0.0):
    """Compare value and derivatives at a random start of each surface."""
    tasks = joint_tasks(scenes, jnp.asarray(min_snr))
    layout = joint_layout(tasks[0], patterns, mean)
    rng = np.random.default_rng(patterns)
    flat = np.stack([random_unknowns(layout, rng) for _ in tasks])
    flat[:, -3 * patterns :] += rng.normal(size=(len(tasks), 3 * patterns))
    flat[:, -3 * patterns : -2 * patterns] += log_price
    found = values_and_slopes(stack_tasks(list(tasks)), flat, POWER, sharpness, layout)
    for i, task in enumerate(tasks):
        start, log_power = jnp.asarray(flat[i]), jnp.log(jnp.asarray(POWER[i]))
        value, (slope, to_power) = definition(
            start, log_power, task, jnp.asarray(sharpness), layout=layout
        )
        # A logarithm, which may be near zero.
        np.testing.assert_allclose(found[0][i], value, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(found[1][i], slope, rtol=0, atol=1e-11 * np.linalg.norm(slope))
        # Entries of the price, the noise share and the energy are far smaller than the others.
        last = slice(-3 * patterns, None)
        scale = np.linalg.norm(slope[last])
        np.testing.assert_allclose(found[1][i, last], slope[last], rtol=0, atol=1e-10 * scale)
        np.testing.assert_allclose(found[2][i], to_power, rtol=1e-9, atol=1e-12)


def scenes_at(**changes):
    small = {"rows": (2, 2), "columns": (3, 3), "antennas": 4}
    return tuple(sensing_scene(**small, target=place, **changes) for place in PLACES)


def test_a_price_of_any_size_gives_numbers():
    compare(scenes_at(), log_price=400.0)


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("min_snr", [0.0, 1e9])
@pytest.mark.parametrize(
    ("power", "noise"),
    [(1e-2, 1e-8), (1e-4, 1e-5), (1e-5, 1e-5), (np.inf, 1e-8)],
    ids=["signal limits P_s", "noise takes a share", "noise alone exceeds P_s", "no limit"],
)
def test_equal_to_automatic_differentiation(power, noise, min_snr, mean):
    scenes = scenes_at(surface_power=power, surface_noise=noise)
    compare(scenes, mean=mean, min_snr=min_snr)


@pytest.mark.parametrize("sharpness", [300.0, 3000.0])
def test_equal_at_every_sharpness_of_the_descent(sharpness):
    compare(scenes_at(surface_power=1e-3), sharpness=sharpness)


def test_equal_for_passive_surfaces():
    compare(tuple(with_passive_surfaces(scene) for scene in scenes_at()))


def test_equal_for_one_pattern_and_position():
    compare(scenes_at(surface_power=1e-3)[:1], patterns=1)


def test_a_start_without_any_value_disturbs_no_other():
    tasks = joint_tasks(scenes_at()[:1], jnp.zeros(()))
    layout = joint_layout(tasks[0], 1, False)
    flat = np.stack([random_unknowns(layout, np.random.default_rng(3))] * 2)
    flat[0] = np.nan
    value, slope, _ = values_and_slopes(stack_tasks(list(tasks)), flat, POWER, 30.0, layout)
    assert not np.isfinite(value[0])
    assert np.isfinite(value[1])
    assert np.all(np.isfinite(slope[1]))


def test_a_pattern_without_energy_has_finite_derivatives():
    tasks = joint_tasks(scenes_at(surface_power=1e-3)[:1], jnp.asarray(1e3))
    layout = joint_layout(tasks[0], 2, False)
    flat = np.stack([random_unknowns(layout, np.random.default_rng(4))] * 2)
    flat[0, -2:], flat[1, -2:] = [-353.0, 353.0], [-400.0, 400.0]  # shares of 1e-307 and 0
    stacked = stack_tasks([tasks[0]] * 2)
    value, slope, to_power = values_and_slopes(stacked, flat, POWER[[0, 0]], 300.0, layout)
    assert np.isfinite(slope).all()
    # Without energy, the other pattern has all of it.
    np.testing.assert_allclose(value[0], value[1], rtol=1e-12)
    np.testing.assert_allclose(to_power[0], to_power[1], rtol=1e-12)
