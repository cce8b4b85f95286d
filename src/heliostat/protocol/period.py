"""One communication period of the localization system: Steps 1 to 4 of the paper's Fig. 3.

Align and localize with the surface steered by the previous period's estimate, transmit data with
the surface steered by this period's estimate, then allocate the time of the next period.
"""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from heliostat.bounds.pose import PoseInformation, error_bounds, pose_information
from heliostat.design.time_allocation import TimeShare, weighted_share
from heliostat.geometry.frames import Scalar, travel
from heliostat.protocol.errors import Errors
from heliostat.rates.effective import available_ratio, snr_slope, time_ratio
from heliostat.scene.localization import LocalizationScene

InformationFunction: TypeAlias = Callable[[LocalizationScene, int | Scalar], PoseInformation]
"""Fisher information of the pose: `pose_information`, or the paper's printed form."""


def _shifted(scene: LocalizationScene, offset: Float[Array, "2"]) -> Float[Array, "xyz"]:
    return scene.user.position + jnp.append(offset, 0.0)


def as_steered(scene: LocalizationScene, errors: Errors) -> LocalizationScene:
    """The true scene with the surface steered by estimates: Steps 1 and 3.

    In the alignment stage the surface is focused on the previous period's position estimate, (35),
    in the data stage on this period's, (41). The heading has no effect on it.

    Args:
        scene: The scene with a steered surface.
        errors: Errors of the estimates.
    """
    return scene.focused(
        alignment=_shifted(scene, errors.movement + errors.previous_position),
        data=_shifted(scene, errors.position),
    )


def as_estimated(scene: LocalizationScene, errors: Errors) -> LocalizationScene:
    """The scene with the estimated pose and path gain: Step 2, for (43)-(46).

    Args:
        scene: The true scene, see `as_steered`.
        errors: Errors of the estimates.
    """
    position = _shifted(scene, errors.position)
    _, distance = travel(scene.surface.position, scene.user.position)
    _, estimated_distance = travel(scene.surface.position, position)
    path_gain = scene.surface.gain * scene.path_amplitude(distance) + errors.gain
    gain = path_gain / scene.path_amplitude(estimated_distance)
    estimated = scene.with_user(position, scene.user.heading + errors.heading)
    return eqx.tree_at(lambda s: s.surface.gain, estimated, gain)


def error_scale(
    scene: LocalizationScene, information: InformationFunction = pose_information
) -> Scalar:
    r""":math:`X`, PEB + REB at :math:`\varpi = 1`, paper eq. (45). [m + rad]

    Args:
        scene: The scene.
        information: Fisher information of the pose.
    """
    peb, reb = error_bounds(information(scene, 1))
    return (peb + reb) * jnp.sqrt(time_ratio(scene, 1))


def largest_ratio(scene: LocalizationScene) -> Scalar:
    """Time ratio at which all antennas are active. [1]"""
    return time_ratio(scene, scene.base_station.array.elements)


def next_share(
    scene: LocalizationScene, weight: Scalar, information: InformationFunction = pose_information
) -> TimeShare:
    """Step 4: the optimal time allocation for the estimated scene.

    In the data stage the surface is focused on the estimated position, as in (46).

    Args:
        scene: See `as_estimated`.
        weight: Weight ξ of paper eq. (47). [(m + rad) s/bit]
        information: Fisher information of the pose.
    """
    return weighted_share(
        error_scale(scene, information),
        snr_slope(scene),
        available_ratio(scene),
        scene.link.bandwidth,
        weight,
        largest_ratio(scene),
    )
