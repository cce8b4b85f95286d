"""Truths: the power of paper eq. (7) and the Fisher information written out, finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.bounds.direction import (
    direction_bound,
    direction_information,
    echo_derivatives,
)
from heliostat.design import joint
from heliostat.design.baselines import with_passive_surfaces
from heliostat.design.joint import (
    final_setting,
    joint_layout,
    joint_tasks,
    random_unknowns,
    steered_unknowns,
)
from heliostat.design.parametrization import coefficients
from heliostat.observation.echoes import target_steering
from heliostat.surface.active import power_weight
from tests.support.direction_definition import direction_information_by_definition
from tests.support.sensing_scenes import random_covariance, sensing_scene

SMALL = {"rows": (2, 2), "columns": (3, 3), "antennas": 4}
PLACES = ((5.0, 15.0, 0.0), (6.0, 14.0, 1.0))
POWER = 20.0
setting = jax.jit(joint.setting, static_argnames="layout")
joint_objective = jax.jit(joint.joint_objective, static_argnames="layout")


def scenes_at(places=PLACES, **changes):
    return tuple(sensing_scene(**SMALL, target=place, **changes) for place in places)


def start(task, patterns, mean=False, seed=1):
    layout = joint_layout(task, patterns, mean)
    return layout, jnp.asarray(random_unknowns(layout, np.random.default_rng(seed)))


def radiated(task, psi, covariance, position):
    """All four terms of paper eq. (7), with dense matrices."""
    a = np.asarray(target_steering(task.link.array, task.angles[position]))
    beta, noise = complex(task.target_gain[position]), float(task.surface.noise)
    amplified = np.diag(psi) @ np.asarray(task.link.bs_to_irs)
    outward = amplified @ covariance @ amplified.conj().T + noise * np.diag(np.abs(psi) ** 2)
    back = np.diag(psi) @ (beta * np.outer(a, a))
    echo = back @ outward @ back.conj().T + noise * np.diag(np.abs(psi) ** 2)
    return np.trace(outward).real + np.trace(echo).real


@pytest.mark.parametrize("surface_power", [1e-4, 1e-2, np.inf])
@pytest.mark.parametrize("sharpness", [30.0, 1e9])
def test_every_candidate_satisfies_the_constraints(surface_power, sharpness):
    scenes = scenes_at(surface_power=surface_power, surface_noise=1e-8)
    task = joint_tasks(scenes, jnp.zeros(()))[0]
    for seed in range(3):
        layout, flat = start(task, 2, seed=seed)
        chosen = setting(task, flat, jnp.asarray(POWER), jnp.asarray(sharpness), layout=layout)
        covariance, psi = np.asarray(chosen.covariance), np.asarray(chosen.reflection)
        spent = np.trace(covariance, axis1=1, axis2=2).real.mean()
        assert spent <= POWER * (1 + 1e-12)
        if np.isinf(surface_power):
            np.testing.assert_allclose(spent, POWER, rtol=1e-12)
        assert np.abs(psi).max() <= float(task.surface.amplification)
        used = [
            radiated(task, psi[k], covariance[k], q) for k in range(2) for q in range(len(PLACES))
        ]
        assert max(used) <= surface_power * (1 + 1e-12)


def test_passive_coefficients_have_unit_modulus():
    scenes = tuple(with_passive_surfaces(scene) for scene in scenes_at())
    task = joint_tasks(scenes, jnp.zeros(()))[0]
    layout, flat = start(task, 2)
    chosen = setting(task, flat, jnp.asarray(POWER), jnp.asarray(30.0), layout=layout)
    np.testing.assert_allclose(np.abs(chosen.reflection), 1.0, rtol=1e-12)


def test_beams_lie_in_the_span_of_the_optimal_ones():
    scene = sensing_scene(**{**SMALL, "antennas": 8}, surface_power=1e-2)
    task = joint_tasks((scene,), jnp.zeros(()))[0]
    layout, flat = start(task, 1)
    log_price = 1.3
    flat = flat.at[-3].set(log_price)
    chosen = setting(task, flat, jnp.asarray(POWER), jnp.asarray(30.0), layout=layout)
    psi, angles = chosen.reflection[0], task.angles[0]
    steering = target_steering(task.link.array, angles)
    weight = np.asarray(power_weight(psi, task.link.bs_to_irs, steering, task.target_gain[0]))
    weight = weight * (8 / np.trace(weight).real)
    ways = np.asarray(echo_derivatives(task.link, psi, angles))
    span = np.linalg.solve(np.eye(8) + np.exp(log_price) * weight, ways.conj().T)
    basis, _ = np.linalg.qr(span / np.linalg.norm(span, axis=0))
    covariance = np.asarray(chosen.covariance[0])
    inside = basis @ basis.conj().T @ covariance
    np.testing.assert_allclose(inside, covariance, atol=1e-8 * np.linalg.norm(covariance))


@pytest.mark.parametrize("mean", [False, True])
def test_objective_is_that_of_the_definition(mean):
    scenes = scenes_at(surface_power=1e-2)
    task = joint_tasks(scenes, jnp.zeros(()))[1]
    layout, flat = start(task, 2, mean)
    chosen, log_crbs, snr = final_setting(task, flat, jnp.asarray(POWER), layout)
    bounds = [
        direction_bound(
            direction_information_by_definition(
                task.link, *chosen, task.angles[q], task.target_gain[q]
            )
        )
        for q in range(len(PLACES))
    ]
    crbs = np.array([float(bound.crb) for bound in bounds])
    np.testing.assert_allclose(np.exp(log_crbs), crbs, rtol=1e-8)
    np.testing.assert_allclose(snr, [float(bound.snr) for bound in bounds], rtol=1e-8)
    objective = joint_objective(task, flat, jnp.asarray(POWER), jnp.asarray(1e9), layout=layout)
    expected = crbs.mean() if mean else crbs.max()
    np.testing.assert_allclose(objective, np.log(expected), rtol=1e-8)


def test_snr_below_the_minimum_adds_the_squared_shortfall():
    scenes = scenes_at(surface_power=1e-2)
    sharpness = jnp.asarray(30.0)
    values, snr = [], None
    for min_snr in (0.0, 1e9):
        task = joint_tasks(scenes, jnp.asarray(min_snr))[0]
        layout, flat = start(task, 1)
        values.append(
            float(joint_objective(task, flat, jnp.asarray(POWER), sharpness, layout=layout))
        )
        snr = snr_of(task, setting(task, flat, jnp.asarray(POWER), sharpness, layout=layout))
    short = np.log(1e9 * (1 + 1 / 30.0)) - np.log(snr)
    assert np.all(short > 0)
    np.testing.assert_allclose(values[1] - values[0], 30.0 * np.sum(short**2), rtol=1e-8)


def snr_of(task, chosen):
    return np.array(
        [
            float(
                direction_information_by_definition(
                    task.link, *chosen, task.angles[q], task.target_gain[q]
                ).snr
            )
            for q in range(len(PLACES))
        ]
    )


def test_a_steered_design_has_the_same_snr_and_information_about_direction_cosines():
    designed, wanted = (joint_tasks((scene,), jnp.zeros(()))[1] for scene in scenes_at())
    layout, flat = start(designed, 2)
    rng = np.random.default_rng(6)
    covariance = jnp.stack([random_covariance(rng, 4, 2, POWER) for _ in range(2)])

    def of_cosines(task, flat):
        free = flat[: 4 * layout.elements].reshape(2, layout.elements, 2)
        psi = coefficients(free, task.surface.amplification, layout.form)
        found = direction_information(
            task.link, psi, covariance, task.angles[0], task.target_gain[0]
        )
        elevation, azimuth = np.asarray(task.angles[0])
        # Derivatives of (sin(elevation) cos(azimuth), cos(elevation)) by both angles.
        slope = [
            [np.cos(elevation) * np.cos(azimuth), -np.sin(elevation) * np.sin(azimuth)],
            [-np.sin(elevation), 0.0],
        ]
        inverse, power = np.linalg.inv(slope), abs(task.target_gain[0]) ** 2
        return inverse.T @ np.asarray(found.information) @ inverse / power, found.snr / power

    expected, snr = of_cosines(designed, flat)
    steered = steered_unknowns(flat, designed, wanted, layout)
    found, steered_snr = of_cosines(wanted, steered)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(steered_snr, snr, rtol=1e-6)
    np.testing.assert_array_equal(steered[4 * layout.elements :], flat[4 * layout.elements :])
