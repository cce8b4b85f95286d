"""Sensing scenario: conditions that involve several keys, warnings, building the scene."""

import math
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from heliostat.scenario.errors import Clash
from heliostat.scenario.fields import write_vector
from heliostat.scenario.grating_lobes import array_warning, panel_warning
from heliostat.scenario.link_budget import (
    TOLERANCE_IMPORTED,
    LinkBudget,
    free_space_gain,
    radar_gain,
)
from heliostat.scenario.panels import ANGLES, VECTORS, clash_of_axes, high_element_gain, near_field
from heliostat.scenario.sensing.schema import SensingSections
from heliostat.surface.own_noise import radiated_noise
from heliostat.units import format_quantity, quote

if TYPE_CHECKING:
    import jaxtyping

    import heliostat.channel.imported
    import heliostat.scene.sensing

    Imported: TypeAlias = heliostat.channel.imported.ImportedChannels | None


REMEDY = {
    "reference_loss": "remove link.reference_loss; gains of antennas and elements have their own "
    "keys, antenna_gain and element_gain",
    "exponent": "write a link.exponent of at least 2",
}
"""Remedies for path-loss laws that exceed free space, by the key that causes this."""


RANK_ONE = 1e-2
"""Share of a channel's power outside its strongest singular vector below which the channel counts
as rank one. With one pattern the bounds of both angles are inversely proportional to this share."""


def _scattered_share(channel: np.ndarray) -> float:
    """Share of the power of a matrix outside its strongest singular vector. [1]"""
    power = float(np.sum(np.abs(channel) ** 2))
    if power == 0:
        return 0.0
    vector = channel[np.argmax(np.sum(np.abs(channel) ** 2, axis=1))].conj()
    for _ in range(20):  # power iteration, enough to tell a dominant direction
        vector = channel.conj().T @ (channel @ vector)
        vector /= np.linalg.norm(vector)
    return max(0.0, 1 - float(np.sum(np.abs(channel @ vector) ** 2)) / power)


