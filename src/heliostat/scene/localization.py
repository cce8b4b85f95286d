"""Scene of the localization system: base station, surfaces, user and link, in SI units."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from heliostat.channel.path_loss import PathLossLaw
from heliostat.geometry.arrays import LinearArray, PlanarArray
from heliostat.geometry.frames import Scalar, Vector, travel
from heliostat.surface.passive import (
    Configurations,
    Focused,
    Phased,
    Steered,
    best_quantized,
    quantized,
    steered_phases,
)
from heliostat.surface.spherical import focused_phases


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
    gain: Complex[Array, ""]  # of the path, without path loss, h_1; 0 if the path is blocked
    code: Float[Array, "sign"]  # signs with which each configuration of the alignment is repeated
    spherical: bool = eqx.field(static=True, default=False)  # exact distances for each element


class DirectPath(eqx.Module):
    """The path from base station to user without a surface."""

    attenuation: Scalar  # an amplitude, times the roots of both antennas' gains
    gain: Complex[Array, ""]  # without path loss; 0 if the path is blocked


class User(eqx.Module):
    """A user with a horizontal linear array, rotated by its heading."""

    position: Vector  # [m]
    heading: Scalar  # [rad], see `frames.user_axis`
    spacing: Scalar  # [wavelengths]
    antennas: int = eqx.field(static=True)


class Link(eqx.Module):
    """Carrier, noise, path loss, and knowledge of the receiver about gains and clock."""

    wavelength: Scalar  # [m]
    bandwidth: Scalar  # [Hz]
    noise_density: Scalar  # N0 [W/Hz]
    attenuation: Scalar  # zeta, an amplitude, times the roots of both antennas' gains
    path_loss: PathLossLaw = eqx.field(static=True)  # amplitude of one element
    gain_known: bool = eqx.field(static=True)  # the receiver knows all gains, phases included
    clock_known: bool = eqx.field(static=True)  # both ends share one clock


class Frame(eqx.Module):
    """Durations in one communication period."""

    pilot: Scalar  # T_s [s]
    optimization: Scalar  # T_o [s]
    period: Scalar  # T_c [s]


class LocalizationScene(eqx.Module):
    """Everything that a bound, a rate or a simulation of the localization system depends on."""

    base_station: BaseStation
    surfaces: tuple[PassiveSurface, ...]
    user: User
    link: Link
    frame: Frame
    direct: DirectPath | None = None

    @property
    def surface(self) -> PassiveSurface:
        """The first surface, or the only one; methods that need a surface use this one."""
        return self.surfaces[0]

    @property
    def single_path(self) -> bool:
        """Whether the only path is that through one surface with plane waves."""
        return len(self.surfaces) == 1 and self.direct is None and not self.surface.spherical

    def through(self, index: int) -> "LocalizationScene":
        """Return the scene with only one of its surfaces and without the direct path.

        Args:
            index: Index of the surface.
        """
        return LocalizationScene(
            self.base_station, (self.surfaces[index],), self.user, self.link, self.frame
        )

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
        _, bs_to_irs = travel(self.base_station.position, self.reflection_point())
        area = self.surface.element_area
        amplitude = self.link.path_loss(bs_to_irs, irs_to_user, self.link.wavelength, area)
        return self.link.attenuation * jnp.asarray(amplitude, dtype=float)

    def amplitude_and_decay(self, irs_to_user: Scalar) -> tuple[Scalar, Scalar]:
        """`path_amplitude` and the derivative of its logarithm. [1], [1/m]

        Args:
            irs_to_user: Distance from surface to user. [m]
        """
        amplitude, slope = jax.value_and_grad(self.path_amplitude)(irs_to_user)
        return amplitude, slope / amplitude

    def reflection_point(self) -> Vector:
        """Point of the surface to which path lengths and directions refer. [m]

        The first element for plane waves, as in the localization paper, the center for spherical
        waves.
        """
        surface = self.surface
        if not surface.spherical:
            return surface.position
        return surface.position + surface.array.centre_offset(self.link.wavelength)

    def with_user(self, position: Vector, heading: Scalar) -> "LocalizationScene":
        """The same scene with the user at another pose and unchanged configurations."""
        return eqx.tree_at(lambda s: (s.user.position, s.user.heading), self, (position, heading))

    def gains(self) -> Complex[Array, "path"]:
        """Gain of each path without path loss, the direct path first if there is one. [1]"""
        direct = [] if self.direct is None else [self.direct.gain]
        return jnp.stack(direct + [surface.gain for surface in self.surfaces])

    def with_gains(self, gains: Complex[Array, "path"]) -> "LocalizationScene":
        """The same scene with other gains.

        Args:
            gains: Gain of each path, as from `gains`. [1]
        """

        def where(scene: Any) -> list[Any]:
            direct = [] if scene.direct is None else [scene.direct.gain]
            return direct + [surface.gain for surface in scene.surfaces]

        return eqx.tree_at(where, self, list(gains))

    def focused(
        self, alignment: Vector | None = None, data: Vector | None = None
    ) -> "LocalizationScene":
        """The same scene with all surfaces pointed at other positions in their two stages.

        Args:
            alignment: Focus in the beam-alignment stage; None leaves it. [m]
            data: Focus in the data stage; None leaves it. [m]

        Raises:
            TypeError: A surface is not steered but set by phases.
        """
        surfaces = []
        for i, surface in enumerate(self.surfaces):
            stages = [getattr(surface, stage) for stage in ("alignment", "data")]
            for stage, position in enumerate((alignment, data)):
                if position is not None:
                    stages[stage] = self.through(i).pointed(stages[stage], position)
            surfaces.append(eqx.tree_at(lambda s: (s.alignment, s.data), surface, tuple(stages)))
        return eqx.tree_at(lambda s: s.surfaces, self, tuple(surfaces))

    def pointed(self, configurations: Configurations, position: Vector) -> Configurations:
        """Configurations of the first surface, pointed at another position.

        Args:
            configurations: Steered or focused configurations.
            position: The position. [m]

        Raises:
            TypeError: The configurations are set by phases.
        """
        if isinstance(configurations, Steered):
            return Steered(self.departure(position), configurations.offset)
        if isinstance(configurations, Focused):
            return Focused(position, configurations.offset)
        raise TypeError("Only a steered surface can be focused; this one is set by phases.")

    def quantized(self, bits: int) -> "LocalizationScene":
        """The same scene with quantized surface phases.

        Steered and focused configurations get the quantized phases with the largest response where
        they are steered to, given phases are rounded.

        Args:
            bits: Bits of phase resolution.
        """

        def rounded(each: Configurations) -> Phased:
            exact = self.phases(each)
            if isinstance(each, Phased):
                return Phased(quantized(exact, bits))
            return Phased(jax.vmap(lambda phase: best_quantized(phase, bits))(exact))

        stages = self.surface.alignment, self.surface.data
        return eqx.tree_at(
            lambda s: (s.surface.alignment, s.surface.data), self, tuple(map(rounded, stages))
        )

    def phases(self, configurations: Configurations) -> Float[Array, "config element"]:
        """Phases of each element, not wrapped. [rad]

        Args:
            configurations: Configurations of the surface.
        """
        surface = self.surface
        if isinstance(configurations, Steered):
            return steered_phases(surface.array, self.arrival(), configurations)
        if isinstance(configurations, Focused):
            return focused_phases(
                surface.array,
                self.link.wavelength,
                self.base_station.position,
                configurations,
                self.reflection_point(),
            )
        return configurations.phase


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
        scene: The scene. One with several paths, or whose surface is set by phases, is returned as
            it is, as its paths or phases have such an axis.
    """
    surface, base_station, user = scene.surface, scene.base_station, scene.user
    if not (
        scene.single_path
        and isinstance(surface.alignment, Steered)
        and isinstance(surface.data, Steered)
    ):
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
        (
            PassiveSurface(
                surface.position,
                traced_panel,
                surface.reflection,
                surface.alignment,
                surface.data,
                surface.element_area,
                surface.gain,
                surface.code,
            ),
        ),
        traced_user,
        scene.link,
        scene.frame,
    )
