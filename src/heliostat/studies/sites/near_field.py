r"""Focused and steered panels for users in their near field.

A panel of 64 x 64 elements at 60 GHz is focused on the user with the exact distances of its
elements, or steered to the user with plane waves. Both are evaluated with spherical waves. The
third case assumes plane waves in the bound, too. The base station is far away in the direction of
the panel's normal.

The amplitude of a steered panel over that of a focused one has an independent approximation by
Fresnel integrals. A panel with sides L at the distance d from the user, at the azimuth
:math:`\varphi`, and at the distance b from the base station, is left with quadratic phases, so that

.. math:: \rho = |F(\cos^2\varphi/d + 1/b)|\,|F(1/d + 1/b)|,\quad
          F(c) = \frac{1}{L}\int_{-L/2}^{L/2}e^{j\pi cx^2/\lambda}\,\mathrm{d}x.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure
from scipy.special import fresnel

from heliostat.bounds.paths import paths_information
from heliostat.bounds.pose import error_bounds
from heliostat.observation.paths import paths
from heliostat.plots.style import styled
from heliostat.scenario import LocalizationScenario, load, of_system
from heliostat.scene.localization import LocalizationScene
from heliostat.studies.figures import COLORS, LINES, MARKS, entries, legend_below
from heliostat.studies.study import Quantity, Study, Verdict, trial_key
from heliostat.surface.passive import Phased
from heliostat.units import format_quantity

SIDE = 64
"""Elements along each side of the panel."""
PANEL = (10.0, 2.0, 1.5)
"""Position of the panel, which faces -x. [m]"""
BASE_STATION = 100.0
"""Distance of the base station from the panel. [m]"""
DISTANCES = [1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 40.0]
AZIMUTHS = [0.0, 30.0, 60.0]
"""Direction of the user from the panel's normal. [deg]"""
CLOCKS = ("synchronized", "unknown")
QUARTER = 5.0
"""About a quarter of the panel's Fraunhofer distance of 20 m. [m]"""
SYNCHRONIZED, UNKNOWN = 0, 1


class _Scenes(NamedTuple):
    spherical: LocalizationScene
    plane: LocalizationScene


def scenario(clock: str, wavefront: str) -> LocalizationScenario:
    """Scenario of the study, with the user at broadside.

    Args:
        clock: Value of ``model.clock``.
        wavefront: Value of ``model.wavefront``.
    """
    x, y, z = PANEL
    changes = {
        "surface.rows": SIDE,
        "surface.columns": SIDE,
        "surface.position": list(PANEL),
        "base_station.position": [x - BASE_STATION, y, z],
        "user.position": [x - 2.0, y, z],
        "obstacles": [],
        "model.clock": clock,
        "model.wavefront": wavefront,
    }
    loaded = load("near-field-room", changes)
    return of_system(loaded, LocalizationScenario, "this study")


@functools.cache
def _scenes(clock: int) -> _Scenes:
    """Scenes with spherical waves and with plane waves that refer to the same point, the center."""
    with jax.ensure_compile_time_eval():
        spherical, plane = (
            scenario(CLOCKS[clock], wavefront).build() for wavefront in ("spherical", "plane")
        )
        center = spherical.reflection_point()
        return _Scenes(spherical, eqx.tree_at(lambda s: s.surface.position, plane, center))


def point(key: PRNGKeyArray, *, azimuth: Array, distance: Array) -> Mapping[str, Array]:
    """PEB of the focused and of the steered panel and with plane waves, and the amplitude loss."""
    del key  # nothing is random
    found = [_bounds(_scenes(clock), jnp.deg2rad(azimuth), distance) for clock in (0, 1)]
    return {
        name: jnp.stack([each[name] for each in found])
        for name in ("peb_focused", "peb_steered", "peb_plane")
    } | {"amplitude_loss": found[0]["amplitude_loss"]}


def _bounds(scenes: _Scenes, azimuth: Array, distance: Array) -> Mapping[str, Array]:
    center = scenes.spherical.reflection_point()
    direction = jnp.stack([-jnp.cos(azimuth), jnp.sin(azimuth), jnp.zeros(())])
    position = center + distance * direction
    # The wave arrives 30 deg from the normal of the user's array, at every azimuth.
    heading = azimuth + jnp.deg2rad(60.0)

    def steered(scene: LocalizationScene) -> LocalizationScene:
        at = scene.with_user(position, heading)
        return at.focused(alignment=position, data=position)

    focused, plane = steered(scenes.spherical), steered(scenes.plane)
    surface = plane.surface
    phases = Phased(plane.phases(surface.alignment)), Phased(plane.phases(surface.data))
    mismatched = eqx.tree_at(lambda s: (s.surface.alignment, s.surface.data), focused, phases)

    def peb(scene: LocalizationScene) -> Array:
        return error_bounds(paths_information(scene, scene.base_station.array.elements))[0]

    def amplitude(scene: LocalizationScene) -> Array:
        (path,) = paths(scene, scene.base_station.array.elements, "data")
        return jnp.abs(path.config[0, 0])

    return {
        "peb_focused": peb(focused),
        "peb_steered": peb(mismatched),
        "peb_plane": peb(plane),
        "amplitude_loss": 1 - amplitude(mismatched) / amplitude(focused),
    }


