"""A small sensing scenario, and designs for it that cost nothing."""

import jax.numpy as jnp
import numpy as np

import heliostat as hs
from heliostat.design.feasibility import dwell_design
from heliostat.scenario import parse
from tests.support.sensing_scenes import random_covariance, random_reflections

YARD = """\
system: sensing
carrier: {frequency: 10 GHz}
base_station: {position: [0, 0, 3], antennas: 4, power: 2 W, noise: -90 dBm}
surfaces:
  - {position: [-5, 10, 2], rows: 2, columns: 2, amplification: 4, power: 0.5 W, noise: -90 dBm,
     element_gain: 0 dBi}
  - {position: [-5, 20, 2], rows: 2, columns: 3, amplification: 4, power: 0.5 W, noise: -90 dBm,
     element_gain: 0 dBi}
target: {position: [5, 14, 1], cross_section: 1 m2}
link: {rician: 5 dB, reference_loss: -30 dB, exponent: 2.2, seed: 3}  # the sensing paper's
dwell: {symbols: 100, min_snr: none}
"""


def yard(**overrides):
    return parse(YARD, {key.replace("__", "."): value for key, value in overrides.items()})


def cheap_design(scenario, *_, **__):
    """Random coefficients and covariances that keep every constraint of a yard."""
    scene, patterns = scenario.build(), scenario.dwell.patterns
    rng = np.random.default_rng(5)
    covariance = jnp.array(
        [
            [random_covariance(rng, 4, 2, power) for _ in range(patterns)]
            for power in (0.5, 1.5)[: scene.n_surfaces]
        ]
    )
    reflection = random_reflections(scene, patterns=patterns)
    bounds = hs.direction_bounds(scenario, covariance, reflection)
    worst = float(bounds.crb.max())
    return dwell_design(
        scene,
        covariance,
        reflection,
        lower_bound=worst / 3,
        history=[2 * worst, worst],
        min_snr=0.0,
    )
