"""Warnings about assumptions of the localization model that hold only approximately."""

import math
from collections.abc import Iterator

import numpy as np

from heliostat.scenario.ambiguity import AMBIGUOUS, largest_correlation
from heliostat.scenario.base import function_name
from heliostat.scenario.grating_lobes import array_warning, panel_warning
from heliostat.scenario.link_budget import LinkBudget, free_space_gain
from heliostat.scenario.localization.nodes import SurfaceSpec
from heliostat.scenario.localization.schema import LocalizationSections
from heliostat.scenario.localization.visibility import blocked_paths
from heliostat.scenario.panels import high_element_gain, near_field
from heliostat.units import SPEED_OF_LIGHT, format_quantity


def model_warnings(scenario: LocalizationSections) -> Iterator[str]:
    """Yield one sentence for each violated assumption."""
    panels = list(zip(scenario.panel_keys, scenario.panel_names, scenario.panels, strict=True))
    found = [*_far_field(scenario), *_narrow_band(scenario), *blocked_paths(scenario)]
    if not scenario.several_paths:
        found += _end_fire(scenario)
    for key, name, panel in panels:
        found += _link_budget_warnings(scenario, key, name, panel)
        found += _grating_lobes(scenario, name, panel)
        found += _without_effect(key, panel)
    if scenario.direct != "blocked" and scenario.link.direct_attenuation > 1:
        excess = format_quantity(scenario.link.direct_attenuation**2, "ratio")
        found.append(
            f"Link budget: link.direct_attenuation gives the direct path {excess} over free space; "
            "write at most 1; antenna gains have their own keys, antenna_gain."
        )
    if scenario.model.gain == "known":
        found.append(
            "Known gain: the bounds assume a known carrier phase, referred to the corner "
            "elements. They depend on this reference point, and for some points they are infinite; "
            "with model.gain: unknown they do not depend on it."
        )
    else:
        for key, _, panel in panels:
            found += _ambiguity(scenario, key, panel)
    yield from dict.fromkeys(found)


def _far_field(scenario: LocalizationSections) -> Iterator[str]:
    """Yield a warning for each hop within the Fraunhofer distance of one of its ends."""
    base_station, user, wavelength = scenario.base_station, scenario.user, scenario.wavelength
    bs_aperture = wavelength * base_station.antennas * base_station.spacing
    user_aperture = wavelength * user.antennas * user.spacing
    each = zip(scenario.panel_names, scenario.panels, scenario.spherical, strict=True)
    for name, panel, spherical in each:
        bs_to_irs = math.dist(base_station.position, panel.position)
        irs_to_user = math.dist(panel.position, user.position)
        first, last = f"base station to {_noun(name)}", f"{_noun(name)} to user"
        diagonal = panel.diagonal(wavelength)
        for hop, distance, owner, aperture in (
            (first, bs_to_irs, name, None if spherical else diagonal),
            (first, bs_to_irs, "the base station's array", bs_aperture),
            (last, irs_to_user, name, None if spherical else diagonal),
            (last, irs_to_user, "the user's array", user_aperture),
        ):
            if aperture and (near := near_field(hop, distance, owner, aperture, wavelength)):
                yield near


def _noun(name: str) -> str:
    return name.removeprefix("the ")


def _narrow_band(scenario: LocalizationSections) -> Iterator[str]:
    base_station, user, wavelength = scenario.base_station, scenario.user, scenario.wavelength
    apertures = {
        **dict(
            zip(
                scenario.panel_names,
                (panel.diagonal(wavelength) for panel in scenario.panels),
                strict=True,
            )
        ),
        "the base station's array": wavelength * base_station.antennas * base_station.spacing,
        "the user's array": wavelength * user.antennas * user.spacing,
    }
    for owner, aperture in apertures.items():
        crossing = aperture / SPEED_OF_LIGHT
        if crossing * scenario.carrier.bandwidth > 0.1:
            yield (
                f"Narrow band: a wave takes {format_quantity(crossing, 'time')} "
                f"across {owner}, more than a tenth of 1/bandwidth; the model neglects "
                "the beam squint that results."
            )


def _end_fire(scenario: LocalizationSections) -> Iterator[str]:
    surface, user = scenario.panel, scenario.user
    axis = (math.cos(user.heading), -math.sin(user.heading), 0.0)
    hop = np.subtract(user.position, surface.position)
    if abs(float(np.dot(hop, axis)) / np.linalg.norm(hop)) > 0.99:
        yield (
            "End-fire: the wave from the surface arrives almost along the user's array, where "
            "the pilots depend only weakly on user.heading."
        )


