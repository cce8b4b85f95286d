"""Truths: focus of the surface and estimated scene, computed by hand."""

import jax.numpy as jnp
import numpy as np

from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.geometry.frames import travel
from heliostat.protocol.errors import Errors
from heliostat.protocol.period import as_estimated, as_steered, error_scale, next_share
from heliostat.rates.effective import snr_slope, time_ratio
from tests.support.scenes import localization_scene, real

NONE = Errors(real([0, 0]), real([0, 0]), real([0, 0]), real(0.0), jnp.asarray(0j))
SOME = Errors(
    real([1.0, 2.0]), real([0.5, -1.0]), real([-0.25, 0.75]), real(0.1), jnp.asarray(1e-6 + 2e-6j)
)


def test_without_errors_nothing_changes():
    scene = localization_scene()
    estimated = as_estimated(as_steered(scene, NONE), NONE)
    np.testing.assert_allclose(
        error_bounds(pose_information(estimated, 5)),
        error_bounds(pose_information(scene, 5)),
        rtol=1e-10,
    )


def test_alignment_is_focused_on_the_previous_estimate():
    steered = as_steered(localization_scene(), SOME)
    before = steered.departure(real([20 + 1.5, 40 + 1.0, 0.0]))
    now = steered.departure(real([20 - 0.25, 40 + 0.75, 0.0]))
    np.testing.assert_allclose(steered.surface.alignment.focus, before, rtol=1e-12)
    np.testing.assert_allclose(steered.surface.data.focus, now, rtol=1e-12)
    np.testing.assert_array_equal(steered.user.position, [20.0, 40.0, 0.0])


def test_estimated_scene_has_the_estimated_pose_and_path_gain():
    scene = localization_scene(gain=np.exp(0.3j))
    estimated = as_estimated(scene, SOME)
    np.testing.assert_allclose(estimated.user.position, [19.75, 40.75, 0.0])
    np.testing.assert_allclose(estimated.user.heading, np.pi / 4 + 0.1)
    truth = complex(scene.surface.gain) * 299792458 / 60e9 / (4 * np.pi * (30 + np.sqrt(2900)))
    _, distance = travel(scene.surface.position, estimated.user.position)
    gain = complex(estimated.surface.gain * estimated.path_amplitude(distance))
    np.testing.assert_allclose(gain, truth + 1e-6 + 2e-6j, rtol=1e-10)


def test_the_next_time_ratio_is_optimal_for_the_estimated_scene():
    scene = as_estimated(as_steered(localization_scene(), SOME), SOME)
    np.testing.assert_allclose(
        error_scale(scene) / np.sqrt(time_ratio(scene, 6)),
        sum(error_bounds(pose_information(scene, 6))),
        rtol=1e-10,
    )
    assert float(snr_slope(scene)) > 0
    share = next_share(scene, real(1e-10))
    assert 0 < float(share.ratio) < 1
    assert float(share.residual) < 1e-9
