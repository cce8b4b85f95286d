"""Truths: lines that meet in a known point, a case by hand, Monte Carlo against the bound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.estimation.triangulation import (
    PARALLEL,
    iterated_least_squares,
    largest_sine,
    stansfield,
)
from tests.support.sensing_scenes import sensing_scene

THREE = ((-5.0, 10.0, 0.0), (-5.0, 20.0, 0.0), (-6.0, 14.0, 4.0))
COVARIANCE = jnp.array([[[2e-5, 5e-6], [5e-6, 1e-5]], [[1e-5, -4e-6], [-4e-6, 3e-5]]])
METHODS = (stansfield, iterated_least_squares)


def three(**changes):
    return sensing_scene(surfaces=THREE, rows=(2, 2, 2), columns=(2, 2, 2), **changes)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [(5.0, 15.0, 0.0), (2.0, 11.0, 3.0), (30.0, -4.0, -8.0)])
def test_true_directions_meet_at_the_target(method, target):
    for scene in (sensing_scene(target=target), three(target=target)):
        covariance = jnp.broadcast_to(COVARIANCE[0], (scene.n_surfaces, 2, 2))
        found = method(scene, scene.angles(), covariance)
        np.testing.assert_allclose(found.position, target, rtol=1e-8, atol=1e-8)
        assert not found.behind.any()


def test_stansfield_by_hand():
    """Two surfaces at (0, ±1, 0) facing +x, a target in their plane, errors of azimuth alone.

    Lines through (0, 1) with slope -m1 and through (0, -1) with slope m2 cross where
    1 - m1 x = -1 + m2 x; with two lines in a plane and no errors of elevation nothing is left to
    weigh, and the crossing is the answer.
    """
    scene = sensing_scene(surfaces=((0.0, 1.0, 0.0), (0.0, -1.0, 0.0)), rows=(2, 2), columns=(2, 2))
    falls, rises = 0.21, 0.17
    # Azimuth is measured from the panel's horizontal axis, +y.
    azimuth = [np.pi / 2 + np.arctan(falls), np.pi / 2 - np.arctan(rises)]
    angles = jnp.array([[np.pi / 2, azimuth[0]], [np.pi / 2, azimuth[1]]])
    x = 2 / (falls + rises)
    for method in METHODS:
        found = method(scene, angles, jnp.broadcast_to(jnp.eye(2) * 1e-4, (2, 2, 2)))
        np.testing.assert_allclose(found.position, [x, 1 - falls * x, 0.0], rtol=1e-9, atol=1e-9)


def test_least_squares_reaches_the_bound_and_stansfield_nearly():
    trials, scene = 4000, sensing_scene()
    truth = np.asarray(scene.target.position)
    lower = np.linalg.cholesky(COVARIANCE)
    drawn = np.random.default_rng(0).normal(size=(trials, 2, 2))
    errors = jnp.asarray(np.einsum("lij,tlj->tli", lower, drawn))
    # The bound from the angles' slopes, taken by finite differences.
    steps = 1e-5 * np.eye(3)
    slope = np.stack(
        [
            (scene.angles(jnp.asarray(truth + h)) - scene.angles(jnp.asarray(truth - h))) / 2e-5
            for h in steps
        ],
        axis=-1,
    )
    weight = np.linalg.inv(COVARIANCE)
    bound = np.trace(np.linalg.inv(np.einsum("lai,lab,lbj->ij", slope, weight, slope)))
    for method, excess in zip(METHODS, (1.05, 1.0), strict=True):
        run = jax.jit(
            jax.vmap(lambda e, m=method: m(scene, scene.angles() + e, COVARIANCE).position)
        )
        off = np.asarray(run(errors)) - truth
        squared = np.sum(off**2, axis=1)
        allowed = 4 * squared.std() / np.sqrt(trials)
        assert bound - allowed < squared.mean() < bound * excess + allowed
        told = method(scene, scene.angles(), COVARIANCE)
        np.testing.assert_allclose(np.trace(told.covariance), bound, rtol=1e-6)


def test_lines_that_do_not_meet_show():
    # On the line through both surfaces, and so far away that the lines are parallel.
    for target in ((-5.0 + 1e-4, 40.0, 0.0), (3e5, 15.0, 0.0)):
        scene = sensing_scene(target=target)
        assert largest_sine(scene, scene.angles()) < PARALLEL
    scene = sensing_scene()
    # From (-5, 10) and (-5, 20) to (5, 15): half an opening angle of arctan(1/2).
    np.testing.assert_allclose(
        largest_sine(scene, scene.angles()), np.sin(2 * np.arctan(0.5)), rtol=1e-12
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_scene_may_be_turned(method):
    angle = 0.6
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]]
    )
    tilt = np.array([[1.0, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    error = jnp.asarray(np.random.default_rng(1).normal(size=(2, 2)) * 1e-2)
    plain, moved = sensing_scene(), sensing_scene(turn=turn @ tilt)
    found = [method(s, plain.angles() + error, COVARIANCE) for s in (plain, moved)]
    np.testing.assert_allclose(
        found[1].position, turn @ tilt @ np.asarray(found[0].position), rtol=1e-8, atol=1e-9
    )
