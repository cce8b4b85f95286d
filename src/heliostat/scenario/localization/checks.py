"""Localization scenario: conditions on several keys, warnings, and building the scene."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from heliostat.scenario.ambiguity import AMBIGUOUS, largest_correlation
from heliostat.scenario.base import function_name
from heliostat.scenario.errors import Clash
from heliostat.scenario.fields import write_vector
from heliostat.scenario.grating_lobes import array_warning, panel_warning
from heliostat.scenario.link_budget import LinkBudget, free_space_gain
from heliostat.scenario.localization.schema import LocalizationSections
from heliostat.scenario.panels import ANGLES, VECTORS, clash_of_axes, high_element_gain, near_field
from heliostat.units import SPEED_OF_LIGHT, format_quantity, write_quantity

if TYPE_CHECKING:
    import jaxtyping

    import heliostat.scene.localization


class LocalizationScenario(LocalizationSections):
    """Base station, passive surface, and a user that estimates its position and heading."""

    def build(
        self, key: "jaxtyping.PRNGKeyArray | None" = None
    ) -> "heliostat.scene.localization.LocalizationScene":
        """Build the scene that the equations use, in SI units and double precision.

        Args:
            key: Random key of surface phases and gain phase; default ``link.seed``.

        Raises:
            ScenarioError: The phase file was removed or changed since the scenario was loaded.
        """
        # Checking a scenario does not need JAX.
        from heliostat.scenario.localization.build import localization_scene  # noqa: PLC0415

        return localization_scene(self, key)

    def clashes(self) -> Iterator[Clash]:
        """Yield violated conditions on geometry, durations and files."""
        misplaced = list(self._clashes_of_places())
        yield from misplaced
        carrier, frame, surface = self.carrier, self.frame, self.surface
        if not carrier.bandwidth < 2 * carrier.frequency:
            yield Clash(
                "carrier.bandwidth",
                ("carrier.frequency",),
                f"{format_quantity(carrier.bandwidth, 'frequency')} reaches below 0 Hz around "
                f"{format_quantity(carrier.frequency, 'frequency')}; lower the bandwidth",
            )
        least = self.user.antennas * frame.pilot + frame.optimization
        if self.period < least * (1 - 1e-12):
            yield Clash(
                "frame.period",
                ("frame.pilot", "frame.optimization", "user.antennas"),
                f"{format_quantity(self.period, 'time')} is too short for the pilots of one "
                f"active antenna; write at least {write_quantity(least, 'time')}",
            )
        if self.model.as_printed and (unlike := self._unlike_the_paper()):
            yield Clash(
                "model.as_printed",
                tuple(unlike),
                "the printed equations hold for the paper's set-up only; write "
                f"{'; '.join(f'{name}: {value}' for name, value in unlike.items())}; or "
                "as_printed: false",
            )
        if self.path_loss is not None and not misplaced:
            try:
                self._own_amplitude()
            except ValueError as error:
                others = ("carrier", "base_station.position", "surface", "user.position")
                yield Clash("link.path_loss", others, str(error))
        try:
            surface.listed_phases(self.folder)
        except ValueError as error:
            yield Clash("surface.phases", ("surface.rows", "surface.columns"), str(error))
        listed = surface.phases == "random" or surface.bits is not None
        entries = len(self.sweep) * surface.rows * surface.columns
        if listed and entries > 10**7:
            yield Clash(
                "surface.rows",
                ("surface.columns", "surface.sweep", "surface.phases", "surface.bits"),
                f"{entries} phases in total are too many to store; use at most {10**7}, or "
                "designed phases without bits",
            )

    def _clashes_of_places(self) -> Iterator[Clash]:
        surface = self.surface
        if crooked := clash_of_axes(surface, "surface"):
            yield crooked
        places = {
            "base_station.position": self.base_station.position,
            "user.position": self.user.position,
            "surface.focus": surface.focus,
        }
        for name, place in places.items():
            if place is None:
                continue
            offset = np.subtract(place, surface.position)
            distance = float(np.linalg.norm(offset))
            if distance < 1e-6:
                yield Clash(
                    name,
                    ("surface.position",),
                    f"{write_vector(place)} is also the position of the surface; move one of them",
                )
            elif crooked is None and np.dot(offset, surface.facing) <= 1e-9 * distance:
                axes = [f"surface.{key}" for key in (*ANGLES, *VECTORS)]
                yield Clash(
                    name,
                    ("surface.position", *axes),
                    f"{write_vector(place)} is behind the surface; move it to the side of the "
                    f"normal {write_vector(surface.facing)}, or turn the surface with "
                    f"surface.{surface.turned_by}",
                )
        user = self.user.position
        if math.dist(user, self.base_station.position) < 1e-6:
            yield Clash(
                "user.position",
                ("base_station.position",),
                f"{write_vector(user)} is also the position of the base station; move one of them",
            )

    def _unlike_the_paper(self) -> dict[str, str]:
        """Return the fields that differ from the paper's set-up, with the paper's values."""
        surface, position = self.surface, self.user.position
        conditions = {
            "base_station.axis": (self.base_station.axis == (1, 0, 0), "[1, 0, 0]"),
            "surface.azimuth": (surface.azimuth in (None, 0), "0 deg"),
            "surface.tilt": (surface.tilt in (None, 0), "0 deg"),
            "surface.horizontal": (surface.horizontal in (None, (0, 1, 0)), "[0, 1, 0]"),
            "surface.vertical": (surface.vertical in (None, (0, 0, 1)), "[0, 0, 1]"),
            "surface.normal": (surface.normal in (None, (1, 0, 0)), "[1, 0, 0]"),
            "surface.phases": (surface.phases == "designed", "designed"),
            "surface.bits": (surface.bits is None, "null"),
            "surface.sweep": (self.sweep == ((0, 0),), "[[0, 0]]"),
            "user.position": (position[2] == 0, write_vector([*position[:2], 0])),
            "link.path_loss": (
                self.path_loss is None and self.link.path_loss == "sum_distance",
                "sum_distance",
            ),
            "model.gain": (self.model.gain == "known", "known"),
            "model.clock": (self.model.clock == "synchronized", "synchronized"),
        }
        return {name: value for name, (fulfilled, value) in conditions.items() if not fulfilled}

    def _own_amplitude(self) -> float:
        """Amplitude of one element by the law passed to `load`.

        Raises:
            ValueError: The law is not usable.
        """
        # Only scenarios with such a law need JAX for their checks.
        from heliostat.channel.path_loss import check_law  # noqa: PLC0415

        assert self.path_loss is not None
        surface, wavelength = self.surface, self.wavelength
        return check_law(
            self.path_loss,
            math.dist(self.base_station.position, surface.position),
            math.dist(surface.position, self.user.position),
            wavelength,
            surface.gain * wavelength**2 / (4 * math.pi),
        )

    def _link_budget(self) -> LinkBudget:
        """Gain of the path through all elements in phase, and what they can scatter."""
        link, surface, wavelength = self.link, self.surface, self.wavelength
        bs_to_irs = math.dist(self.base_station.position, surface.position)
        irs_to_user = math.dist(surface.position, self.user.position)
        area = surface.gain * wavelength**2 / (4 * math.pi)
        scattered = area / (4 * math.pi * bs_to_irs * irs_to_user)
        if self.path_loss is not None:
            element = self._own_amplitude()
            remedy = f"check {function_name(self.path_loss)} and link.attenuation"
        elif link.path_loss == "sum_distance":
            element = math.sqrt(free_space_gain(bs_to_irs + irs_to_user, wavelength))
            remedy = (
                "sum_distance reproduces the localization paper, write path_loss: product to plan"
            )
        else:
            element = scattered
            remedy = (
                "write a link.attenuation of at most 1; the gains of antennas and elements have "
            )
            remedy += "keys of their own, antenna_gain and element_gain"
        lossless = self.base_station.antenna_gain * self.user.antenna_gain * surface.elements**2
        return LinkBudget(
            f"the path through the {surface.elements} elements of the surface",
            lossless * (link.attenuation * surface.reflection * element) ** 2,
            lossless * scattered**2,
            remedy,
        )

    def _link_budget_warnings(self) -> Iterator[str]:
        """Yield warnings about gains that the elements do not allow, or that have no effect."""
        surface = self.surface
        sum_distance = self.path_loss is None and self.link.path_loss == "sum_distance"
        if surface.element_gain is not None and sum_distance:
            yield "Link budget: surface.element_gain has no effect on the law sum_distance."
        elif high := high_element_gain(surface, "surface"):
            yield high
        if over := self._link_budget().warning():
            yield over

    def _grating_lobe_warnings(self) -> Iterator[str]:
        """Yield a warning for each array with grating lobes."""
        base_station, surface, user = self.base_station, self.surface, self.user
        arriving = np.subtract(surface.position, base_station.position)
        leaving = np.subtract(surface.focus or user.position, surface.position)
        end = "the user" if surface.focus is None else "its focus"
        if lobes := panel_warning(surface, "the surface", leaving, end):
            yield lobes
        hop = np.subtract(surface.position, user.position)
        user_axis = (math.cos(user.heading), -math.sin(user.heading), 0.0)
        for owner, spacing, axis, towards in (
            ("the base station's array", base_station.spacing, base_station.axis, arriving),
            ("the user's array", user.spacing, user_axis, hop),
        ):
            cosine = float(np.dot(towards, axis) / np.linalg.norm(towards))
            if lobes := array_warning(spacing, owner, cosine, "the surface"):
                yield lobes

    def warnings(self) -> list[str]:
        """Warnings about model assumptions that hold only roughly, one sentence each."""
        base_station, surface, user = self.base_station, self.surface, self.user
        wavelength, warnings = self.wavelength, []
        bs_to_irs = math.dist(base_station.position, surface.position)
        irs_to_user = math.dist(surface.position, user.position)
        apertures = {
            "the surface": surface.diagonal(wavelength),
            "the base station's array": wavelength * base_station.antennas * base_station.spacing,
            "the user's array": wavelength * user.antennas * user.spacing,
        }
        for hop, distance, owner in (
            ("base station to surface", bs_to_irs, "the surface"),
            ("base station to surface", bs_to_irs, "the base station's array"),
            ("surface to user", irs_to_user, "the surface"),
            ("surface to user", irs_to_user, "the user's array"),
        ):
            if near := near_field(hop, distance, owner, apertures[owner], wavelength):
                warnings.append(near)
        for owner, aperture in apertures.items():
            crossing = aperture / SPEED_OF_LIGHT
            if crossing * self.carrier.bandwidth > 0.1:
                warnings.append(
                    f"Narrow band: a wave takes {format_quantity(crossing, 'time')} "
                    f"across {owner}, more than a tenth of 1/bandwidth; the model neglects "
                    "the beam squint that results."
                )
        axis = (math.cos(user.heading), -math.sin(user.heading), 0.0)
        cosine = float(np.dot(np.subtract(user.position, surface.position), axis)) / irs_to_user
        if abs(cosine) > 0.99:
            warnings.append(
                "End-fire: the wave from the surface arrives almost along the user's array, where "
                "the pilots depend only weakly on user.heading."
            )
        warnings += self._link_budget_warnings()
        warnings += self._grating_lobe_warnings()
        if surface.phases != "designed" and surface.focus is not None:
            warnings.append("Surface: surface.focus has no effect on phases that are not designed.")
        if surface.phases.endswith(".npy") and surface.sweep is not None:
            warnings.append(
                "Surface: surface.sweep has no effect; each row of the file is used as is."
            )
        if self.model.gain == "known":
            warnings.append(
                "Known gain: the bounds assume a known carrier phase, referred to the corner "
                "elements; another reference point gives other bounds, some of them infinite. "
                "With model.gain: unknown the bounds do not depend on it."
            )
        elif surface.phases == "designed" and surface.sweep is not None:
            correlation = largest_correlation(self)
            if correlation > AMBIGUOUS:
                warnings.append(
                    "Sweep: with this surface.sweep and an unknown gain two separate directions "
                    f"have nearly proportional responses (correlation {correlation:.2f}), so that "
                    "an estimate may be at the wrong one; remove surface.sweep."
                )
        return warnings
