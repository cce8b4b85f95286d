"""Localization scenario: conditions that involve several keys, warnings, building the scene."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from heliostat.scenario.errors import Clash
from heliostat.scenario.fields import write_vector
from heliostat.scenario.localization.model_warnings import model_warnings, own_amplitude
from heliostat.scenario.localization.nodes import SurfaceSpec
from heliostat.scenario.localization.schema import LocalizationSections
from heliostat.scenario.localization.visibility import blocked_paths
from heliostat.scenario.panels import ANGLES, VECTORS, clash_of_axes
from heliostat.units import format_quantity, write_quantity

if TYPE_CHECKING:
    import jaxtyping

    import heliostat.scene.localization


class LocalizationScenario(LocalizationSections):
    """Base station, passive surfaces, and a user that estimates its position and heading."""

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

    def without_obstacles(self) -> "LocalizationScenario":
        """Return the same scenario without obstacles, in which no path is blocked by them."""
        if not self.obstacles:
            return self
        return self.updated({"obstacles": [], "link.direct": self.direct})

    def for_user(self, index: int) -> "LocalizationScenario":
        """Return the scenario with only one of its users.

        Args:
            index: Index of the user in ``all_users``.
        """
        if self.users is None:
            return self
        return self.updated({"users": None, "user": self._written()["users"][index]})

    def _for_each_user(self) -> Iterator[tuple[str, "LocalizationScenario"]]:
        """Yield the key of each of several users, and the unchecked scenario with it alone."""
        for key, user in zip(self.user_keys, self.all_users, strict=True):
            yield key, self.model_copy(update={"user": user, "users": None})

    def clashes(self) -> Iterator[Clash]:
        """Yield violated conditions on geometry, durations and files."""
        if self.users is None:
            yield from self._clashes_of_one_user()
        elif "user" in self.model_fields_set and self.user != self.users[0]:
            sentence = "user and users are both given; remove one of them, or write users.0"
            yield Clash("users", (), sentence)
        elif name := _repeated(user.name for user in self.users):
            yield Clash("users", (), f"has two users named {name}; rename one of them")
        else:
            yield from dict.fromkeys(
                Clash(
                    _with_key(clash.field, key),
                    tuple(_with_key(other, key) for other in clash.others),
                    _with_key(clash.sentence, key),
                )
                for key, alone in self._for_each_user()
                for clash in alone._clashes_of_one_user()
            )

    def _clashes_of_one_user(self) -> Iterator[Clash]:
        if wrong := self._clash_of_surfaces():
            yield wrong
            return
        misplaced = list(self._clashes_of_places())
        yield from misplaced
        yield from self._clashes_of_obstacles()
        carrier, frame = self.carrier, self.frame
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
                "the printed equations hold only for the setup of the paper; write "
                f"{'; '.join(f'{name}: {value}' for name, value in unlike.items())}; or "
                "as_printed: false",
            )
        if self.path_loss is not None and not misplaced:
            try:
                own_amplitude(self, self.panel)
            except ValueError as error:
                others = ("carrier", "base_station.position", self.panel_keys[0], "user.position")
                yield Clash("link.path_loss", others, str(error))
        for key, panel in zip(self.panel_keys, self.panels, strict=True):
            yield from self._clashes_of_phases(key, panel)
        counts = [self._configurations(panel) for panel in self.panels]
        if len(set(counts)) > 1:
            other = next(i for i, count in enumerate(counts) if count != counts[0])
            yield Clash(
                f"surfaces.{other}.sweep",
                ("surfaces.0.sweep", "model.gain"),
                f"has {counts[other]} configurations, but surfaces.0 has {counts[0]}; give all "
                "surfaces the same number",
            )

    def _clash_of_surfaces(self) -> Clash | None:
        """Return the violated condition on the number of surfaces and their names."""
        if self.surface is not None and self.surfaces is not None:
            return Clash(
                "surfaces", ("surface",), "surface and surfaces are both given; remove one of them"
            )
        if not self.panels:
            return Clash(
                "surface", (), 'missing; add e.g. surface: {"position": [-20, 20, 30]}, or surfaces'
            )
        if name := _repeated(panel.name for panel in self.panels):
            return Clash("surfaces", (), f"has two surfaces named {name}; rename one of them")
        return None

    def _configurations(self, panel: SurfaceSpec) -> int:
        """Return the number of configurations in the alignment stage, without sign codes."""
        try:
            listed = panel.listed_phases(self.folder)
        except ValueError:
            listed = None
        return len(self.sweep_of(panel)) if listed is None else len(listed)

    def _clashes_of_phases(self, key: str, panel: SurfaceSpec) -> Iterator[Clash]:
        try:
            panel.listed_phases(self.folder)
        except ValueError as error:
            yield Clash(f"{key}.phases", (f"{key}.rows", f"{key}.columns"), str(error))
        listed = panel.phases == "random" or panel.bits is not None
        entries = len(self.sweep_of(panel)) * panel.elements
        if listed and entries > 10**7:
            keys = [f"{key}.{name}" for name in ("columns", "sweep", "phases", "bits")]
            yield Clash(
                f"{key}.rows",
                tuple(keys),
                f"{entries} phases in total are too many to store; use at most {10**7}, or "
                "designed phases without bits",
            )

    def _clashes_of_obstacles(self) -> Iterator[Clash]:
        """Yield footprints that are not polygons, and nodes within an obstacle."""
        if not self.obstacles:
            return
        from heliostat.geometry.obstacles import fault_of  # noqa: PLC0415

        nodes = {
            "base_station.position": self.base_station.position,
            "user.position": self.user.position,
        }
        panels = zip(self.panel_keys, self.panels, strict=True)
        nodes |= {f"{key}.position": panel.position for key, panel in panels}
        for i, obstacle in enumerate(self.obstacles):
            key = f"obstacles.{i}"
            if fault := fault_of(obstacle.prism):
                yield Clash(
                    f"{key}.footprint",
                    (),
                    f"is not a valid polygon: {fault}; list the corners in order around it",
                )
                continue
            for field, place in nodes.items():
                if obstacle.contains(np.array([place], dtype=float))[0]:
                    yield Clash(
                        field,
                        (f"{key}.footprint", f"{key}.height", f"{key}.base"),
                        f"{write_vector(place)} is inside {obstacle.name}; move it outside, or "
                        "onto a wall",
                    )

    def _clashes_of_places(self) -> Iterator[Clash]:
        for key, panel in zip(self.panel_keys, self.panels, strict=True):
            yield from self._clashes_of_panel(key, panel)
        user = self.user.position
        if math.dist(user, self.base_station.position) < 1e-6:
            yield Clash(
                "user.position",
                ("base_station.position",),
                f"{write_vector(user)} is also the position of the base station; move one of them",
            )

    def _clashes_of_panel(self, key: str, panel: SurfaceSpec) -> Iterator[Clash]:
        """Yield violated conditions on the place and orientation of a surface."""
        if crooked := clash_of_axes(panel, key):
            yield crooked
        places = {
            "base_station.position": self.base_station.position,
            "user.position": self.user.position,
            f"{key}.focus": panel.focus,
        }
        name = self.panel_names[self.panel_keys.index(key)]
        for field, place in places.items():
            if place is None:
                continue
            offset = np.subtract(place, panel.position)
            distance = float(np.linalg.norm(offset))
            behind = crooked is None and np.dot(offset, panel.facing) <= 1e-9 * distance
            if distance < 1e-6:
                yield Clash(
                    field,
                    (f"{key}.position",),
                    f"{write_vector(place)} is also the position of {name}; move one of them",
                )
            elif behind and not (field == "user.position" and self.several_paths):
                axes = [f"{key}.{axis}" for axis in (*ANGLES, *VECTORS)]
                yield Clash(
                    field,
                    (f"{key}.position", *axes),
                    f"{write_vector(place)} is behind {name}; move it to the side of the "
                    f"normal {write_vector(panel.facing)}, or turn the surface with "
                    f"{key}.{panel.turned_by}",
                )

    def _unlike_the_paper(self) -> dict[str, str]:
        """Return the fields that differ from the setup of the paper, with the paper's values."""
        surface, position = self.panel, self.user.position
        conditions = {
            "surfaces": (len(self.panels) == 1, "one surface"),
            "link.direct": (self.direct == "blocked", "blocked"),
            "obstacles": (not self.obstacles, "[]"),
            "model.wavefront": (self.model.wavefront == "plane", "plane"),
            "base_station.axis": (self.base_station.axis == (1, 0, 0), "[1, 0, 0]"),
            "surface.azimuth": (surface.azimuth in (None, 0), "0 deg"),
            "surface.tilt": (surface.tilt in (None, 0), "0 deg"),
            "surface.horizontal": (surface.horizontal in (None, (0, 1, 0)), "[0, 1, 0]"),
            "surface.vertical": (surface.vertical in (None, (0, 0, 1)), "[0, 0, 1]"),
            "surface.normal": (surface.normal in (None, (1, 0, 0)), "[1, 0, 0]"),
            "surface.phases": (surface.phases == "designed", "designed"),
            "surface.bits": (surface.bits is None, "null"),
            "surface.sweep": (self.sweep_of(surface) == ((0, 0),), "[[0, 0]]"),
            "user.position": (position[2] == 0, write_vector([*position[:2], 0])),
            "link.path_loss": (
                self.path_loss is None and self.link.path_loss == "sum_distance",
                "sum_distance",
            ),
            "model.gain": (self.model.gain == "known", "known"),
            "model.clock": (self.model.clock == "synchronized", "synchronized"),
        }
        return {name: value for name, (fulfilled, value) in conditions.items() if not fulfilled}

    def _warnings(self) -> list[str]:
        if self.users is None:
            return list(model_warnings(self))
        concerned: dict[str, list[str]] = {}
        blocked = []
        for (key, alone), name in zip(self._for_each_user(), self.user_names, strict=True):
            paths = list(blocked_paths(alone))
            for warning in model_warnings(alone):
                if warning not in paths:
                    concerned.setdefault(_with_key(warning, key), []).append(name)
            if paths:
                listed = "; ".join(path.removeprefix("Blocked: ").rstrip(".") for path in paths)
                blocked.append(f"Blocked for {name}: {listed}.")
        return [
            warning
            if len(names) == len(self.users)
            else f"{warning.removesuffix('.')} ({', '.join(names)})."
            for warning, names in concerned.items()
        ] + blocked


def _repeated(names: Iterable[str | None]) -> str | None:
    """Return the first name that occurs twice."""
    counts = Counter(name for name in names if name is not None)
    return next((name for name, count in counts.items() if count > 1), None)


def _with_key(text: str, key: str) -> str:
    """Replace ``user.`` in dotted keys by the key of the user."""
    return re.sub(r"\buser\.(?=[a-z])", f"{key}.", text)
