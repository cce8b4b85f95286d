"""The sensing system: what of its scenario clashes, what is strained, and how it is built."""

import math
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from heliostat.scenario.errors import Clash
from heliostat.scenario.fields import write_vector
from heliostat.scenario.panels import clash_of_axes, near_field
from heliostat.scenario.sensing.schema import SensingSections
from heliostat.units import format_quantity, quote

if TYPE_CHECKING:
    import jaxtyping

    import heliostat.scene.sensing


class SensingScenario(SensingSections):
    """A base station that looks for a target through several surfaces, one after the other."""

    def build(
        self, key: "jaxtyping.PRNGKeyArray | None" = None
    ) -> "heliostat.scene.sensing.SensingScene":
        """The scene that the equations see, in SI units and double precision.

        Args:
            key: For the channels and the phases of the target's gain; default ``link.seed``.

        Raises:
            ScenarioError: The file of channels is no longer what it was when the scenario was
                read.
        """
        # Checking a scenario must not wait for JAX.
        from heliostat.scenario.sensing.build import sensing_scene  # noqa: PLC0415

        return sensing_scene(self, key)

    def clashes(self) -> Iterator[Clash]:
        """Geometry, powers, channels and durations that cannot be."""
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
                f"{write_vector(self.target.position)} is where the base station is; move one of "
                "them",
            )
        for i, surface in enumerate(self.surfaces):
            name, place = f"surfaces.{i}", surface.position
            if crooked := clash_of_axes(surface, name):
                yield crooked
            axes = (f"{name}.horizontal", f"{name}.vertical", f"{name}.normal")
            for end, there in ends.items():
                offset = np.subtract(there, place)
                distance = float(np.linalg.norm(offset))
                owner = "the base station" if end.startswith("base") else "the target"
                if distance < 1e-6:
                    yield Clash(
                        f"{name}.position",
                        (end,),
                        f"{write_vector(place)} is where {owner} is; move one of them",
                    )
                elif crooked is None and np.dot(offset, surface.facing) <= 1e-9 * distance:
                    yield Clash(
                        f"{name}.position",
                        (end, *axes),
                        f"at {write_vector(place)} the surface turns its back to {owner} at "
                        f"{write_vector(there)}, its normal being {write_vector(surface.facing)}; "
                        f"move it, or turn it with {name}.horizontal",
                    )
        for (i, one), (j, other) in combinations(enumerate(self.surfaces), 2):
            if math.dist(one.position, other.position) < 1e-6:
                yield Clash(
                    f"surfaces.{j}.position",
                    (f"surfaces.{i}.position",),
                    f"{write_vector(other.position)} is where surfaces.{i} is; move one of them",
                )

    def _clashes_of_powers(self) -> Iterator[Clash]:
        """A surface is active, with power and noise, or passive, with neither."""
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
                    f"{surface.amplification:g} takes an active surface, this one has neither "
                    "power nor noise and so is passive; add e.g. power: 0.1 W and noise: -80 dBm, "
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
                f"{sum(elements)} elements times {antennas} antennas are too many channels; have "
                f"at most {10**7} in all",
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
            for name in ("rician", "exponent"):
                if getattr(link, name) is not None:
                    yield Clash(
                        f"link.{name}",
                        ("link.channels",),
                        f"has no effect on the channels of {quote(link.channels)}; leave one out",
                    )
            try:
                gain = link.imported(self.folder, elements, antennas).target_gain
            except ValueError as error:
                yield Clash("link.channels", ("surfaces", "base_station.antennas"), str(error))
                return
            gain_power = None if gain is None else np.abs(np.asarray(gain)) ** 2
        for i, surface in enumerate(self.surfaces):
            if surface.power is None or surface.noise is None:
                continue
            own = self._own_noise(i, None if gain_power is None else float(gain_power[i]))
            if surface.power <= own:
                name = f"surfaces.{i}"
                keys = ("position", "rows", "columns", "amplification", "noise")
                yield Clash(
                    f"{name}.power",
                    (*(f"{name}.{key}" for key in keys), "target", "link"),
                    f"{format_quantity(surface.power, 'power')} is no more than the surface's own "
                    "noise, amplified in both passes; write at least "
                    f"{format_quantity(1.005 * own, 'power')}, or lower {name}.amplification",
                )

    def _own_noise(self, index: int, gain_power: float | None) -> float:
        r"""What a surface radiates at full amplification without any signal. [W]

        The second and fourth term of paper eq. (7), in plain numbers; |β|² is by default
        K0 σ / (4π d⁴).
        """
        surface, target = self.surfaces[index], self.target
        distance = math.dist(surface.position, target.position)
        if gain_power is None:
            # Two places may coincide: that is told elsewhere.
            reach = self.link.reference_loss * target.cross_section / (4 * math.pi)
            gain_power = reach / max(distance, 1e-6) ** 4
        gain = surface.elements * surface.amplification**2
        return (surface.noise or 0.0) * gain * (2 + gain_power * gain)

    def warnings(self) -> list[str]:
        """Assumptions of the model that this scenario strains, a sentence each."""
        station, wavelength, warnings = self.base_station, self.wavelength, []
        array = wavelength * station.antennas * station.spacing
        for i, surface in enumerate(self.surfaces):
            name, panel = f"surfaces.{i}", surface.diagonal(wavelength)
            arriving = math.dist(station.position, surface.position)
            leaving = math.dist(surface.position, self.target.position)
            for hop, distance, owner, aperture in (
                (f"base station to {name}", arriving, "the surface", panel),
                (f"base station to {name}", arriving, "the base station's array", array),
                (f"{name} to target", leaving, "the surface", panel),
            ):
                if near := near_field(hop, distance, owner, aperture, wavelength):
                    warnings.append(near)
        dwell, shares = self.dwell, len(self.surfaces) * self.dwell.patterns
        if dwell.symbols % shares:
            warnings.append(
                f"Dwell: {dwell.symbols} symbols do not divide into {shares} equal shares, one for "
                "each surface and pattern; bounds take a part of a symbol as it is."
            )
        if dwell.min_snr == "none":
            warnings.append(
                "Least SNR: none is the sensing paper's own criterion; a design by it may leave "
                "the target in the dark, where no estimator reaches the bound. For planning, "
                "leave the key out."
            )
        return warnings
