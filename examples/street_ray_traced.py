"""Bounds with ray-traced channels and with Rician channels of the same mean power and K-factor.

Run: python FILE, with the extra "raytrace"; about four minutes. The ray-traced channels are those
at the scenario's positions and with both surfaces moved by up to 5 cm in each direction, since a
few millimetres change how the paths interfere.
"""

import tempfile
from pathlib import Path

import numpy as np

import heliostat as hs

DRAWS, MOVES = 15, 9
SCENE = "simple_street_canyon"
scenario = hs.load("sensing-street")
wavelength, station = scenario.wavelength, scenario.base_station
nominal = hs.trace_channels(scenario, SCENE)
traced = nominal.bs_to_irs
rng = np.random.default_rng(0)


def moved():
    """Ray-traced channels with both surfaces elsewhere."""
    places = [s.position + rng.uniform(-0.05, 0.05, 3) for s in scenario.surfaces]
    given = {f"surfaces.{i}.position": place.tolist() for i, place in enumerate(places)}
    return hs.trace_channels(scenario.updated(given), SCENE).bs_to_irs


# Spherical waves along the direct paths, with entries of modulus 1, and the shares of both parts.
along = wavelength * station.spacing * np.arange(station.antennas)
antennas = np.array(station.position) + along[:, None] * np.array(station.axis)
elements = np.stack([surface.element_positions(wavelength) for surface in scenario.surfaces])
distance = np.linalg.norm(elements[:, :, None, :] - antennas, axis=-1)
direct = np.exp(-2j * np.pi * distance / wavelength)
power = np.mean(np.abs(traced) ** 2, axis=(1, 2), keepdims=True)
share = np.abs(np.mean(direct.conj() * traced, axis=(1, 2), keepdims=True)) ** 2 / power
k_factor = 10 * np.log10(share / (1 - share)).ravel()


def rician():
    """Rician channels with the mean power and the K-factor of the traced ones."""
    diffuse = rng.normal(size=(*traced.shape, 2)) @ [1, 1j] / np.sqrt(2)
    return np.sqrt(power) * (np.sqrt(share) * direct + np.sqrt(1 - share) * diffuse)


def outside(channels):
    """Share of the power outside the strongest singular vector."""
    squares = np.linalg.svd(channels, compute_uv=False) ** 2
    return 1 - squares[:, 0] / squares.sum(axis=1)


def designed(channels, patterns):
    """Position error bound [m], excess over the lower bound [dB] and root CRB [deg] of a design."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "channels.npz"
        np.savez(file, bs_to_irs=channels, target_gain=nominal.target_gain)
        given = {"link.channels": str(file), "link.rician": None, "dwell.patterns": patterns}
        given["dwell.min_snr"] = "none"  # the smallest SNR is printed instead
        changed = scenario.updated(given)
        design = hs.design_beamforming(changed)
        bounds = hs.direction_bounds(changed, design.covariance, design.reflection)
    worst = np.rad2deg(np.sqrt(np.max(design.crb)))
    return float(bounds.position_bound), float(design.excess_db), float(worst)


def show(name, channels, patterns):
    """Print the bounds of designs for several channels."""
    found = np.array([designed(each, patterns) for each in channels])
    low, middle, high = np.percentile(found[:, 0], [10, 50, 90])
    text = f"median {middle:.2f} m, 80 % from {low:.2f} to {high:.2f} m"
    print(f"    {name}  {text}; root CRB {np.median(found[:, 2]):.2f} deg", flush=True)


drawn = [rician() for _ in range(DRAWS)]
elsewhere = [traced, *(moved() for _ in range(MOVES))]
print("Power outside the strongest singular vector, medians; K-factor at the scenario's positions")
shares = [np.median([outside(each) for each in some], axis=0) for some in (elsewhere, drawn)]
for i, (one, other) in enumerate(zip(*shares, strict=True)):
    text = f"{100 * one:.1f} % ray-traced, {100 * other:.1f} % Rician"
    print(f"    surfaces.{i}  {text}; K-factor {k_factor[i]:.1f} dB")
for patterns in (1, 2):
    peb, excess, worst = designed(traced, patterns)
    print(f"Position error bound of designs with {patterns} pattern{'s' * (patterns > 1)}")
    print(f"    at the scenario's positions  {peb:.2f} m, {excess:.1f} dB above the lower bound")
    show("ray-traced", elsewhere, patterns)
    show("Rician    ", drawn, patterns)
