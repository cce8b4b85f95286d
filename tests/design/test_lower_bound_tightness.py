"""Points that show which inequality of the lower bound is loose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from heliostat.design.cooperative import design_jointly
from heliostat.design.cooperative_bound import cooperative_lower_bound, panels_of
from tests.support.sensing_scenes import sensing_scene


def signals_of_any_direction(panel, flat):
    """CRB of coefficients, and of signals s at the elements that no beam has to produce."""
    elements = len(panel.channel)
    phase, mixing = flat[:elements], flat[elements:].reshape(2, 3, 2)
    H = panel.amplification * jnp.exp(1j * phase)[:, None] * panel.channel
    E = jnp.concatenate([jnp.ones((elements, 1)), 1j * panel.phase_slopes], axis=1)
    # Signals outside this span would only add power.
    span = jnp.linalg.qr(E)[0]
    s = jnp.conj(span) @ (mixing[0] + 1j * mixing[1])
    s = s * jnp.sqrt(panel.power / jnp.sum(jnp.abs(s) ** 2))
    V, sent = H.T @ E, E.T @ s
    A, B = jnp.conj(V).T @ V / panel.noise, sent @ jnp.conj(sent).T

    def schur(matrix):
        return jnp.real(matrix[1:, 1:] - jnp.outer(matrix[1:, 0], matrix[0, 1:]) / matrix[0, 0])

    J = jnp.real(B[0, 0]) * schur(A) + jnp.real(A[0, 0]) * schur(B)
    return jnp.trace(jnp.linalg.inv(panel.strength * J)), H, s


@pytest.mark.slow
def test_the_bound_for_the_surface_power_alone_is_reached_by_signals_that_no_beam_produces():
    scene = sensing_scene(
        rows=(4,), columns=(4,), antennas=4, surfaces=((-5.0, 10.0, 0.0),), power=1e6,
        surface_power=3e-3, surface_noise=1e-20,
    )  # fmt: skip
    panel = panels_of(scene)[0]
    bound = cooperative_lower_bound(scene)
    function = jax.jit(jax.value_and_grad(lambda x: jnp.log(signals_of_any_direction(panel, x)[0])))

    def evaluate(x):
        return tuple(np.asarray(part) for part in function(x))

    rng = np.random.default_rng(0)
    found = [minimize(evaluate, rng.normal(size=28), jac=True, method="L-BFGS-B") for _ in range(8)]
    crb, H, s = signals_of_any_direction(panel, min(found, key=lambda r: r.fun).x)
    H, s = np.asarray(H), np.asarray(s)
    outside = s - H @ np.linalg.lstsq(H, s)[0]
    designed = design_jointly(scene, min_snr=0.0, starts=8).worst_crb
    assert 1 - 1e-9 <= crb / bound < 1.15
    assert np.linalg.norm(outside) > 0.3 * np.linalg.norm(s)
    assert designed > 1.4 * bound
