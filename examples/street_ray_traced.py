"""Bounds with ray-traced channels and with Rician channels, in the street of sensing-street.

Run: python FILE, with the extra "raytrace"; about five minutes. The ray-traced channels are those
at the scenario's positions and with both surfaces moved by up to 5 cm in each direction, since a
few millimeters change how the paths interfere.
"""

import tempfile
import warnings
from pathlib import Path

import numpy as np

import heliostat as hs

CHANNELS = 11
scenario = hs.load("sensing-street")
wavelength, station = scenario.wavelength, scenario.base_station
rng = np.random.default_rng(0)
warnings.simplefilter("ignore", hs.ModelWarning)


def moved():
    """Ray-traced channels with both surfaces moved."""
    places = [surface.position + rng.uniform(-0.05, 0.05, 3) for surface in scenario.surfaces]
    given = {f"surfaces.{i}.position": place.tolist() for i, place in enumerate(places)}
    return hs.trace_channels(scenario.updated(given), "simple_street_canyon")


def rician():
    """Rician channels with the mean power and the K-factor of the traced paths."""
    along = wavelength * station.spacing * np.arange(station.antennas)
    antennas = np.array(station.position) + along[:, None] * np.array(station.axis)
    channels = []
    for surface, paths in zip(scenario.surfaces, nominal.paths, strict=True):
        elements = surface.element_positions(wavelength)
        distance = np.linalg.norm(elements[:, None, :] - antennas, axis=-1)
        direct = np.exp(-2j * np.pi * distance / wavelength)
        diffuse = rng.normal(size=(*direct.shape, 2)) @ [1, 1j] / np.sqrt(2)
        powers = paths.free_space, paths.power.sum() - paths.free_space
        channels.append(np.sqrt(powers[0]) * direct + np.sqrt(powers[1]) * diffuse)
    return np.stack(channels)


def outside(channels):
    """Share of each surface's power outside the strongest singular vector."""
    squares = np.linalg.svd(channels, compute_uv=False) ** 2
    return 1 - squares[:, 0] / squares.sum(axis=1)


def designed(channels, patterns):
    """Position error bound [m], smallest SNR [dB] and excess over the lower bound [dB]."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "channels.npz"
        np.savez(file, bs_to_irs=channels, target_gain=nominal.target_gain)
        given = {"link.channels": str(file), "link.rician": None, "dwell.patterns": patterns}
        changed = scenario.updated(given | {"dwell.min_snr": "none"})
        design = hs.design_beamforming(changed)
        bounds = hs.direction_bounds(changed, design.covariance, design.reflection)
    snr = 10 * np.log10(np.min(design.snr))
    return float(bounds.position_bound), float(snr), float(design.excess_db)


nominal = hs.trace_channels(scenario, "simple_street_canyon")
kinds = {
    "ray-traced": [nominal.bs_to_irs, *(moved().bs_to_irs for _ in range(CHANNELS - 1))],
    "Rician, same power and K": [rician() for _ in range(CHANNELS)],
    "Rician, 9 dB, free space": [
        np.stack(scenario.updated({"link.seed": i}).build().bs_to_irs) for i in range(CHANNELS)
    ],
}
for i, paths in enumerate(nominal.paths):
    others = paths.power.sum() - paths.free_space
    power, k_factor = 10 * np.log10([1 + others / paths.free_space, paths.free_space / others])
    print(f"surfaces.{i}: K-factor {k_factor:.1f} dB, {power:.1f} dB more power than free space")
print("Share of the power outside the strongest singular vector, median")
for name, channels in kinds.items():
    first, second = 100 * np.median([outside(each) for each in channels], axis=0)
    print(f"    {name:25} surfaces.0 {first:4.1f} %, surfaces.1 {second:4.1f} %")
for patterns in (1, 2):
    print(f"Position error bound of designs with {patterns} pattern{'s' * (patterns > 1)}")
    for name, channels in kinds.items():
        peb, snr, excess = np.array([designed(each, patterns) for each in channels]).T
        low, middle, high = np.percentile(peb, [10, 50, 90])
        text = f"median {middle:.2f} m, 80 % from {low:.2f} to {high:.2f} m"
        text += f"; excess {np.median(excess):.1f} dB, SNR from {snr.min():.0f} dB"
        print(f"    {name:25} {text}", flush=True)
