"""Truths: SciPy's optimizer from each start alone, the minimum of a quadratic function."""

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from heliostat.design.parametrization import descend_together


def _each(function, slope):
    def evaluate(points, chosen):
        values = np.array([function(at) for at in points])
        return values, np.array([slope(at) for at in points])

    return evaluate


def test_descents_reach_the_minima_that_scipy_finds():
    starts = np.random.default_rng(0).normal(scale=0.5, size=(5, 6))
    points, values = descend_together(_each(rosen, rosen_der), starts, steps=400)
    for start, point, value in zip(starts, points, values, strict=True):
        expected = minimize(rosen, start, jac=rosen_der, method="L-BFGS-B")
        np.testing.assert_allclose(value, expected.fun, atol=1e-6)
        np.testing.assert_allclose(point, expected.x, atol=2e-3)
        assert value == rosen(point)


def test_a_quadratic_function_takes_few_evaluations_and_other_starts_do_not_matter():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(8, 8))
    matrix, goal = root @ root.T + np.eye(8), rng.normal(size=8)
    quadratic = _each(
        lambda x: (x - goal) @ matrix @ (x - goal) / 2 - 1, lambda x: matrix @ (x - goal)
    )
    starts = goal + np.array([1e-3, 1.0, 1e3])[:, None] * rng.normal(size=(3, 8))
    points, values = descend_together(quadratic, starts, steps=40)
    np.testing.assert_allclose(values[:2], -1.0, atol=1e-6)
    for i in range(3):
        alone = descend_together(quadratic, starts[i : i + 1], steps=40)
        np.testing.assert_allclose(alone[0][0], points[i], rtol=1e-9)
        np.testing.assert_allclose(alone[1][0], values[i], rtol=1e-9)


def test_only_starts_that_have_not_converged_are_evaluated():
    goals = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, -1.0]])
    asked = []

    def evaluate(points, chosen):
        asked.append(chosen)
        apart = points - goals[chosen]
        return np.sum(np.array([1.0, 100.0]) * apart**2, axis=1), np.array([2.0, 200.0]) * apart

    starts = np.array([[0.0, 0.0], [1.0, 2.1], [-40.0, 7.0]])
    points, values = descend_together(evaluate, starts, steps=200)
    np.testing.assert_allclose(points, goals, atol=1e-3)
    np.testing.assert_allclose(values, 0.0, atol=1e-6)
    assert all(0 not in chosen for chosen in asked[2:])  # it starts at its minimum
    assert asked[-1].size == 1


def test_results_are_never_worse_than_the_starts():
    starts = np.random.default_rng(2).normal(size=(4, 3))

    def evaluate(
        points, chosen=None
    ):  # the gradient is wrong, and the function ends at the unit circle
        inside = np.linalg.norm(points, axis=1) < 1
        return np.where(inside, np.cos(9 * points[:, 0]), np.nan), points

    before = evaluate(starts)[0]
    points, values = descend_together(evaluate, starts, steps=30)
    finite = np.isfinite(before)
    assert finite.any()
    assert not finite.all()
    assert np.all(values[finite] <= before[finite])
    np.testing.assert_array_equal(points[~finite], starts[~finite])
    np.testing.assert_array_equal(values[finite], evaluate(points)[0][finite])


def test_a_start_without_a_gradient_is_an_error():
    with pytest.raises(FloatingPointError, match="gradient is not"):
        descend_together(lambda at, chosen: (np.zeros(2), at * np.nan), np.ones((2, 3)), steps=5)