def fresnel_loss(azimuth: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Amplitude loss of the steered panel by Fresnel integrals, see the module. [1]

    Args:
        azimuth: Direction of the user. [deg]
        distance: Distance of the user. [m]
    """
    wavelength = scenario("unknown", "plane").wavelength
    half = SIDE / 2 * wavelength / 2

    def remaining(curvature: np.ndarray) -> np.ndarray:
        end = np.sqrt(2 * curvature / wavelength) * half
        sine, cosine = fresnel(end)
        return np.hypot(sine, cosine) / end

    across = np.cos(np.deg2rad(azimuth)) ** 2 / distance + 1 / BASE_STATION
    return np.asarray(1 - remaining(across) * remaining(1 / distance + 1 / BASE_STATION))


def _fraunhofer() -> float:
    """Fraunhofer distance of the panel. [m]"""
    room = scenario("unknown", "plane")
    return room.panel.fraunhofer_distance(room.wavelength)


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on focusing, steering with plane waves, and curvature in place of a clock."""
    found = dataset.isel(trial=0)
    azimuth, distance = np.meshgrid(found.azimuth, found.distance, indexing="ij")
    off = np.abs(found.amplitude_loss.values - fresnel_loss(azimuth, distance))

    known, unknown = (found.sel(clock=clock) for clock in (SYNCHRONIZED, UNKNOWN))
    apart = known.peb_focused / known.peb_plane - 1
    far = apart.distance >= QUARTER
    raised = known.peb_steered / known.peb_focused - 1
    ranges = [
        f"{100 * float(at_two.min()):.1f} % to {100 * float(at_two.max()):.1f} %"
        for at_two in (apart.sel(distance=2.0), raised.sel(distance=2.0))
    ]
    none = bool(np.isinf(unknown.peb_plane).all())
    bounded = bool(np.isfinite(unknown.peb_focused).all())
    broadside = unknown.peb_focused.sel(azimuth=0.0)
    between = unknown.peb_focused.sel(distance=slice(2.0, 20.0))
    exponent = [
        float(np.polyfit(np.log(between.distance), np.log(between.sel(azimuth=a)), 1)[0])
        for a in AZIMUTHS
    ]
    return [
        Verdict(
            "Near field",
            "the amplitude that a steered panel loses is that of Fresnel integrals within 0.2 "
            "percentage points at all distances and azimuths",
            bool(off.max() < 2e-3),
            f"largest difference {100 * off.max():.2f} percentage points; loss at broadside "
            + _listed(found.amplitude_loss.sel(azimuth=0.0)),
        ),
        Verdict(
            "Near field",
            "with a synchronized clock, the position error bound (PEB) of a focused panel is that "
            "of the plane-wave model within 0.1 % from a quarter of the Fraunhofer distance on, "
            "and lower than that at smaller distances",
            bool(np.all(np.abs(apart[:, far]) < 1e-3) and np.all(apart[:, ~far] < 0)),
            f"differs by at most {100 * float(np.abs(apart[:, far]).max()):.2f} % from "
            f"{QUARTER:g} m on, by {ranges[0]} at 2 m",
        ),
        Verdict(
            "Near field",
            "with a synchronized clock, steering with plane waves raises the PEB by less than 5 % "
            "from a quarter of the Fraunhofer distance on",
            bool(np.all(raised[:, far] < 0.05)),
            f"at most {100 * float(raised[:, far].max()):.1f} % from {QUARTER:g} m on; at 2 m "
            f"{ranges[1]}; at broadside " + _listed(raised.sel(azimuth=0.0)),
        ),
        Verdict(
            "Near field",
            "with an unknown clock, a user at the panel's height has a bound with spherical waves "
            "only: the curvature determines the distance",
            none and bounded,
            "PEB of the focused panel at broadside "
            + ", ".join(
                f"{format_quantity(float(broadside.sel(distance=d)), 'length')} at {d:g} m"
                for d in (2.0, 5.0, 10.0)
            ),
        ),
        Verdict(
            "Near field",
            "this PEB grows with the cube of the distance from 2 m to 20 m (exponent 2.9 to 3.1)",
            all(2.9 < each < 3.1 for each in exponent),
            "exponents "
            + ", ".join(f"{e:.2f} at {a:g}°" for a, e in zip(AZIMUTHS, exponent, strict=True)),
        ),
    ]


def _listed(loss: xr.DataArray) -> str:
    return ", ".join(
        f"{100 * float(loss.sel(distance=d)):.2g} % at {d:g} m" for d in (2.0, 5.0, 20.0)
    )


def table(dataset: xr.Dataset) -> str:
    """Amplitude loss and PEB at broadside, in Markdown; a dash if there is no bound."""
    found = dataset.isel(trial=0).sel(azimuth=0.0)
    kinds = ("peb_plane", "peb_focused", "peb_steered")
    lines = [
        "| distance | amplitude loss | plane waves | focused | steered | focused, clock unknown |",
        "|---|---|---|---|---|---|",
    ]
    for distance in (1.0, 2.0, 5.0, 10.0, 20.0, 40.0):
        at = found.sel(distance=distance)
        bounds = [float(at[kind].sel(clock=SYNCHRONIZED)) for kind in kinds]
        bounds.append(float(at.peb_focused.sel(clock=UNKNOWN)))
        texts = [f"{distance:g} m", f"{100 * float(at.amplitude_loss):.2g} %"]
        texts += [format_quantity(x, "length") if np.isfinite(x) else "–" for x in bounds]
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


CASES = {
    "peb_plane": "plane waves assumed",
    "peb_focused": "focused, spherical waves",
    "peb_steered": "steered with plane waves, spherical waves",
}


def draw(dataset: xr.Dataset) -> Figure:
    """PEB at broadside for both clocks (left), and amplitude loss for all azimuths (right)."""
    found = dataset.isel(trial=0)
    limit = _fraunhofer()
    looks = entries(CASES.values(), color=COLORS, linestyle=LINES, marker=MARKS)
    angles = entries((f"{a:g}°" for a in AZIMUTHS), color=COLORS[3:], marker=MARKS)
    with styled():
        figure, panels = plt.subplots(1, 3, figsize=(13, 4.8))
        for clock, panel in enumerate(panels[:2]):
            for kind, (_, look) in zip(CASES, looks, strict=True):
                bound = found[kind].sel(azimuth=0.0, clock=clock).values
                if np.isfinite(bound).all():
                    panel.plot(found.distance, bound, **look, fillstyle="none")
            panel.set(ylabel="position error bound (PEB) [m]")
            panel.set_title(f"({'ab'[clock]}) clock {CLOCKS[clock]}, broadside", fontsize=10)
        panels[1].text(
            0.05, 0.93, "plane waves: not identifiable", transform=panels[1].transAxes, fontsize=9
        )
        fine = np.geomspace(DISTANCES[0], DISTANCES[-1], 200)
        for azimuth, (_, look) in zip(AZIMUTHS, angles, strict=True):
            loss = found.amplitude_loss.sel(azimuth=azimuth)
            panels[2].plot(found.distance, 100 * loss, linestyle="none", **look)
            truth = 100 * fresnel_loss(np.full_like(fine, azimuth), fine)
            panels[2].plot(fine, truth, color=look["color"], linewidth=1)
        panels[2].set(ylabel="amplitude loss of the steered panel [%]")
        panels[2].set_title("(c) amplitude, three azimuths", fontsize=10)
        for panel in panels:
            panel.axvline(limit, color="0.5", linestyle=":")
            panel.set(xlabel="distance from panel to user [m]")
            panel.set(xscale="log", yscale="log")
            panel.set_xticks([1, 2, 5, 10, 20, 40], ["1", "2", "5", "10", "20", "40"])
            panel.minorticks_off()
        legend_below(
            figure,
            *looks,
            *((f"(c) azimuth {label}", look | {"linestyle": "none"}) for label, look in angles),
            ("(c) Fresnel integrals", {"linestyle": "-", "linewidth": 1}),
            (f"Fraunhofer distance, {limit:.1f} m", {"color": "0.5", "linestyle": ":"}),
            columns=3,
        )
    return figure


_PEB = ("m", ("clock",))

STUDY = Study(
    name="sites/near_field",
    sample=trial_key,
    point=point,
    axes={"azimuth": AZIMUTHS, "distance": DISTANCES},
    outputs={
        "peb_focused": Quantity(*_PEB, "position error bound, panel focused on the user"),
        "peb_steered": Quantity(*_PEB, "position error bound, panel steered with plane waves"),
        "peb_plane": Quantity(*_PEB, "position error bound with plane waves"),
        "amplitude_loss": Quantity("1", (), "amplitude that the steered panel loses"),
    },
    trials=1,
    inner={"clock": np.arange(len(CLOCKS))},
    axis_units={"azimuth": "deg", "distance": "m"},
    provenance={
        "scenario": "near-field-room",
        "clock": "; ".join(f"{i}: {name}" for i, name in enumerate(CLOCKS)),
        "panel": f"{SIDE} x {SIDE} elements at 60 GHz",
        "base_station": f"{BASE_STATION:g} m from the panel",
    },
    verdicts=verdicts,
    draw=draw,
    table=table,
)
