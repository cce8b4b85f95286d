import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.bounds.direction import direction_bound
from heliostat.design.baselines import isotropic_covariance, with_passive_surfaces
from heliostat.design.parametrization import FINAL_SHARPNESS
from heliostat.design.reflect import (
    design_reflection,
    reflection_objective,
    reflection_task,
    within_power,
)
from tests.support.direction_definition import direction_information_by_definition
from tests.support.sensing_scenes import random_covariance, random_reflections, sensing_scene

SMALL = {"rows": (2, 2), "columns": (3, 3), "antennas": 4}


def crb_by_definition(scene, index, reflection, covariance):
    return direction_bound(
        direction_information_by_definition(
            scene.link(index),
            jnp.atleast_2d(reflection),
            covariance.reshape(-1, *covariance.shape[-2:]),
            scene.angles()[index],
            scene.target_gain[index],
        )
    ).crb


@pytest.mark.parametrize("form", ["plane", "polar", "phase"])
def test_gradient_equals_finite_differences(form):
    scene = sensing_scene(**SMALL)
    rng = np.random.default_rng(3)
    covariance = random_covariance(rng, 4, 3, 20.0)[None]
    task = reflection_task(scene, 0, covariance, 1e9)  # an SNR out of reach: the penalty counts
    free = jnp.asarray(rng.uniform(0.2, 0.8, size=(1, 6, 2)))
    direction = jnp.asarray(rng.normal(size=free.shape))

    @jax.jit
    def value(step):
        return reflection_objective(task, free + step * direction, jnp.asarray(30.0), form)

    slope = jax.grad(value)(0.0)
    step = 1e-5
    differences = (value(step) - value(-step)) / (2 * step)
    np.testing.assert_allclose(slope, differences, rtol=1e-6)


def test_returned_crb_is_that_of_the_definition_and_constraints_hold():
    scene = sensing_scene(**SMALL, surface_power=1e-3)
    design = design_reflection(scene, isotropic_covariance(scene), min_snr=0.0, starts=2)
    for i in range(2):
        truth = crb_by_definition(scene, i, design.reflection[i], design.covariance[i])
        np.testing.assert_allclose(design.crb[i], truth, rtol=1e-8)
    assert np.all(np.asarray(design.slack.surface) >= -1e-9 * 1e-3)
    assert np.all(np.asarray(design.slack.amplitude) >= -1e-8)
    assert design.slack.transmit >= -1e-9 * 20


def test_what_is_known_is_never_lost():
    scene = sensing_scene(**SMALL)
    covariance = isotropic_covariance(scene)
    good = design_reflection(scene, covariance, min_snr=0.0, starts=3)
    known = tuple(psi[None] for psi in good.reflection)
    again = design_reflection(scene, covariance, incumbent=known, min_snr=0.0, starts=0)
    assert np.all(np.asarray(again.crb) <= np.asarray(good.crb) * (1 + 1e-9))


def test_passive_elements_keep_modulus_one():
    scene = with_passive_surfaces(sensing_scene(**SMALL))
    design = design_reflection(scene, isotropic_covariance(scene), min_snr=0.0, starts=2)
    for psi in design.reflection:
        np.testing.assert_allclose(jnp.abs(psi), 1.0, rtol=1e-12)


def test_an_snr_out_of_reach_is_refused():
    scene = sensing_scene(**SMALL)
    with pytest.raises(ValueError, match="SNR"):
        design_reflection(scene, isotropic_covariance(scene), min_snr=1e30, starts=1)


def test_the_optimum_on_paper():
    # Two antennas by two elements and a third singular value of zero cannot show two angles, so
    # the smallest case on paper is power alone: a surface that any signal drives to its limit has
    # to shrink by the square root of what it radiates too much, up to the echo's 1e-12.
    scene = sensing_scene(**SMALL)
    psi = random_reflections(scene)[0]
    covariance = isotropic_covariance(scene)[:1]
    scene = eqx.tree_at(lambda s: s.surfaces[0].power, scene, jnp.asarray(1e-4))
    task = reflection_task(scene, 0, covariance, 0.0)
    fit = within_power(task, psi, jnp.asarray(FINAL_SHARPNESS))
    weighted = np.asarray(psi[0])[:, None] * np.asarray(scene.bs_to_irs[0])
    radiated = 20 / 4 * np.sum(np.abs(weighted) ** 2) + 2e-11 * 6 * 64
    np.testing.assert_allclose(fit, psi * np.sqrt(1e-4 / radiated), rtol=1e-6)


@settings(max_examples=8)
@given(
    seed=st.integers(0, 1000),
    surface_power=st.floats(1e-6, 10.0),
    amplification=st.floats(1.0, 100.0),
    patterns=st.integers(1, 2),
)
def test_constraints_hold_in_random_scenes(seed, surface_power, amplification, patterns):
    scene = sensing_scene(
        **SMALL, seed=seed, surface_power=surface_power, amplification=amplification
    )
    covariance = jnp.stack([isotropic_covariance(scene)] * patterns, axis=1)
    design = design_reflection(scene, covariance, min_snr=0.0, starts=1)
    assert design.slack.transmit >= -1e-9 * 20
    assert np.all(np.asarray(design.slack.surface) >= -1e-9 * surface_power)
    assert np.all(np.asarray(design.slack.amplitude) >= -1e-9 * amplification)
