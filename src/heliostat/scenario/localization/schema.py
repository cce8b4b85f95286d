"""What a localization scenario is made of: its sections, each with its keys and defaults."""

import io
import os
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, StrictBool

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
from heliostat.scenario.panels import PanelSpec
from heliostat.units import SPEED_OF_LIGHT, quote

DEFAULT_STEERING = (1.0, 1.4)
"""Steering of the default sweep off the focus along columns and rows, in 1/columns and 1/rows for
elements half a wavelength apart. Equal steps are ambiguous, see docs/theory/localization.md."""


class CarrierSpec(Section):
    """The radio wave."""

    frequency: Annotated[float, quantity("frequency")] = setting("Carrier frequency.", "60 GHz")
    bandwidth: Annotated[float, quantity("frequency")] = setting(
        "Bandwidth of the signal.", "100 MHz"
    )


class BaseStationSpec(Section):
    """The base station and its linear array."""

    position: Position = setting("Where it stands, x, y, z in metres.", [0, 0, 40])
    antennas: Count = setting("Number of antennas.", 32)
    power: Annotated[float, quantity("power")] = setting(
        "Transmit power, in total over the active antennas.", "27 dBm"
    )
    axis: Direction = setting("Unit vector along its array.", [1, 0, 0], (1.0, 0.0, 0.0))
    spacing: Positive = setting("Distance of neighbouring antennas in wavelengths.", 0.5, 0.5)


def _phase_source(text: str) -> str:
    if text not in ("designed", "random") and not text.endswith(".npy"):
        raise ValueError(f"{quote(text)} is unknown; write designed, random or a file.npy")
    return text


class SurfaceSpec(PanelSpec):
    """The passive surface."""

    reflection: Annotated[Positive, Field(le=1)] = setting(
        "Amplitude that an element reflects, at most 1.", 1.0, 1.0
    )
    phases: Annotated[str, AfterValidator(_phase_source)] = setting(
        "designed, random, or a .npy file of radians, [element] or [configuration, element], the "
        "horizontal index fastest; sought beside the scenario file, then in the working folder.",
        "designed",
        "designed",
    )
    bits: Annotated[int, Field(ge=1, le=8), BeforeValidator(not_a_word)] | None = setting(
        "Bits of phase resolution; left out, phases are continuous.", 2, None
    )
    focus: Position | None = setting(
        "Where designed phases steer in both stages, x, y, z in metres; default the user.",
        [20, 40, 0],
        None,
    )
    sweep: Annotated[tuple[tuple[Number, Number], ...], Field(min_length=1, max_length=4096)] | (
        None
    ) = setting(
        "Configurations of the beam-alignment stage, one each: how far it is steered off the "
        "focus (along columns, along rows), in units of 1/columns and 1/rows of a direction "
        "cosine. Default [[0, 0]] when model.gain is known, else four around the focus, farther "
        "off along rows than along columns, so that no two directions give the same response.",
        [[1.0, 0], [-1.0, 0], [0, 1.4], [0, -1.4]],
        None,
    )

    def listed_phases(self, folder: Path) -> np.ndarray | None:
        """Phases of all configurations, [config, element], or None if they are in no file. [rad]

        Args:
            folder: Where a file is looked for first, before the working folder.

        Raises:
            ValueError: There is no such file, or it holds other things.
        """
        if self.phases in ("designed", "random"):
            return None
        name, elements = quote(self.phases), self.rows * self.columns
        found = [p for p in (folder / self.phases, Path(self.phases)) if os.path.isfile(p)]
        if not found:
            raise ValueError(
                f"{name} is neither beside the scenario file nor in the working folder; "
                "write the path of a .npy file, or designed"
            )
        try:
            phases = np.load(io.BytesIO(found[0].read_bytes()), allow_pickle=False)
            shape, kind = phases.shape, phases.dtype.kind
        except Exception as error:  # a damaged file may fail in any way
            raise ValueError(
                f"{name} cannot be read as an array; write it with numpy.save"
            ) from error
        if kind not in "fiu":
            raise ValueError(f"{name} holds no real numbers; store phases in radians")
        rows = np.atleast_2d(phases).astype(float)
        if rows.ndim != 2 or rows.shape[1] != elements or len(rows) == 0:
            raise ValueError(
                f"{name} has the shape {list(shape)}; store [{elements}] phases, rows x columns "
                f"of the surface, or [configurations, {elements}]"
            )
        if not np.isfinite(rows).all():
            raise ValueError(f"{name} holds nan or inf; store finite phases in radians")
        return rows


