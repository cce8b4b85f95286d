"""One communication period of the localization system: Steps 1 to 4 of the paper's Fig. 3.

Align and localize with the surface steered by the last period's estimate, transmit with it steered
by this one's, then share the next period's time by what is believed.
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
"""A bound's information: `pose_information`, or the paper's as printed."""


def _shifted(scene: LocalizationScene, offset: Float[Array, "2"]) -> Float[Array, "xyz"]:
    return scene.user.position + jnp.append(offset, 0.0)


def as_steered(scene: LocalizationScene, errors: Errors) -> LocalizationScene:
    """The scene as it is, its surface steered by estimates: Steps 1 and 3.

    In the alignment stage the surface looks where the user was believed to be one period ago,
    (35); in the data stage where it is believed to be now, (41). Heading does not steer it.

    Args:
        scene: The scene with a steered surface.
        errors: What the estimates are off by.
    """
    return scene.focused(
        alignment=_shifted(scene, errors.movement + errors.previous_position),
        data=_shifted(scene, errors.position),
    )


def as_estimated(scene: LocalizationScene, errors: Errors) -> LocalizationScene:
    """The scene as the receiver believes it to be: Step 2, for (43)-(46).

    Args:
        scene: The scene as it is, see `as_steered`.
        errors: What the estimates are off by.
    """
    position = _shifted(scene, errors.position)
    _, distance = travel(scene.surface.position, scene.user.position)
    _, believed_distance = travel(scene.surface.position, position)
    path_gain = scene.link.gain * scene.path_amplitude(distance) + errors.gain
    gain = path_gain / scene.path_amplitude(believed_distance)
    believed = scene.with_user(position, scene.user.heading + errors.heading)
    return eqx.tree_at(lambda s: s.link.gain, believed, gain)


def error_scale(
    scene: LocalizationScene, information: InformationFunction = pose_information
) -> Scalar:
    r""":math:`X`, PEB + REB at :math:`\varpi = 1`, paper eq. (45). [m + rad]

    Args:
        scene: The scene.
        information: Where the bounds come from.
    """
    peb, reb = error_bounds(information(scene, 1))
    return (peb + reb) * jnp.sqrt(time_ratio(scene, 1))


def largest_ratio(scene: LocalizationScene) -> Scalar:
    """Share of the period that the pilots of all antennas take. [1]"""
    return time_ratio(scene, scene.base_station.array.elements)


def next_share(
    scene: LocalizationScene, weight: Scalar, information: InformationFunction = pose_information
) -> TimeShare:
    """Step 4: the time share that is best for a scene as it is believed to be.

    The surface is taken as focused in the data stage, as in (46): what is believed to be the
    user's position is where it is steered.

    Args:
        scene: See `as_estimated`.
        weight: ξ of paper eq. (47). [(m + rad) s/bit]
        information: Where the bounds come from.
    """
    return weighted_share(
        error_scale(scene, information),
        snr_slope(scene),
        available_ratio(scene),
        scene.link.bandwidth,
        weight,
        largest_ratio(scene),
    )
