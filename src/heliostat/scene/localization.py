"""Scene of the localization system: base station, surface, user and link, in SI units."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from heliostat.channel.path_loss import PathLossLaw
from heliostat.geometry.arrays import LinearArray, PlanarArray
from heliostat.geometry.frames import Scalar, Vector, travel
from heliostat.surface.passive import Configurations, Steered, quantised_configurations


class BaseStation(eqx.Module):
    """A base station with a linear array."""

    position: Vector  # [m]
    array: LinearArray
    power: Scalar  # in total over the active antennas [W]


class PassiveSurface(eqx.Module):
    """A passive surface and its configurations in each stage of a period."""

    position: Vector  # [m]
    array: PlanarArray
    reflection: Scalar  # amplitude of every coefficient, 0 < delta <= 1
    alignment: Configurations  # in the beam-alignment stage; they share each pilot equally
    data: Configurations  # in the data stage: one
    element_area: Scalar  # effective area of an element, gain x wavelength^2 / 4 pi [m²]


class User(eqx.Module):
    """A user with a horizontal linear array, rotated by its heading."""

    position: Vector  # [m]
    heading: Scalar  # [rad], see `frames.user_axis`
    spacing: Scalar  # [wavelengths]
    antennas: int = eqx.field(static=True)


class Link(eqx.Module):
    """Carrier, noise and what the receiver knows of the link."""

    wavelength: Scalar  # [m]
    bandwidth: Scalar  # [Hz]
    noise_density: Scalar  # N0 [W/Hz]
    attenuation: Scalar  # zeta, an amplitude, times the roots of both antennas' gains
    gain: Complex[Array, ""]  # h_1, beyond path loss
    path_loss: PathLossLaw = eqx.field(static=True)  # amplitude of one element
    gain_known: bool = eqx.field(static=True)  # the receiver knows h_1, phase included
    clock_known: bool = eqx.field(static=True)  # both ends share one clock


class Frame(eqx.Module):
    """Durations in one communication period."""

    pilot: Scalar  # T_s [s]
    optimization: Scalar  # T_o [s]
    period: Scalar  # T_c [s]


class LocalizationScene(eqx.Module):
    """Everything that a bound, a rate or a simulation of the localization system depends on."""

    base_station: BaseStation
    surface: PassiveSurface
    user: User
    link: Link
    frame: Frame

    def arrival(self) -> Float[Array, "2"]:
        """Direction cosines at the surface of the wave from the base station. [1]"""
        direction, _ = travel(self.base_station.position, self.surface.position)
        return self.surface.array.direction_cosines(direction)

    def bs_departure(self) -> Scalar:
        """Direction cosine at the base station towards the surface. [1]"""
        direction, _ = travel(self.base_station.position, self.surface.position)
        return jnp.dot(direction, self.base_station.array.axis)

    def departure(self, position: Vector) -> Float[Array, "2"]:
        """Direction cosines at the surface towards a position. [1]"""
        direction, _ = travel(self.surface.position, position)
        return self.surface.array.direction_cosines(direction)

    def path_amplitude(self, irs_to_user: Scalar) -> Scalar:
        r"""Amplitude of the link through one element, :math:`\zeta/\sqrt{\rho}`. [1]

        Args:
            irs_to_user: Distance from surface to user. [m]
        """
        _, bs_to_irs = travel(self.base_station.position, self.surface.position)
        area = self.surface.element_area
        amplitude = self.link.path_loss(bs_to_irs, irs_to_user, self.link.wavelength, area)
        return self.link.attenuation * jnp.asarray(amplitude, dtype=float)

    def with_user(self, position: Vector, heading: Scalar) -> "LocalizationScene":
        """The same scene with the user at another pose and unchanged configurations."""
        return eqx.tree_at(lambda s: (s.user.position, s.user.heading), self, (position, heading))

    def focused(
        self, alignment: Vector | None = None, data: Vector | None = None
    ) -> "LocalizationScene":
        """The same scene with a steered surface pointed at other positions in its two stages.

        Args:
            alignment: Focus in the beam-alignment stage; None leaves it. [m]
            data: Focus in the data stage; None leaves it. [m]

        Raises:
            TypeError: The surface is not steered but set by phases.
        """
        scene = self
        for position, stage in ((alignment, "alignment"), (data, "data")):
            if position is None:
                continue
            steered = getattr(scene.surface, stage)
            if not isinstance(steered, Steered):
                raise TypeError("Only a steered surface can be focused; this one is set by phases.")
            focused = Steered(scene.departure(position), steered.offset)
            scene = eqx.tree_at(lambda s: getattr(s.surface, stage), scene, focused)  # noqa: B023
        return scene

    def quantised(self, bits: int) -> "LocalizationScene":
        """The same scene with quantised surface phases, see `quantised_configurations`."""
        array, arrival = self.surface.array, self.arrival()
        return eqx.tree_at(
            lambda s: (s.surface.alignment, s.surface.data),
            self,
            tuple(
                quantised_configurations(array, arrival, each, bits)
                for each in (self.surface.alignment, self.surface.data)
            ),
        )


class _TracedPanel(PlanarArray):
    columns: Scalar  # type: ignore[assignment]
    rows: Scalar  # type: ignore[assignment]


class _TracedArray(LinearArray):
    elements: Scalar  # type: ignore[assignment]


class _TracedUser(User):
    antennas: Scalar  # type: ignore[assignment]


def with_traced_sizes(scene: LocalizationScene) -> LocalizationScene:
    """The same scene with numbers of elements that JAX traces, where the surface is steered.

    A program compiled for such a scene serves every size of surface and arrays. It may only use
    closed forms: whatever has an axis of elements needs the sizes when it is compiled.

    Args:
        scene: The scene. One whose surface is set by phases is returned as it is, as its phases
            have such an axis.
    """
    surface, base_station, user = scene.surface, scene.base_station, scene.user
    if not (isinstance(surface.alignment, Steered) and isinstance(surface.data, Steered)):
        return scene
    panel, array = surface.array, base_station.array
    traced_panel = _TracedPanel(
        horizontal=panel.horizontal,
        vertical=panel.vertical,
        normal=panel.normal,
        spacing=panel.spacing,
        columns=jax.device_put(np.float64(panel.columns)),
        rows=jax.device_put(np.float64(panel.rows)),
    )
    traced_array = _TracedArray(
        array.axis, array.spacing, jax.device_put(np.float64(array.elements))
    )
    traced_user = _TracedUser(
        user.position, user.heading, user.spacing, jax.device_put(np.float64(user.antennas))
    )
    return LocalizationScene(
        BaseStation(base_station.position, traced_array, base_station.power),
        PassiveSurface(
            surface.position,
            traced_panel,
            surface.reflection,
            surface.alignment,
            surface.data,
            surface.element_area,
        ),
        traced_user,
        scene.link,
        scene.frame,
    )
