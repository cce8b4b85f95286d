"""Truths: the received signal built from full matrices as the paper writes it."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given

from heliostat.bounds.fisher import slepian_bangs
from heliostat.observation.pilots import (
    band_nodes,
    channel_params,
    pilot_mean,
    unknowns_at,
)
from heliostat.units import SPEED_OF_LIGHT
from tests.support.scenes import FOUR, localization_scene, random_scenes


def paper_mean(scene, active, frequency):
    """Paper eqs. (2)-(19) with dense matrices and angles; one sample a beam pair."""
    bs, surface, user, link = scene.base_station, scene.surface, scene.user, scene.link
    q, v, p = (np.asarray(x.position) for x in (bs, surface, user))
    d1, d2 = np.linalg.norm(v - q), np.linalg.norm(p - v)
    steer = lambda n, d, sine: np.exp(2j * np.pi * d * np.arange(n) * sine)
    sine_tx = (v - q)[0] / d1
    alpha = float(user.heading)
    sine_rx = ((p - v)[0] * np.cos(alpha) - (p - v)[1] * np.sin(alpha)) / d2
    dh, dv = np.asarray(surface.array.spacing)
    panel = lambda u: np.kron(
        steer(surface.array.rows, dv, u[2]), steer(surface.array.columns, dh, u[1])
    )
    arrive, leave = panel((v - q) / d1), panel((p - v) / d2)
    h_bi = np.outer(arrive, steer(active, 0.5, sine_tx).conj())
    h_im = np.outer(steer(user.antennas, float(user.spacing), sine_rx), leave.conj())
    beam = lambda n: np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) / np.sqrt(n)
    gain = complex(surface.gain) * float(link.attenuation) * float(link.wavelength)
    gain /= 4 * np.pi * (d1 + d2)
    out = []
    focus = np.asarray(surface.alignment.focus)
    for offset in np.asarray(surface.alignment.offset):
        fh, fv = focus + offset
        focused = np.kron(steer(surface.array.rows, dv, fv), steer(surface.array.columns, dh, fh))
        theta = np.diag(float(surface.reflection) * focused * arrive.conj())
        through = gain * h_im @ theta @ h_bi
        out.append((beam(user.antennas).conj().T @ through @ beam(active)).T)
    energy = float(bs.power) * float(scene.frame.pilot) / (len(out) * len(frequency))
    delay = np.exp(-2j * np.pi * np.asarray(frequency) * (d1 + d2) / SPEED_OF_LIGHT)
    return np.sqrt(energy) * np.array(out)[..., None] * delay


def test_mean_is_that_of_the_papers_matrices():
    scene = localization_scene(
        sweep=FOUR, columns=3, rows=4, antennas=6, user_antennas=5, reflection=0.8, gain=1j
    )
    frequency = jnp.array([-2e7, 0.0, 3e7])
    channel = channel_params(scene, unknowns_at(scene))
    actual = pilot_mean(scene, channel, 6, frequency)
    expected = paper_mean(scene, 6, frequency)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@given(random_scenes())
def test_energy_over_all_beam_pairs_is_that_of_the_link(scene):
    # Truth: orthonormal codebooks keep the energy; a pair of arrays has gain N_B N_M.
    active = scene.base_station.array.elements
    channel = channel_params(scene, unknowns_at(scene))
    mean = pilot_mean(scene, channel, active, band_nodes(scene.link.bandwidth))
    departure = scene.departure(scene.user.position)
    from heliostat.surface.passive import surface_response

    response, _ = surface_response(
        scene.surface.array,
        scene.surface.reflection,
        scene.surface.alignment,
        scene.arrival(),
        departure,
    )
    distance = np.linalg.norm(np.asarray(scene.user.position - scene.surface.position))
    amplitude = float(scene.path_amplitude(jnp.asarray(distance)))
    energy = float(scene.base_station.power * scene.frame.pilot)
    expected = energy * amplitude**2 * np.mean(np.abs(response) ** 2) * active * scene.user.antennas
    np.testing.assert_allclose(np.sum(np.abs(mean) ** 2), expected, rtol=1e-10)


def test_two_frequencies_carry_the_delay_information_of_the_whole_band():
    # Truth: the integral of omega^2 over a flat band, pi^2 B^2 / 3 (paper eq. (70)).
    bandwidth = 3e7
    nodes = np.asarray(band_nodes(jnp.asarray(bandwidth)))
    omega = np.linspace(-np.pi * bandwidth, np.pi * bandwidth, 200_001)
    np.testing.assert_allclose(np.mean((2 * np.pi * nodes) ** 2), np.mean(omega**2), rtol=1e-4)
    assert abs(np.sum(nodes)) < 1e-6


def test_bins_of_the_band_approach_its_delay_information():
    # Truth: midpoints of F bins hold pi^2 B^2 / 3 (1 - 1/F^2).
    scene = localization_scene(antennas=1, user_antennas=1, columns=1, rows=1)
    channel = channel_params(scene, unknowns_at(scene))
    reference = None
    for bins in (4, 16, 64):
        nodes = (jnp.arange(bins) + 0.5) / bins * 1e8 - 5e7
        jacobian = []
        step = 1e-3
        for sign in (1, -1):
            moved = channel.at[0].add(sign * step)
            jacobian.append(pilot_mean(scene, moved, 1, nodes).ravel())
        slope = (jacobian[0] - jacobian[1]) / (2 * step)
        information = slepian_bangs(slope[:, None], scene.link.noise_density)[0, 0]
        mean = pilot_mean(scene, channel, 1, nodes)
        full = 2 / scene.link.noise_density * jnp.sum(jnp.abs(mean) ** 2)
        reference = full * (np.pi * 1e8 / SPEED_OF_LIGHT) ** 2 / 3
        np.testing.assert_allclose(information / reference, 1 - 1 / bins**2, rtol=1e-5)
