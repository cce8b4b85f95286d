"""Small searches: one scene size, so that every program is compiled once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from heliostat.protocol.multi_dwell import simulate_dwell, transmission_of
from heliostat.protocol.search_region import DwellDesign, Region, Scans
from heliostat.surface.active import random_reflection
from tests.support.sensing_scenes import random_covariance, sensing_scene

PATTERNS, SNAPSHOTS = 2, 10
REGION = Region(jnp.array([0.0, 8.0, -2.0]), jnp.array([14.0, 22.0, 4.0]))
MIN_SNR = 100.0


def scene_of(**changes):
    # One size for all: every program is compiled once.
    options = {"antennas": 8, "rows": (3, 3), "columns": (3, 3), "target": (6.0, 14.0, 1.0)}
    options |= {"symbols": float(2 * PATTERNS * SNAPSHOTS), "noise": 1e-13, "surface_noise": 1e-13}
    return sensing_scene(**(options | changes))


def random_design(scene, seed):
    rng = np.random.default_rng(seed)
    covariance, reflection = [], []
    for i, surface in enumerate(scene.surfaces):
        key = jax.random.fold_in(jax.random.key(seed), i)
        psi = random_reflection(key, PATTERNS * surface.array.elements, surface.amplification)
        reflection.append(psi.reshape(PATTERNS, -1))
        sent = [random_covariance(rng, 8, 3, 10.0 + k) for k in range(PATTERNS)]
        covariance.append(jnp.stack([jnp.asarray(r) for r in sent]))
    return DwellDesign(tuple(covariance), tuple(reflection))


def receptions_of(scene, seeds):
    settings = [random_design(scene, seed) for seed in seeds]
    keys = [jax.random.fold_in(jax.random.key(9), seed) for seed in seeds]
    pairs = zip(settings, keys, strict=True)
    return [simulate_dwell(scene, transmission_of(design, SNAPSHOTS), key) for design, key in pairs]


def parts_of(dwells):
    """Reflection, signal and echo of all dwells, one entry a surface each."""
    every = [(*dwell.transmission, dwell.echoes) for dwell in dwells]
    return [
        [jnp.concatenate(each) for each in zip(*part, strict=True)]
        for part in zip(*every, strict=True)
    ]


@functools.cache
def designed_scans():
    """Scans of the region, designed once for all test modules of a process."""
    return Scans(scene_of(), REGION, PATTERNS)
