"""Sections of a sensing scenario, with their keys and defaults."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from heliostat.scenario.base import Scenario
from heliostat.scenario.fields import (
    Count,
    Direction,
    Number,
    Position,
    Positive,
    Section,
    not_a_word,
    quantity,
    setting,
)
from heliostat.scenario.link_budget import free_space_gain
from heliostat.scenario.panels import PanelSpec
from heliostat.scenario.site import SiteSpec
from heliostat.units import SPEED_OF_LIGHT, quote

if TYPE_CHECKING:
    import heliostat.channel.imported

DEFAULT_MIN_SNR = 1e2
"""Default of ``dwell.min_snr`` with one pattern, 20 dB. [1]"""
DEFAULT_MIN_SNR_PATTERNS = 10**2.3
"""Default of ``dwell.min_snr`` with several patterns, 23 dB: side lobes cause gross errors up to a
higher SNR than with one, see ``docs/theory/sensing.md``. [1]"""


class SensingCarrierSpec(Section):
    """Carrier."""

    frequency: Annotated[float, quantity("frequency")] = setting("Carrier frequency.", "10 GHz")


class SensingBaseStationSpec(Section):
    """Base station with a linear array that transmits and receives the echoes."""

    position: Position = setting("Position of its first antenna, x, y, z in meters.", [0, 0, 0])
    antennas: Count = setting("Number of antennas.", 16)
    axis: Direction = setting("Unit vector along the array.", [0, 1, 0], (0.0, 1.0, 0.0))
    spacing: Positive = setting("Distance between neighboring antennas in wavelengths.", 0.5, 0.5)
    power: Annotated[float, quantity("power")] = setting(
        "Total transmit power of all antennas, averaged over the dwell.", "20 W"
    )
    noise: Annotated[float, quantity("power")] = setting(
        "Noise power in the bandwidth at each antenna.", "-80 dBm"
    )
    antenna_gain: Annotated[float, quantity("gain")] = setting(
        "Gain of each antenna towards the surfaces, in each direction of travel.",
        "5 dBi",
        "0 dBi",
    )


class ActiveSurfaceSpec(PanelSpec):
    """Active surface, or a passive one without power and noise and with amplification 1."""

    position: Position = setting("Position of its first element, x, y, z in meters.", [-5, 10, 0])
    rows: Count = setting("Number of rows of elements.", 4)
    columns: Count = setting("Number of columns of elements.", 4)
    amplification: Positive = setting(
        "Largest amplitude of a coefficient, applied in each pass; 1 if passive.", 8, 1.0
    )
    power: Annotated[float, quantity("power")] | None = setting(
        "Limit of the radiated power of both passes, noise included; omit if passive.",
        "0.1 W",
        None,
    )
    noise: Annotated[float, quantity("power")] | None = setting(
        "Noise power that each element adds in each pass; omit if passive.",
        "-80 dBm",
        None,
    )

    @property
    def passive(self) -> bool:
        """Whether the surface only shifts phases."""
        return self.power is None and self.noise is None


class TargetSpec(Section):
    """Point target."""

    position: Position = setting(
        "Assumed position, x, y, z in meters, for which designs and bounds are computed.",
        [5, 15, 0],
    )
    cross_section: Annotated[float, quantity("area")] = setting("Radar cross-section.", "1 m2")


def _channel_file(text: str) -> str:
    if not text.endswith((".npz", ".mat")):
        raise ValueError(f"{quote(text)} is not a channel file; write the name of a .npz or .mat")
    return text


class SensingLinkSpec(Section):
    """Channels between base station and surfaces, random or from a file."""

    rician: Annotated[float, quantity("ratio", zero=True)] | None = setting(
        "Rician factor of random channels, the ratio of specular to diffuse power.", "5 dB", None
    )
    exponent: Annotated[Number, Field(ge=0, le=10)] | None = setting(
        "Path-loss exponent of random channels; default 2, free space.", 2.2, None
    )
    reference_loss: Annotated[float, quantity("ratio")] | None = setting(
        "Path gain at one meter between isotropic antennas, for random channels and for the path "
        "from the target back; default free space at the carrier, (wavelength / 4 pi)^2.",
        "-52.4 dB",
        None,
    )
    seed: Annotated[int, Field(ge=0, lt=2**32), BeforeValidator(not_a_word)] = setting(
        "Seed of the channels and of the target's gain phases, unless a key is passed.", 0, 0
    )
    channels: Annotated[str, AfterValidator(_channel_file)] | None = setting(
        "Instead of rician: a .npz or .mat file with bs_to_irs, complex [surface, element, "
        "antenna], the horizontal index fastest, and optionally target_gain, complex [surface]; "
        "looked for next to the scenario file, then in the working folder.",
        "channels.npz",
        None,
    )

    def imported(
        self, folder: Path, elements: Sequence[int], antennas: int
    ) -> "heliostat.channel.imported.ImportedChannels":
        """Channels from the file.

        Args:
            folder: Folder that is searched before the working folder.
            elements: Number of elements of each surface.
            antennas: Number of antennas of the base station.

        Raises:
            ValueError: The file does not exist or has no such channels.
        """
        # Only scenarios with a channel file need JAX for their checks.
        from heliostat.channel.imported import read_channels  # noqa: PLC0415

        assert self.channels is not None
        name = quote(self.channels)
        found = [p for p in (folder / self.channels, Path(self.channels)) if os.path.isfile(p)]
        if not found:
            raise ValueError(
                f"{name} is neither next to the scenario file nor in the working folder; "
                "write the path of a .npz or .mat file, or remove channels and add rician"
            )
        try:
            if self.channels.endswith(".npz") and not zipfile.is_zipfile(found[0]):
                raise OSError("no archive")  # NumPy would leave a damaged one open
            return read_channels(found[0], elements, antennas)
        except Exception as error:  # a damaged file may raise anything
            reason = str(error).rstrip(".")
            if isinstance(error, ValueError) and reason.startswith(found[0].name):
                raise ValueError(reason) from error
            raise ValueError(
                f"{name} cannot be read as arrays of numbers; write it with numpy.savez or, in "
                "MATLAB, with save and '-v7'"
            ) from error


class DwellSpec(Section):
    """Dwell, and the minimum SNR of designs."""

    symbols: Count = setting(
        "Number of symbols in the dwell, divided equally among the surfaces.", 100
    )
    patterns: Count = setting(
        "Number of reflection patterns of each surface in its part of the dwell.", 1, 1
    )
    min_snr: Annotated[float | Literal["none"], quantity("ratio", word="none")] | None = setting(
        "Minimum SNR of the matched filter's output at each surface, a constraint of designs "
        "so that estimators attain the bounds; default 20 dB with one pattern, 23 dB with "
        "several; none for the criterion of the sensing paper.",
        "20 dB",
        None,
    )

    @property
    def required_snr(self) -> float:
        """Minimum SNR of the matched filter's output, linear; 0 for none. [1]"""
        if self.min_snr is None:
            return DEFAULT_MIN_SNR if self.patterns == 1 else DEFAULT_MIN_SNR_PATTERNS
        return self.min_snr if isinstance(self.min_snr, float) else 0.0


