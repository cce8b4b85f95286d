"""Truths: sums written out, automatic differentiation, the papers' Kronecker products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.geometry.arrays import PlanarArray, dirichlet, linear_steering, planar_steering

STEPS = st.one_of(
    st.floats(-20, 20),
    st.sampled_from([0.0, 1e-300, 1e-9, -1e-5, 1e-3, np.pi, 2 * np.pi, -4 * np.pi, 0.25, 0.24999]),
)


def literal(elements, step):
    k = np.arange(elements)
    return np.sum(np.exp(1j * k * step)), np.sum(1j * k * np.exp(1j * k * step))


@given(st.integers(1, 300), STEPS)
def test_dirichlet_kernel_equals_the_sum_over_elements(elements, step):
    value, slope = dirichlet(elements, jnp.asarray(step))
    expected, expected_slope = literal(elements, step)
    # The literal sum rounds each phase k*step: that is what limits the comparison.
    rounding = 4e-16 * elements**2 * max(abs(step), 1)
    assert abs(complex(value) - expected) <= rounding + 1e-14 * elements
    assert abs(complex(slope) - expected_slope) <= elements * (rounding + 1e-14 * elements)


@pytest.mark.parametrize("step", [0.0, 1e-12, 1e-6, 0.1, 0.5, 1.0, 3.0, 2 * np.pi, 6.0])
def test_slope_of_the_dirichlet_kernel_equals_its_finite_difference(step):
    h = 1e-6
    up, down = (dirichlet(16, jnp.asarray(step + d))[0] for d in (h, -h))
    numeric = (complex(up) - complex(down)) / (2 * h)
    slope = complex(dirichlet(16, jnp.asarray(step))[1])
    assert abs(slope - numeric) <= 1e-7 * 16**2


def test_dirichlet_kernel_can_be_differentiated_everywhere():
    for step in (0.0, 1e-9, 0.3, 2 * np.pi):
        value, derivative = jax.jvp(
            lambda x: dirichlet(9, x)[0], (jnp.asarray(step),), (jnp.ones(()),)
        )
        np.testing.assert_allclose(derivative, literal(9, step)[1], atol=1e-12)
        assert np.isfinite(value)


def test_planar_response_is_the_papers_kronecker_product():
    array = PlanarArray(
        jnp.array([0.0, 1.0, 0.0]),
        jnp.array([0.0, 0.0, 1.0]),
        jnp.array([1.0, 0.0, 0.0]),
        jnp.array([0.5, 0.7]),
        columns=3,
        rows=2,
    )
    horizontal, vertical = 0.3, -0.6
    expected = [
        np.exp(2j * np.pi * (0.5 * p * horizontal + 0.7 * q * vertical))
        for q in range(2)
        for p in range(3)
    ]
    actual = planar_steering(array, jnp.array([horizontal, vertical]))
    np.testing.assert_allclose(actual, expected, rtol=1e-13)


def test_linear_response_follows_the_position_of_each_antenna():
    # Truth: phase 2 pi r.u for an antenna at r (in wavelengths) and a wave travelling along u.
    direction = np.array([0.6, 0.0, -0.8])
    axis = np.array([0.0, 0.6, 0.8])
    places = 0.4 * np.arange(5)[:, None] * axis[None, :]
    expected = np.exp(2j * np.pi * places @ direction)
    actual = linear_steering(5, jnp.asarray(0.4), jnp.asarray(direction @ axis))
    np.testing.assert_allclose(actual, expected, rtol=1e-13)
