"""Channels between all elements from Sionna RT, a ray tracer.

Sionna RT traces the paths between the centers of the arrays, `heliostat.channel.specular` extends
them to all elements. Tracing every pair of elements instead takes a hundred times as long. The
synthetic arrays of Sionna RT are fast, too, but treat every path as a plane wave: a direct path
alone then has rank one, which one reflection pattern cannot turn into bounds of two angles.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from heliostat.channel.specular import (
    SpecularPath,
    mirror_image,
    plane_through,
    specular_channel,
)
from heliostat.scenario import AnyScenario, LocalizationScenario, SensingScenario
from heliostat.units import quote

INSTALL_SIONNA = "Sionna RT is not installed; install it with: pip install 'heliostat[raytrace]'."
INSTALL_LLVM = (
    "Sionna RT needs the library LLVM in a newer version than it found (19 works, 15 does not); "
    "install it, in Debian and Ubuntu with apt-get install libllvm19, and if it is still not "
    "found, set the environment variable DRJIT_LIBLLVM_PATH to its file, libLLVM.so.19.1."
)


class RayTracingError(ValueError):
    """Raised if channels cannot be traced; the message contains a remedy."""


@dataclass(frozen=True)
class TracedPaths:
    """Paths between the centers of two arrays."""

    power: Float[np.ndarray, "path"]
    """Power ratio of each path between an antenna and an element, the strongest first. [1]"""
    length: Float[np.ndarray, "path"]
    """Length of each path. [m]"""
    n_reflections: tuple[int, ...]
    """Number of reflections of each path; 0 for the direct path."""
    free_space: float
    """Power ratio of the direct path in free space. [1]"""


@dataclass(frozen=True)
class RayTracedChannels:
    """Channels of a scenario in a scene of the ray tracer; phases decrease along the paths."""

    bs_to_irs: Complex[np.ndarray, "surface element antenna"]
    """From the base station to the surfaces, with the gains of antennas and elements. Surfaces with
    fewer elements than the largest one have rows of zeros at the end. [1]"""
    paths: tuple[TracedPaths, ...]
    """Paths from the base station to each surface."""
    target_gain: Complex[np.ndarray, "surface"] | None
    r"""From an element of each surface to the target and back, :math:`\beta`; sensing only. [1]"""
    irs_to_user: Complex[np.ndarray, "surface user_antenna element"] | None
    """From the surfaces to the user; localization only. [1]"""
    bs_to_user: Complex[np.ndarray, "user_antenna antenna"] | None
    """From the base station to the user, [user antenna, base station antenna]; localization only.
    [1]"""

    def save(self, file: Path) -> None:
        """Write a channel file, see ``docs/conventions.md``.

        Args:
            file: Name of the .npz file.
        """
        arrays = {
            name: getattr(self, name)
            for name in ("bs_to_irs", "target_gain", "irs_to_user", "bs_to_user")
            if getattr(self, name) is not None
        }
        with file.open("wb") as opened:
            np.savez(opened, **arrays)


def trace_channels(
    scenario: AnyScenario, scene: str | Path, *, reflections: int = 3
) -> RayTracedChannels:
    r"""Trace the channels of a scenario with Sionna RT.

    Paths are direct or specularly reflected; there is no transmission through walls, no diffraction
    and no diffuse scattering. Antennas and elements are isotropic and vertically polarized, with
    the gains of the scenario. Paths that arrive at the back of a panel are left out. The gain
    :math:`\beta` of the target contains only the direct path there and back, as in the model of the
    echo.

    Args:
        scenario: Base station, surfaces, and target or user, in the coordinates of the scene.
        scene: Name of a scene that Sionna RT contains, or a Mitsuba XML file.
        reflections: Largest number of reflections of a path.

    Raises:
        RayTracingError: Sionna RT or a suitable LLVM library is not installed, the scene cannot be
            loaded, no path reaches a surface, or the target is hidden from a surface.
    """
    wavelength, station = scenario.wavelength, scenario.base_station
    panels = scenario.surfaces if isinstance(scenario, SensingScenario) else scenario.panels
    names = [f"surfaces.{i}" for i in range(len(panels))]
    antennas = _line(station.position, station.axis, station, wavelength)
    elements = [panel.element_positions(wavelength) for panel in panels]
    ends = [each.mean(axis=0) for each in elements]
    target = scenario.target if isinstance(scenario, SensingScenario) else None
    request = {
        "scene": str(scene),
        "frequency": scenario.carrier.frequency,
        "reflections": reflections,
        "source": antennas.mean(axis=0).tolist(),
        "receivers": [end.tolist() for end in ends],
        "target": None if target is None else list(target.position),
        "cross_section": None if target is None else target.cross_section,
    }
    answer = _run(request)

    channels, summaries = [], []
    for i, panel in enumerate(panels):
        gains = station.antenna_gain * panel.gain
        paths, summary = _paths(
            answer["paths"][i], antennas.mean(axis=0), ends[i], wavelength, panel.axes[2], gains
        )
        if not paths:
            raise RayTracingError(
                f"{names[i]}: no path from the base station with up to {reflections} reflections "
                "arrives at its front; check that its position is in front of the walls of the "
                "scene, not in them, or allow more reflections."
            )
        channel = specular_channel(paths, antennas, elements[i], wavelength)
        channels.append(np.sqrt(gains) * channel)
        summaries.append(summary)

    gain = None
    if target is not None:
        for name, amplitude in zip(names, answer["echoes"], strict=True):
            if amplitude == 0:
                raise RayTracingError(
                    f"{name}: the target is hidden from it by the scene; move one of them."
                )
        # The phases of single precision would be wrong by some degrees; the distance has them.
        there = np.array([np.linalg.norm(np.subtract(target.position, end)) for end in ends])
        amplitudes = np.array(answer["echoes"]) * [panel.gain for panel in panels]
        gain = amplitudes * np.exp(-4j * np.pi * there / wavelength)
    to_user, direct = None, None
    if isinstance(scenario, LocalizationScenario):
        to_user, direct = _user_channels(scenario, request, antennas, elements)
    return RayTracedChannels(_padded(channels), tuple(summaries), gain, to_user, direct)


def _user_channels(
    scenario: LocalizationScenario,
    request: dict[str, Any],
    antennas: np.ndarray,
    elements: Sequence[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Channels from the surfaces and from the base station to the user, zeros without a path."""
    user, wavelength = scenario.user, scenario.wavelength
    axis = (np.cos(user.heading), -np.sin(user.heading), 0.0)
    own = _line(user.position, axis, user, wavelength)
    center, sight = own.mean(axis=0), antennas.mean(axis=0)
    # Paths are reversible, so one source suffices: the user.
    receivers = [*request["receivers"], sight.tolist()]
    found = _run(request | {"source": center.tolist(), "receivers": receivers})["paths"]
    channels = []
    for panel, places, paths in zip(scenario.panels, elements, found[:-1], strict=True):
        gains, normal = user.antenna_gain * panel.gain, panel.axes[2]
        kept, _ = _paths(paths, center, places.mean(axis=0), wavelength, normal, gains)
        channels.append(np.sqrt(gains) * specular_channel(kept, own, places, wavelength))
    gains = user.antenna_gain * scenario.base_station.antenna_gain
    kept, _ = _paths(found[-1], center, sight, wavelength, None, gains)
    direct = np.sqrt(gains) * specular_channel(kept, own, antennas, wavelength)
    return _padded(channels).swapaxes(1, 2), direct.T