class SensingSections(Scenario):
    """Sections of a sensing scenario, and values derived from them."""

    system: Literal["sensing"] = setting("System that the scenario describes.", "sensing")
    carrier: SensingCarrierSpec
    base_station: SensingBaseStationSpec
    surfaces: Annotated[tuple[ActiveSurfaceSpec, ...], Field(min_length=1, max_length=1024)] = (
        setting("One entry for each surface.", [{"position": [-5, 10, 0], "rows": 4, "columns": 4}])
    )
    target: TargetSpec
    link: SensingLinkSpec = setting(
        "Channels between base station and surfaces.", {"rician": "5 dB"}
    )
    dwell: DwellSpec
    site: SiteSpec = SiteSpec()

    @property
    def wavelength(self) -> float:
        """Wavelength of the carrier. [m]"""
        return SPEED_OF_LIGHT / self.carrier.frequency

    @property
    def reference_loss(self) -> float:
        """Path gain at one meter between isotropic antennas; default free space. [1]"""
        written = self.link.reference_loss
        return free_space_gain(1.0, self.wavelength) if written is None else written

    @property
    def exponent(self) -> float:
        """Path-loss exponent of random channels; default 2, free space. [1]"""
        return 2.0 if self.link.exponent is None else self.link.exponent

    @property
    def elements(self) -> tuple[int, ...]:
        """Number of elements of each surface."""
        return tuple(surface.elements for surface in self.surfaces)