def own_amplitude(scenario: LocalizationSections, panel: SurfaceSpec) -> float:
    """Return the amplitude of one element from the path-loss law passed to `load`.

    Args:
        scenario: The checked sections of a scenario with such a law.
        panel: One of its surfaces.

    Raises:
        ValueError: The law is not usable.
    """
    # Only scenarios with such a law need JAX for their checks.
    from heliostat.channel.path_loss import check_law  # noqa: PLC0415

    assert scenario.path_loss is not None
    wavelength = scenario.wavelength
    return check_law(
        scenario.path_loss,
        math.dist(scenario.base_station.position, panel.position),
        math.dist(panel.position, scenario.user.position),
        wavelength,
        panel.gain * wavelength**2 / (4 * math.pi),
    )


def _link_budget(scenario: LocalizationSections, name: str, surface: SurfaceSpec) -> LinkBudget:
    """Gain of the path through all elements in phase, and the gain that free space allows."""
    link, wavelength = scenario.link, scenario.wavelength
    bs_to_irs = math.dist(scenario.base_station.position, surface.position)
    irs_to_user = math.dist(surface.position, scenario.user.position)
    area = surface.gain * wavelength**2 / (4 * math.pi)
    scattered = area / (4 * math.pi * bs_to_irs * irs_to_user)
    if scenario.path_loss is not None:
        element = own_amplitude(scenario, surface)
        remedy = f"check {function_name(scenario.path_loss)} and link.attenuation"
    elif link.path_loss == "sum_distance":
        element = math.sqrt(free_space_gain(bs_to_irs + irs_to_user, wavelength))
        remedy = "sum_distance is for the localization paper only; for planning write product"
    else:
        element = scattered
        remedy = (
            "write a link.attenuation of at most 1; gains of antennas and elements have their own "
            "keys, antenna_gain and element_gain"
        )
    lossless = scenario.base_station.antenna_gain * scenario.user.antenna_gain
    lossless *= surface.elements**2
    return LinkBudget(
        f"the path through the {surface.elements} elements of {name}",
        lossless * (link.attenuation * surface.reflection * element) ** 2,
        lossless * scattered**2,
        remedy,
    )


def _link_budget_warnings(
    scenario: LocalizationSections, key: str, name: str, surface: SurfaceSpec
) -> Iterator[str]:
    """Yield warnings about gains that are too high for the elements, or have no effect."""
    sum_distance = scenario.path_loss is None and scenario.link.path_loss == "sum_distance"
    if surface.element_gain is not None and sum_distance:
        yield f"Link budget: {key}.element_gain has no effect with path_loss: sum_distance."
    elif high := high_element_gain(surface, key):
        yield high
    if over := _link_budget(scenario, name, surface).warning():
        yield over


def _grating_lobes(
    scenario: LocalizationSections, name: str, surface: SurfaceSpec
) -> Iterator[str]:
    """Yield a warning for each array with grating lobes."""
    base_station, user = scenario.base_station, scenario.user
    arriving = np.subtract(surface.position, base_station.position)
    leaving = np.subtract(surface.focus or user.position, surface.position)
    end = "the user" if surface.focus is None else "its focus"
    if lobes := panel_warning(surface, name, leaving, end):
        yield lobes
    hop = np.subtract(surface.position, user.position)
    user_axis = (math.cos(user.heading), -math.sin(user.heading), 0.0)
    for owner, spacing, axis, towards in (
        ("the base station's array", base_station.spacing, base_station.axis, arriving),
        ("the user's array", user.spacing, user_axis, hop),
    ):
        cosine = float(np.dot(towards, axis) / np.linalg.norm(towards))
        if lobes := array_warning(spacing, owner, cosine, name):
            yield lobes


def _without_effect(key: str, surface: SurfaceSpec) -> Iterator[str]:
    """Yield a warning for each key of a surface that has no effect."""
    if surface.phases != "designed" and surface.focus is not None:
        yield f"Surface: {key}.focus has no effect, because the phases are not designed."
    if surface.phases.endswith(".npy") and surface.sweep is not None:
        yield f"Surface: {key}.sweep has no effect; each row of the file is one configuration."


def _ambiguity(scenario: LocalizationSections, key: str, surface: SurfaceSpec) -> Iterator[str]:
    if surface.phases != "designed" or surface.sweep is None:
        return
    correlation = largest_correlation(scenario, surface)
    if correlation > AMBIGUOUS:
        yield (
            f"Sweep: with this {key}.sweep and an unknown gain, two separate directions "
            f"have nearly proportional responses (correlation {correlation:.2f}), so that "
            f"an estimate may be in the wrong direction; remove {key}.sweep."
        )