class UserSpec(Section):
    """The user and its linear array, which lies level."""

    position: Position = setting("Where it is, x, y, z in metres.", [20, 40, 0])
    heading: Annotated[float, quantity("angle", signed=True)] = setting(
        "How far its array is turned clockwise from the x axis, seen from above.", "45 deg"
    )
    antennas: Count = setting("Number of antennas.", 32)
    spacing: Positive = setting("Distance of neighbouring antennas in wavelengths.", 0.5, 0.5)


class LinkSpec(Section):
    """Noise and gain of the link through the surface."""

    noise: Annotated[float, quantity("power")] = setting(
        "Noise power over the bandwidth, at the user.", "-80 dBm"
    )
    attenuation: Positive = setting("Further amplitude factor of the link, 1 for none.", 1.0, 1.0)
    gain_phase: Annotated[
        float | Literal["random"], quantity("angle", signed=True, word="random")
    ] = setting("Phase of the complex gain: an angle, or random.", "random", "random")
    path_loss: Literal["product", "sum_distance"] = setting(
        "Path-loss law: product is what an element scatters, for planning; sum_distance is the "
        "localization paper's, for its reproduction.",
        "product",
        "product",
    )
    seed: Annotated[int, Field(ge=0, lt=2**32), BeforeValidator(not_a_word)] = setting(
        "Seed of random gain and surface phases, unless a key is passed.", 0, 0
    )


class FrameSpec(Section):
    """How long the stages of a period last."""

    pilot: Annotated[float, quantity("time")] = setting("Duration of one pilot.", "67 us")
    optimization: Annotated[float, quantity("time", zero=True)] = setting(
        "Duration of the optimization stage.", "1 ms"
    )
    period: Annotated[float, quantity("time")] | None = setting(
        "Duration of a period; default the pilots of all antennas plus the optimization.",
        "20 ms",
        None,
    )


class ModelSpec(Section):
    """What the receiver knows, and which form of the equations is meant."""

    gain: Literal["known", "unknown"] = setting(
        "Whether the user knows the complex gain of the link, phase included.",
        "unknown",
        "unknown",
    )
    clock: Literal["synchronized", "unknown"] = setting(
        "Whether base station and user share one clock.", "synchronized", "synchronized"
    )
    as_printed: StrictBool = setting(
        "The localization paper's equations as printed, errors included, for comparison only.",
        False,
        False,
    )


class ErrorsSpec(Section):
    """What estimates are off by, and how far the user moves."""

    position: Annotated[float, quantity("length", zero=True)] = setting(
        "Radius of the disc that a position estimate falls in.", "7 m", "0 m"
    )
    heading: Annotated[float, quantity("angle", zero=True)] = setting(
        "Largest error of a heading estimate, to either side.", "30 deg", "0 deg"
    )
    mobility: Annotated[float, quantity("length", zero=True)] = setting(
        "Radius of the disc that the user moves in from period to period.", "7 m", "0 m"
    )
    gain_variance: Annotated[Number, Field(ge=0)] = setting(
        "Variance of the error of the path gain, both real dimensions together.", 0.0, 0.0
    )


class LocalizationSections(Scenario):
    """The sections of a localization scenario, and what follows from them where it is left out."""

    system: Literal["localization"] = setting("Which system this describes.", "localization")
    carrier: CarrierSpec
    base_station: BaseStationSpec
    surface: SurfaceSpec
    user: UserSpec
    link: LinkSpec
    frame: FrameSpec
    model: ModelSpec = ModelSpec()
    errors: ErrorsSpec = ErrorsSpec()

    @property
    def wavelength(self) -> float:
        """Wavelength of the carrier. [m]"""
        return SPEED_OF_LIGHT / self.carrier.frequency

    @property
    def period(self) -> float:
        """Duration of a period; the default holds the pilots of all antennas. [s]"""
        if self.frame.period is not None:
            return self.frame.period
        pilots = self.base_station.antennas * self.user.antennas
        return pilots * self.frame.pilot + self.frame.optimization

    @property
    def sweep(self) -> tuple[tuple[float, float], ...]:
        """Steering off the focus in beam alignment, in 1/columns and 1/rows, one row each. [1]"""
        if self.surface.sweep is not None:
            return self.surface.sweep
        if self.model.gain == "known":
            return ((0.0, 0.0),)
        across, up = (DEFAULT_STEERING[i] * 0.5 / self.surface.spacing[i] for i in (0, 1))
        return ((across, 0.0), (-across, 0.0), (0.0, up), (0.0, -up))