class SensingScenario(SensingSections):
    """Base station that senses a target through several surfaces, one after the other."""

    def build(
        self, key: "jaxtyping.PRNGKeyArray | None" = None
    ) -> "heliostat.scene.sensing.SensingScene":
        """Build the scene that the equations use, in SI units and double precision.

        Args:
            key: Random key of channels and phases of the target's gains; default ``link.seed``.

        Raises:
            ScenarioError: The channel file was removed or changed since the scenario was loaded.
        """
        # Checking a scenario does not need JAX.
        from heliostat.scenario.sensing.build import sensing_scene  # noqa: PLC0415

        return sensing_scene(self, key)

    def clashes(self) -> Iterator[Clash]:
        """Yield violated conditions on geometry, powers, channels and durations."""
        yield from self._clashes_of_places()
        yield from self._clashes_of_powers()
        yield from self._clashes_of_channels()
        surfaces, dwell = len(self.surfaces), self.dwell
        least = surfaces * dwell.patterns
        if dwell.symbols < least:
            yield Clash(
                "dwell.symbols",
                ("dwell.patterns", "surfaces"),
                f"{dwell.symbols} is too few for {surfaces} surfaces with {dwell.patterns} "
                f"patterns each; write at least {least}",
            )

    def _clashes_of_places(self) -> Iterator[Clash]:
        ends = {
            "base_station.position": self.base_station.position,
            "target.position": self.target.position,
        }
        if math.dist(*ends.values()) < 1e-6:
            yield Clash(
                "target.position",
                ("base_station.position",),
                f"{write_vector(self.target.position)} is also the position of the base "
                "station; move one of them",
            )
        on_a_surface = {
            end
            for end, there in ends.items()
            if any(math.dist(there, surface.position) < 1e-6 for surface in self.surfaces)
        }
        for i, surface in enumerate(self.surfaces):
            name, place = f"surfaces.{i}", surface.position
            if crooked := clash_of_axes(surface, name):
                yield crooked
            axes = [f"{name}.{key}" for key in (*ANGLES, *VECTORS)]
            turn = f"turn it with {name}.{surface.turned_by}"
            for end, there in ends.items():
                offset = np.subtract(there, place)
                distance = float(np.linalg.norm(offset))
                owner = "the base station" if end.startswith("base") else "the target"
                if distance < 1e-6:
                    yield Clash(
                        f"{name}.position",
                        (end,),
                        f"{write_vector(place)} is also the position of {owner}; move one of them",
                    )
                elif (
                    crooked is None
                    and end not in on_a_surface  # one problem is enough
                    and np.dot(offset, surface.facing) <= 1e-9 * distance
                ):
                    yield Clash(
                        f"{name}.position",
                        (end, *axes),
                        f"the surface at {write_vector(place)} with the normal "
                        f"{write_vector(surface.facing)} faces away from {owner} at "
                        f"{write_vector(there)}; move it, or {turn}",
                    )
        for (i, one), (j, other) in combinations(enumerate(self.surfaces), 2):
            if math.dist(one.position, other.position) < 1e-6:
                yield Clash(
                    f"surfaces.{j}.position",
                    (f"surfaces.{i}.position",),
                    f"{write_vector(other.position)} is also the position of surfaces.{i}; "
                    "move one of them",
                )

    def _clashes_of_powers(self) -> Iterator[Clash]:
        """Check that each surface is active, with power and noise, or passive, with neither."""
        for i, surface in enumerate(self.surfaces):
            name = f"surfaces.{i}"
            amplification, power, noise = (
                f"{name}.{key}" for key in ("amplification", "power", "noise")
            )
            lacks = "missing; an active surface has both power and noise, a passive one neither"
            if surface.power is None and surface.noise is not None:
                yield Clash(power, (noise,), f"{lacks}; add e.g. power: 0.1 W")
            elif surface.noise is None and surface.power is not None:
                yield Clash(noise, (power,), f"{lacks}; add e.g. noise: -80 dBm")
            elif surface.passive and surface.amplification != 1:
                yield Clash(
                    amplification,
                    (power, noise),
                    f"{surface.amplification:g} needs an active surface, and this one is passive "
                    "without power and noise; add e.g. power: 0.1 W and noise: -80 dBm, "
                    "or write 1",
                )

    def _clashes_of_channels(self) -> Iterator[Clash]:
        link, antennas = self.link, self.base_station.antennas
        elements = self.elements
        if sum(elements) * antennas > 10**7:
            largest = elements.index(max(elements))
            yield Clash(
                f"surfaces.{largest}.rows",
                ("surfaces", "base_station.antennas"),
                f"{sum(elements)} elements times {antennas} antennas are too many channels; use "
                f"at most {10**7} in total",
            )
            return
        gain_power = None
        if link.channels is None:
            if link.rician is None:
                yield Clash(
                    "link.rician",
                    ("link.channels",),
                    "missing; add e.g. rician: 5 dB to draw channels, or channels: file.npz",
                )
        else:
            try:
                gain = link.imported(self.folder, elements, antennas).target_gain
            except ValueError as error:
                yield Clash("link.channels", ("surfaces", "base_station.antennas"), str(error))
                return
            gain_power = None if gain is None else np.abs(np.asarray(gain)) ** 2
        for i, surface in enumerate(self.surfaces):
            if surface.power is None or surface.noise is None:
                continue
            if math.dist(surface.position, self.target.position) < 1e-6:
                continue  # reported by another check
            own = self._own_noise(i, None if gain_power is None else float(gain_power[i]))
            if surface.power <= own:
                name = f"surfaces.{i}"
                keys = (
                    *("position", "rows", "columns", "spacing", "amplification", "noise"),
                    "element_gain",
                )
                yield Clash(
                    f"{name}.power",
                    (*(f"{name}.{key}" for key in keys), "carrier", "target", "link"),
                    f"{format_quantity(surface.power, 'power')} is not more than the surface's own "
                    "noise, amplified in both passes; write at least "
                    f"{format_quantity(1.005 * own, 'power')}, or lower {name}.amplification",
                )

    def _own_noise(self, index: int, gain_power: float | None) -> float:
        r"""Noise power that a surface radiates at full amplification, without any signal. [W]

        Args:
            index: Index of the surface.
            gain_power: :math:`|\beta|^2`; None for the radar equation. [1]
        """
        surface, target = self.surfaces[index], self.target
        if gain_power is None:
            distance = math.dist(surface.position, target.position)
            gain_power = radar_gain(
                self.reference_loss, target.cross_section, distance, surface.gain
            )
        gain = surface.elements * surface.amplification**2
        return float(sum(radiated_noise(gain, gain_power, surface.noise or 0.0)))

    def _warnings(self) -> list[str]:
        imported = self._imported()
        warnings = [
            *self._far_field_warnings(),
            *self._link_budget_warnings(imported),
            *self._grating_lobe_warnings(),
            *self._identifiability_warnings(imported),
        ]
        if self.link.channels is not None:
            unused = [k for k in ("rician", "exponent") if getattr(self.link, k) is not None]
            if unused:
                keys = " and ".join(f"link.{key}" for key in unused)
                verb = "has" if len(unused) == 1 else "have"
                warnings.append(
                    f"Channels: {keys} {verb} no effect on the channels of "
                    f"{quote(self.link.channels)}."
                )
        dwell, shares = self.dwell, len(self.surfaces) * self.dwell.patterns
        if dwell.symbols % shares:
            warnings.append(
                f"Dwell: {dwell.symbols} symbols do not divide into {shares} equal shares, one for "
                "each surface and pattern; bounds use the fractional number of symbols."
            )
        if dwell.min_snr == "none":
            warnings.append(
                "Minimum SNR: dwell.min_snr is none, as in the sensing paper; designs may have an "
                "echo so weak that no estimator attains the bound. For planning, remove the key."
            )
        return warnings

    def _far_field_warnings(self) -> Iterator[str]:
        """Yield warnings about links within the Fraunhofer distance of an aperture.

        Imported channels may contain any wavefront, so only the path to the target counts there.
        """
        station, wavelength = self.base_station, self.wavelength
        array = wavelength * station.antennas * station.spacing
        for i, surface in enumerate(self.surfaces):
            name, panel = f"surfaces.{i}", surface.diagonal(wavelength)
            arriving = math.dist(station.position, surface.position)
            leaving = math.dist(surface.position, self.target.position)
            hops = [
                (f"base station to {name}", arriving, "the surface", panel),
                (f"base station to {name}", arriving, "the base station's array", array),
                (f"{name} to target", leaving, "the surface", panel),
            ]
            for hop, distance, owner, aperture in hops[2 if self.link.channels else 0 :]:
                if near := near_field(hop, distance, owner, aperture, wavelength):
                    yield near

    def _link_budget_warnings(self, imported: "Imported") -> Iterator[str]:
        """Yield warnings about gains that free space does not allow, for the worst of the paths."""
        for i, surface in enumerate(self.surfaces):
            if high := high_element_gain(surface, f"surfaces.{i}"):
                yield high
        for paths in (self._paths_to_surfaces(imported), self._paths_to_target(imported)):
            # Rounded, so that the first of equal paths is named.
            worst = max(paths, key=lambda path: round(path.gain / path.allowed, 6))
            if warning := worst.warning():
                yield warning

    def _paths_to_surfaces(self, imported: "Imported") -> list[LinkBudget]:
        """Paths between an antenna of the base station and an element of each surface."""
        station, wavelength = self.base_station, self.wavelength
        high = self.reference_loss > free_space_gain(1.0, wavelength)
        paths = []
        for i, surface in enumerate(self.surfaces):
            distance = math.dist(station.position, surface.position)
            gains = station.antenna_gain * surface.gain
            allowed = gains * free_space_gain(distance, wavelength)
            name = f"the path from the base station to surfaces.{i}"
            if imported is not None:
                found = float(np.mean(np.abs(np.asarray(imported.bs_to_irs[i])) ** 2))
                paths.append(
                    LinkBudget(name, found, allowed, self._check_file(i), TOLERANCE_IMPORTED)
                )
            else:
                found = gains * self.reference_loss / distance**self.exponent
                remedy = REMEDY["reference_loss" if high else "exponent"]
                paths.append(LinkBudget(name, found, allowed, remedy))
        return paths

    def _paths_to_target(self, imported: "Imported") -> list[LinkBudget]:
        """Paths from an element of each surface to the target and back."""
        section, wavelength = self.target.cross_section, self.wavelength
        paths = []
        for i, surface in enumerate(self.surfaces):
            distance = math.dist(surface.position, self.target.position)
            free = free_space_gain(1.0, wavelength)
            allowed = radar_gain(free, section, distance, surface.gain)
            name = f"the path from surfaces.{i} to the target and back"
            if imported is not None and imported.target_gain is not None:
                found = float(np.abs(np.asarray(imported.target_gain)[i]) ** 2)
                paths.append(
                    LinkBudget(name, found, allowed, self._check_file(i), TOLERANCE_IMPORTED)
                )
            else:
                found = radar_gain(self.reference_loss, section, distance, surface.gain)
                paths.append(LinkBudget(name, found, allowed, REMEDY["reference_loss"]))
        return paths

    def _grating_lobe_warnings(self) -> Iterator[str]:
        """Yield a warning for each surface with grating lobes, and one for the base station."""
        station = self.base_station
        for i, surface in enumerate(self.surfaces):
            leaving = np.subtract(self.target.position, surface.position)
            if lobes := panel_warning(surface, f"surfaces.{i}", leaving, "the target"):
                yield lobes
        for i, surface in enumerate(self.surfaces):
            towards = np.subtract(surface.position, station.position)
            cosine = float(np.dot(towards, station.axis) / np.linalg.norm(towards))
            name = "the base station's array"
            if lobes := array_warning(station.spacing, name, cosine, f"surfaces.{i}"):
                yield lobes
                return

    def _identifiability_warnings(self, imported: "Imported") -> Iterator[str]:
        """Yield warnings about surfaces whose echo does not determine both angles."""
        for i, surface in enumerate(self.surfaces):
            lines = [key for key in ("rows", "columns") if getattr(surface, key) == 1]
            if lines:
                yield (
                    f"Directions: surfaces.{i} has a single {lines[0][:-1]} of elements, whose "
                    "echo determines at most one of elevation and azimuth; without the other "
                    f"its bounds are infinite. Write {lines[0]}: 2 or more."
                )
        if self.dwell.patterns > 1:
            return
        scattered = self._scattered_shares(imported)
        found = [i for i, share in enumerate(scattered) if share <= RANK_ONE]
        if not found:
            return
        names = ", ".join(f"surfaces.{i}" for i in found[:3]) + (" ..." if len(found) > 3 else "")
        loss = "have no bound" if min(scattered) == 0 else "have very large bounds"
        yield (
            f"Rank one: the channel between the base station and {names} has (nearly) rank one. "
            "The echo of one reflection pattern is then one complex number, which determines only "
            f"the unknown gain of the target, so that both elevation and azimuth {loss}. Write "
            "dwell.patterns: 2 or more."
        )

    def _scattered_shares(self, imported: "Imported") -> list[float]:
        """Share of each channel's power outside its strongest singular vector, nearly. [1]"""
        if imported is not None:
            return [_scattered_share(np.asarray(channel)) for channel in imported.bs_to_irs]
        if self.base_station.antennas == 1:
            return [0.0] * len(self.surfaces)
        rician = self.link.rician or 0.0
        return [0.0 if n == 1 else 1 / (1 + rician) for n in self.elements]

    def _check_file(self, index: int) -> str:
        """Remedy for imported channels that exceed free space."""
        return (
            f"check the scale of {quote(self.link.channels)}; if it contains gains of antennas and "
            f"elements, write them as base_station.antenna_gain and surfaces.{index}.element_gain"
        )

    def _imported(self) -> "Imported":
        """Channels of the file, None without one or if it was removed or changed meanwhile."""
        if self.link.channels is None:
            return None
        try:
            return self.link.imported(self.folder, self.elements, self.base_station.antennas)
        except ValueError:
            return None
