"""Sections of a localization scenario, with their keys and defaults."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    model_validator,
)

from heliostat.scenario.base import Scenario
from heliostat.scenario.fields import (
    Number,
    Positive,
    Section,
    not_a_word,
    quantity,
    setting,
)
from heliostat.scenario.localization.nodes import (
    BaseStationSpec,
    ObstacleSpec,
    SurfaceSpec,
    UserSpec,
)
from heliostat.scenario.site import SiteSpec
from heliostat.scenario.validation import example
from heliostat.units import SPEED_OF_LIGHT, quote

Attenuation: TypeAlias = Annotated[Positive, Field(ge=1e-30)]
"""Amplitude factor whose powers do not underflow."""

DEFAULT_STEERING = (1.0, 1.4)
"""Offsets of the default sweep from the focus along a row and along a column, in 1/columns and
1/rows for elements half a wavelength apart. Equal steps are ambiguous, see
docs/theory/localization.md."""


class CarrierSpec(Section):
    """Carrier and bandwidth."""

    frequency: Annotated[float, quantity("frequency")] = setting("Carrier frequency.", "60 GHz")
    bandwidth: Annotated[float, quantity("frequency")] = setting(
        "Bandwidth of the signal.", "100 MHz"
    )


def _not_a_function(value: object) -> object:
    if isinstance(value, str) and value.startswith("function "):
        raise ValueError(
            f"{quote(value)} was a function in Python; pass it as path_loss of heliostat.load, or "
            "write product"
        )
    return value


class LinkSpec(Section):
    """Noise, gains and sign codes of the paths."""

    noise: Annotated[float, quantity("power")] = setting(
        "Noise power in the bandwidth at the user.", "-80 dBm"
    )
    attenuation: Attenuation = setting("Additional amplitude factor of the link.", 1.0, 1.0)
    gain_phase: Annotated[
        float | Literal["random"], quantity("angle", signed=True, word="random")
    ] = setting("Phase of the complex gain: an angle, or random.", "random", "random")
    path_loss: Annotated[Literal["product", "sum_distance"], BeforeValidator(_not_a_function)] = (
        setting(
            "Path-loss law: product for elements that scatter, for planning; sum_distance for the "
            "law of the localization paper, to reproduce it.",
            "product",
            "product",
        )
    )
    direct: Literal["blocked", "clear", "auto"] | None = setting(
        "Direct path from base station to user: blocked (as in the paper), clear, or auto "
        "(blocked by obstacles); default auto with obstacles, otherwise blocked.",
        "blocked",
        None,
    )
    direct_attenuation: Attenuation = setting(
        "Additional amplitude factor of the direct path.", 1.0, 1.0
    )
    codes: Literal["hadamard", "none"] | None = setting(
        "Sign codes over the configurations that separate the paths: each configuration is "
        "repeated with the signs of a row of a Hadamard matrix. Default hadamard with more than "
        "one path, else none.",
        "hadamard",
        None,
    )
    seed: Annotated[int, Field(ge=0, lt=2**32), BeforeValidator(not_a_word)] = setting(
        "Seed of random gain phases and surface phases, unless a key is passed.", 0, 0
    )


class FrameSpec(Section):
    """Durations of the stages of a period."""

    pilot: Annotated[float, quantity("time")] = setting("Duration of one pilot.", "67 us")
    optimization: Annotated[float, quantity("time", zero=True)] = setting(
        "Duration of the optimization stage.", "1 ms"
    )
    period: Annotated[float, quantity("time")] | None = setting(
        "Duration of a period; default pilots of all antennas plus optimization.",
        "20 ms",
        None,
    )


class ModelSpec(Section):
    """Assumptions of the model: unknown parameters, shape of the waves, form of equations."""

    gain: Literal["known", "unknown"] = setting(
        "Whether the user knows the complex gain of the link, including its phase.",
        "unknown",
        "unknown",
    )
    clock: Literal["synchronized", "unknown"] = setting(
        "Whether the clocks of base station and user are synchronized.",
        "synchronized",
        "synchronized",
    )
    wavefront: Literal["plane", "spherical", "auto"] = setting(
        "Waves at the surfaces: plane, spherical (exact distances to each element), or auto "
        "(spherical within the Fraunhofer distance of a surface).",
        "auto",
        "plane",
    )
    as_printed: StrictBool = setting(
        "Use the printed equations of the localization paper with their errors, for comparison.",
        False,
        False,
    )


class ErrorsSpec(Section):
    """Errors of the estimates, and motion of the user."""

    position: Annotated[float, quantity("length", zero=True)] = setting(
        "Radius of the disc of position estimates around the true position.", "7 m", "0 m"
    )
    heading: Annotated[float, quantity("angle", zero=True)] = setting(
        "Largest absolute error of a heading estimate.", "30 deg", "0 deg"
    )
    mobility: Annotated[float, quantity("length", zero=True)] = setting(
        "Radius of the disc in which the user moves per period.", "7 m", "0 m"
    )
    gain_variance: Annotated[Number, Field(ge=0)] = setting(
        "Variance of the error of the complex path gain.", 0.0, 0.0
    )


def _user_is_optional(schema: dict[str, Any]) -> None:
    """Change the JSON Schema: ``users`` may replace ``user``."""
    schema["required"].remove("user")


class LocalizationSections(Scenario):
    """Sections of a localization scenario, and values derived from them."""

    model_config = ConfigDict(json_schema_extra=_user_is_optional)

    system: Literal["localization"] = setting("System that the scenario describes.", "localization")
    carrier: CarrierSpec
    base_station: BaseStationSpec
    surface: SurfaceSpec | None = setting(
        "The surface, if there is only one.", {"position": [-20, 20, 30]}, None
    )
    surfaces: Annotated[tuple[SurfaceSpec, ...], Field(min_length=1, max_length=64)] | None = (
        setting("Several surfaces, instead of surface.", [{"position": [-20, 20, 30]}], None)
    )
    user: UserSpec
    users: Annotated[tuple[UserSpec, ...], Field(min_length=1, max_length=1000)] | None = setting(
        "Several users, each evaluated on its own, instead of user.",
        [{"position": [20, 40, 0], "heading": "45 deg", "antennas": 32}],
        None,
    )
    obstacles: Annotated[tuple[ObstacleSpec, ...], Field(max_length=1000)] = setting(
        "Obstacles, which block the paths that pass through them.", [], ()
    )
    link: LinkSpec
    frame: FrameSpec
    model: ModelSpec = ModelSpec()
    errors: ErrorsSpec = ErrorsSpec()
    site: SiteSpec = SiteSpec()

    @model_validator(mode="before")
    @classmethod
    def _with_first_user(cls, given: Any) -> Any:
        """Take the first of several users as the user, an example if it is invalid."""
        if not isinstance(given, Mapping) or given.get("user") is not None:
            return given
        users = given.get("users")
        if users is None:
            return given
        try:
            first = UserSpec.model_validate(users[0])
        except (ValidationError, TypeError, LookupError):  # reported as errors of users
            first = UserSpec.model_validate(example(cls, ("user",)))
        return {**given, "user": first}

    def _written(self) -> dict[str, Any]:
        written = super()._written()
        if self.users is not None:
            del written["user"]
        return written

    @property
    def all_users(self) -> tuple[UserSpec, ...]:
        """All users."""
        return self.users or (self.user,)

    @property
    def user_keys(self) -> tuple[str, ...]:
        """Dotted key of each user."""
        if self.users is None:
            return ("user",)
        return tuple(f"users.{i}" for i in range(len(self.users)))

    @property
    def user_names(self) -> tuple[str, ...]:
        """Name of each user in results."""
        if self.users is None:
            return ("the user",)
        return tuple(user.name or f"user {i + 1}" for i, user in enumerate(self.users))

    @property
    def wavelength(self) -> float:
        """Wavelength of the carrier. [m]"""
        return SPEED_OF_LIGHT / self.carrier.frequency

    @property
    def panels(self) -> tuple[SurfaceSpec, ...]:
        """All surfaces."""
        return self.surfaces or ((self.surface,) if self.surface else ())

    @property
    def panel(self) -> SurfaceSpec:
        """The surface of a scenario with one surface."""
        return self.panels[0]

    @property
    def panel_keys(self) -> tuple[str, ...]:
        """Dotted key of each surface."""
        if self.surfaces is None:
            return ("surface",)
        return tuple(f"surfaces.{i}" for i in range(len(self.surfaces)))

    @property
    def panel_names(self) -> tuple[str, ...]:
        """Name of each surface in results."""
        if self.surfaces is None:
            return ("the surface",)
        return tuple(s.name or f"surface {i + 1}" for i, s in enumerate(self.surfaces))

    @property
    def footprints(self) -> list[np.ndarray]:
        """Footprint of each obstacle, [corner xy]. [m]"""
        return [np.asarray(obstacle.footprint, dtype=float) for obstacle in self.obstacles]

    @property
    def direct(self) -> Literal["blocked", "clear", "auto"]:
        """``link.direct`` with its default."""
        return self.link.direct or ("auto" if self.obstacles else "blocked")

    @property
    def path_names(self) -> tuple[str, ...]:
        """Name of each path: the direct one, if it is not always blocked, and the surfaces."""
        return ("direct path",) * (self.direct != "blocked") + self.panel_names

    @property
    def several_paths(self) -> bool:
        """Whether there are other paths than that through the first surface."""
        return len(self.path_names) > 1

    @property
    def single_path(self) -> bool:
        """Whether the only path is that through one surface with plane waves."""
        return not self.several_paths and not any(self.spherical)

    @property
    def code_length(self) -> int:
        """Number of repetitions of each configuration with different signs."""
        paths = len(self.path_names)
        coded = self.several_paths if self.link.codes is None else self.link.codes == "hadamard"
        return 1 << (paths - 1).bit_length() if coded else 1

    @property
    def spherical(self) -> tuple[bool, ...]:
        """Whether the waves at each surface are spherical."""
        if self.model.wavefront != "auto":
            return (self.model.wavefront == "spherical",) * len(self.panels)
        ends = self.base_station.position, self.user.position

        def near(panel: SurfaceSpec) -> bool:
            limit = panel.fraunhofer_distance(self.wavelength)
            return min(math.dist(panel.position, end) for end in ends) < limit

        return tuple(map(near, self.panels))

    @property
    def period(self) -> float:
        """Duration of a period; by default long enough for the pilots of all antennas. [s]"""
        if self.frame.period is not None:
            return self.frame.period
        pilots = self.base_station.antennas * self.user.antennas
        return pilots * self.frame.pilot + self.frame.optimization

    def sweep_of(self, panel: SurfaceSpec) -> tuple[tuple[float, float], ...]:
        """Offsets from the focus in the alignment stage, in 1/columns and 1/rows. [1]

        Args:
            panel: One of the surfaces.
        """
        if panel.sweep is not None:
            return panel.sweep
        if self.model.gain == "known":
            return ((0.0, 0.0),)
        across, up = (DEFAULT_STEERING[i] * 0.5 / panel.spacing[i] for i in (0, 1))
        return ((across, 0.0), (-across, 0.0), (0.0, up), (0.0, -up))
