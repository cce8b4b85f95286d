r"""Scene of the sensing system, as frozen pytrees in SI units.

Surfaces may differ in everything, their number of elements included, so a scene holds a tuple of
them. Most functions need one surface alone: `EchoLink` is what the base station's echo through
one surface depends on, apart from where the target is and how the surface is set.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from heliostat.geometry.arrays import PlanarArray
from heliostat.geometry.frames import Scalar, Vector, travel
from heliostat.scene.localization import BaseStation
from heliostat.surface.active import ActiveSurface

ANGLES = ("elevation", "azimuth")


class Target(eqx.Module):
    """A point target."""

    position: Vector  # [m]


class EchoLink(eqx.Module):
    """Part of a scene on which the echo of one surface depends."""

    array: PlanarArray
    bs_to_irs: Complex[Array, "element tx"]  # G [1]
    surface_noise: Scalar  # sigma_r^2 [W]
    noise: Scalar  # of each of the base station's antennas, sigma_b^2 [W]
    symbols: Scalar  # T_c / L [1]


def target_angles(
    position: Vector, surface_position: Vector, array: PlanarArray
) -> Float[Array, "2"]:
    r"""Elevation from a panel's vertical axis and azimuth from its horizontal axis. [rad]

    :math:`(\theta, \varphi)` such that the direction cosines along a column and a row are
    :math:`\cos\theta` and :math:`\sin\theta\cos\varphi`, as in paper eqs. (2), (3); azimuth
    :math:`\pi/2` is straight in front of the panel.

    Args:
        position: Of the target. [m]
        surface_position: Of the surface. [m]
        array: The panel.
    """
    direction, _ = travel(surface_position, position)
    across, up = array.direction_cosines(direction)
    along = jnp.dot(direction, array.normal)
    return jnp.stack([jnp.arctan2(jnp.hypot(across, along), up), jnp.arctan2(along, across)])


class SensingScene(eqx.Module):
    """Everything that a bound, a design or a simulation of the sensing system depends on.

    The surfaces take turns: each serves :math:`T_c/L` of the symbols while the others are silent.
    """

    base_station: BaseStation  # its power is P_t, the mean over the dwell
    surfaces: tuple[ActiveSurface, ...]
    target: Target
    bs_to_irs: tuple[Complex[Array, "_ tx"], ...]  # G_l, one [element tx] per surface [1]
    target_gain: Complex[Array, "surface"]  # beta_l, from the surface to the target and back [1]
    noise: Scalar  # of each of the base station's antennas, sigma_b^2 [W]
    symbols: Scalar  # in the whole dwell, T_c [1]

    @property
    def n_surfaces(self) -> int:
        """Number of surfaces, :math:`L`."""
        return len(self.surfaces)

    def angles(self, position: Vector | None = None) -> Float[Array, "surface 2"]:
        """Elevation and azimuth of a position, by default the target's, at each surface. [rad]"""
        seen = self.target.position if position is None else position
        return jnp.stack([target_angles(seen, s.position, s.array) for s in self.surfaces])

    def link(self, index: int) -> EchoLink:
        """What the echo through one surface depends on.

        Args:
            index: Which surface, from 0.
        """
        surface = self.surfaces[index]
        share = self.symbols / self.n_surfaces
        return EchoLink(surface.array, self.bs_to_irs[index], surface.noise, self.noise, share)

    def with_target(
        self, position: Vector, target_gain: Complex[Array, "surface"]
    ) -> "SensingScene":
        r"""The same scene with the target elsewhere.

        Args:
            position: Of the target. [m]
            target_gain: Its gain through each surface there, :math:`\beta_l`. [1]
        """
        return eqx.tree_at(
            lambda s: (s.target.position, s.target_gain), self, (position, target_gain)
        )