def _line(first: Sequence[float], axis: Sequence[float], array: Any, wavelength: float) -> Any:
    """Positions of the antennas of a linear array. [m]"""
    along = wavelength * array.spacing * np.arange(array.antennas)
    return np.asarray(first) + along[:, None] * np.asarray(axis)


def _padded(channels: Sequence[np.ndarray]) -> np.ndarray:
    """Stack channels, with rows of zeros for surfaces with fewer elements than the largest."""
    most = max(len(channel) for channel in channels)
    return np.stack([np.pad(each, ((0, most - len(each)), (0, 0))) for each in channels])


def _paths(
    found: Sequence[dict[str, Any]],
    source: np.ndarray,
    receiver: np.ndarray,
    wavelength: float,
    normal: np.ndarray | None,
    gains: float,
) -> tuple[list[SpecularPath], TracedPaths]:
    """Paths between two centers that arrive at the front of a panel, the strongest first.

    The normal is that of the panel, None if the receiver is no panel.
    """
    kept = []
    for each in found:
        planes = [plane_through(np.array(corners)) for corners in each["triangles"]]
        travelled = receiver - mirror_image(source[None, :], planes)[0]
        length = float(np.linalg.norm(travelled))
        if normal is None or travelled @ normal < 0:
            reflection = complex(*each["coefficient"]) * 4 * np.pi * length / wavelength
            kept.append((SpecularPath(reflection, planes), length))
    unit = gains * (wavelength / (4 * np.pi)) ** 2
    kept.sort(key=lambda pair: -abs(pair[0].reflection) / pair[1])
    summary = TracedPaths(
        power=np.array([unit * abs(path.reflection) ** 2 / length**2 for path, length in kept]),
        length=np.array([length for _, length in kept]),
        n_reflections=tuple(len(path.planes) for path, _ in kept),
        free_space=unit / float(np.sum((receiver - source) ** 2)),
    )
    return [path for path, _ in kept], summary


def _run(request: dict[str, Any]) -> dict[str, Any]:
    """Run Sionna RT in a process of its own, which LLVM can abort."""
    if find_spec("sionna") is None:
        raise RayTracingError(INSTALL_SIONNA)
    with tempfile.TemporaryDirectory() as folder:
        request_file, answer_file = Path(folder) / "request.json", Path(folder) / "answer.json"
        request_file.write_text(json.dumps(request), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "heliostat.api.sionna_process",
            str(request_file),
            str(answer_file),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if not answer_file.is_file():
            if "LLVM" in ended.stderr:
                raise RayTracingError(INSTALL_LLVM)
            last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
            raise RayTracingError(
                f"Sionna RT ended with exit code {ended.returncode}: {last}; check its "
                "installation with: python -c 'import sionna.rt'."
            )
        answer: dict[str, Any] = json.loads(answer_file.read_text(encoding="utf-8"))
    if error := answer.get("error"):
        if "LLVM" in error:
            raise RayTracingError(INSTALL_LLVM)
        raise RayTracingError(f"The scene {quote(request['scene'])} cannot be traced: {error}.")
    return answer
