"""Scenes for Sionna RT, a scenario in them, and literal checks of designs."""

import numpy as np

from heliostat.scenario import parse

SPEED_OF_LIGHT = 299_792_458.0

EMPTY = '<scene version="2.1.0"></scene>'
MIRROR = """<scene version="2.1.0">
<bsdf type="itu-radio-material" id="metal">
  <string name="type" value="metal"/><float name="thickness" value="0.1"/>
</bsdf>
<shape type="rectangle" id="wall">
  <transform name="to_world">
    <scale value="60"/><rotate y="1" angle="90"/><translate x="9"/>
  </transform>
  <ref id="metal" name="bsdf"/>
</shape>
</scene>"""
"""A metal wall in the plane x = 9."""

# The second panel is turned by 90 degrees: it faces +y, and its rows run along -x.
TURNED = """\
system: sensing
carrier: {frequency: 10 GHz}
base_station: {position: [0, 0, 3], antennas: 3, axis: [0.6, 0.8, 0], power: 20 W, noise: -100 dBm,
  antenna_gain: 3 dBi}
surfaces:
  - {position: [-5, 10, 2], rows: 2, columns: 2, amplification: 20, power: 0.5 W, noise: -100 dBm}
  - {position: [3, -6, 2.5], azimuth: 90 deg, rows: 2, columns: 3, amplification: 20, power: 0.5 W,
     noise: -100 dBm, spacing: [0.5, 0.25]}
target: {position: [5, 14, 1], cross_section: 1 m2}
link: {rician: 5 dB}
dwell: {symbols: 1000, min_snr: none}
"""
WAVELENGTH = SPEED_OF_LIGHT / 10e9
ANTENNAS = np.array([[0.0, 0, 3]]) + WAVELENGTH / 2 * np.outer(np.arange(3), [0.6, 0.8, 0])
ELEMENTS = (
    np.array([[-5.0, 10 + 0.5 * c * WAVELENGTH, 2 + 0.5 * r * WAVELENGTH]
              for r in range(2) for c in range(2)]),
    np.array([[3.0 - 0.5 * c * WAVELENGTH, -6, 2.5 + 0.25 * r * WAVELENGTH]
              for r in range(2) for c in range(3)]),
)  # fmt: skip
"""Literal positions of antennas and elements. [m]"""
GAINS = (10**0.3 * np.pi, 10**0.3 * np.pi / 2)
"""Gain of an antenna times that of an element, 4 pi times its area in square wavelengths. [1]"""


def turned(**overrides):
    return parse(TURNED, {key.replace("__", "."): value for key, value in overrides.items()})


def free_space(elements, antennas, wavelength=WAVELENGTH):
    """Literal channel between isotropic antennas in free space, [element, antenna]."""
    channel = np.empty((len(elements), len(antennas)), complex)
    for n, there in enumerate(elements):
        for m, here in enumerate(antennas):
            distance = np.sqrt(np.sum((there - here) ** 2))
            phase = 2 * np.pi * distance / wavelength
            channel[n, m] = wavelength / (4 * np.pi * distance) * np.exp(-1j * phase)
    return channel


def check_constraints(scenario, covariance, reflection):
    """Check powers, amplitudes and SNR of a design with the printed formulas."""
    scene = scenario.build()
    covariance = np.asarray(covariance)
    transmit = np.mean([np.trace(r).real for r in covariance.reshape(-1, *covariance.shape[-2:])])
    assert transmit <= scenario.base_station.power * (1 + 1e-9)
    for i, surface in enumerate(scenario.surfaces):
        noise, beta = surface.noise, complex(scene.target_gain[i])
        g = np.asarray(scene.bs_to_irs[i])
        towards = np.subtract(scenario.target.position, surface.position)
        cosines = surface.axes[:2] @ towards / np.linalg.norm(towards)
        column, row = np.meshgrid(np.arange(surface.columns), np.arange(surface.rows))
        turns = surface.spacing[0] * column * cosines[0] + surface.spacing[1] * row * cosines[1]
        a = np.exp(2j * np.pi * turns.ravel())
        patterns = np.asarray(reflection[i]).reshape(-1, surface.elements)
        sent = covariance[i].reshape(-1, *covariance.shape[-2:])
        snr = 0.0
        for psi, r in zip(patterns, sent, strict=True):
            assert np.max(np.abs(psi)) <= surface.amplification * (1 + 1e-9)
            once, echo = np.diag(psi) @ g, np.diag(psi) @ (beta * np.outer(a, a))
            big_psi = np.diag(psi)
            radiated = sum(
                np.trace(x @ middle @ x.conj().T).real
                for x, middle in (
                    (echo @ once, r),
                    (echo @ big_psi, noise * np.eye(len(a))),
                    (once, r),
                    (big_psi, 2 * noise * np.eye(len(a))),
                )
            )
            assert radiated <= surface.power * (1 + 1e-9)
            mean = once.T @ (beta * np.outer(a, a)) @ once
            own = noise * once.T @ once.conj()  # the paper's (13)
            disturbance = own + scenario.base_station.noise * np.eye(g.shape[1])
            share = scenario.dwell.symbols / len(scenario.surfaces) / len(patterns)
            snr += share * np.trace(mean.conj().T @ np.linalg.solve(disturbance, mean) @ r).real
        assert snr >= scenario.dwell.required_snr * (1 - 1e-6)
