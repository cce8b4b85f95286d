import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.design.baselines import isotropic_covariance
from heliostat.design.cooperative import random_phases
from heliostat.design.joint_descent import transmit_half
from heliostat.design.reflect import design_reflection, reflection_task
from heliostat.design.reflect_sdr import _linearized, design_reflection_sdr
from heliostat.observation.echoes import noise_covariance, target_steering
from heliostat.surface.active import reflected_power
from tests.support.direction_definition import full_information
from tests.support.sensing_scenes import random_covariance, sensing_scene

SMALL = {"rows": (2, 2), "columns": (3, 3), "antennas": 4}
pytestmark = pytest.mark.filterwarnings("ignore:Solution may be inaccurate")


def test_linearization_is_the_information_and_its_slope():
    # F at psi + h e differs from the linear form in Theta by O(h²); the scale is beta's own.
    scene = sensing_scene(**SMALL)
    rng = np.random.default_rng(0)
    covariance = random_covariance(rng, 4, 3, 20.0)[None]
    task = reflection_task(scene, 0, covariance, 0.0)
    psi = rng.normal(size=6) + 1j * rng.normal(size=6)
    toward = rng.normal(size=6) + 1j * rng.normal(size=6)
    linear = _linearized(task, psi)
    frozen = noise_covariance(task.link, jnp.asarray(psi))[None]
    gain = complex(task.target_gain)
    # The linear form is over ln(gain): gain times the derivative to the gain.
    turn = np.eye(4)
    turn[2:, 2:] = [[gain.real, gain.imag], [-gain.imag, gain.real]]

    def exact(at):
        full = full_information(
            task.link, jnp.asarray(at)[None], covariance, task.angles, task.target_gain, frozen
        )
        return turn @ np.asarray(full) @ turn.T

    def affine(at):
        theta = np.outer(at, np.conj(at))
        return np.real(np.einsum("pqnm,mn->pq", linear.slope, theta)) - linear.rest

    scale = np.sqrt(np.outer(np.diag(exact(psi)), np.diag(exact(psi))))
    np.testing.assert_allclose(affine(psi) / scale, exact(psi) / scale, atol=1e-9)
    h = 1e-4
    slopes = [(f(psi + h * toward) - f(psi - h * toward)) / (2 * h) for f in (exact, affine)]
    np.testing.assert_allclose(slopes[1] / scale, slopes[0] / scale, atol=1e-6)

    def radiated(at):
        steering = target_steering(task.link.array, task.angles)
        return float(
            reflected_power(
                jnp.asarray(at), task.link.bs_to_irs, covariance[0], steering,
                task.target_gain, task.surface.noise,
            ).total
        )  # fmt: skip

    def affine_power(at):
        theta = np.outer(at, np.conj(at))
        return np.real(np.trace(linear.power_slope @ theta)) - linear.power_rest

    np.testing.assert_allclose(affine_power(psi), radiated(psi), rtol=1e-9)


def sdr_and_direct(seed, **size):
    scene = sensing_scene(**size, seed=seed)
    begun = random_phases(scene, seed)
    covariance = transmit_half(scene, begun, jnp.zeros(())).covariance
    start = tuple(psi[0] for psi in begun)
    sdr = design_reflection_sdr(scene, covariance[:, 0], start, min_snr=0.0, seed=seed)
    direct = design_reflection(scene, covariance[:, 0], min_snr=0.0, seed=seed)
    return np.asarray(sdr.crb), np.asarray(direct.crb)


@pytest.mark.parametrize("seed", [0, 1])
def test_relaxation_does_not_beat_the_direct_design(seed):
    sdr, direct = sdr_and_direct(seed, **SMALL)
    assert np.all(10 * np.log10(direct / sdr) <= 0.1)


@pytest.mark.slow
def test_relaxation_does_not_beat_the_direct_design_over_twenty_draws():
    pairs = [sdr_and_direct(seed, rows=(3, 3), columns=(3, 3)) for seed in range(20)]
    gain = np.array([10 * np.log10(sdr / direct) for sdr, direct in pairs])
    assert gain.min() >= -0.1
    assert np.median(gain) >= 0.0


def test_what_is_known_is_never_lost():
    scene = sensing_scene(**SMALL)
    covariance = isotropic_covariance(scene)
    best = design_reflection(scene, covariance, min_snr=0.0, starts=4)
    again = design_reflection_sdr(scene, covariance, best.reflection, min_snr=0.0)
    assert np.all(np.asarray(again.crb) <= np.asarray(best.crb) * (1 + 1e-9))
