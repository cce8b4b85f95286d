"""Benchmark designs of the paper, and matched beams.

As in the paper, none of them has an SNR constraint.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from heliostat.design.cooperative import random_phases
from heliostat.design.feasibility import dwell_design
from heliostat.design.joint_descent import transmit_half
from heliostat.design.parametrization import FINAL_SHARPNESS
from heliostat.design.reflect import design_reflection, reflection_task, within_power
from heliostat.design.result import BeamformingDesign
from heliostat.observation.echoes import round_trip, target_steering
from heliostat.scene.sensing import SensingScene
from heliostat.surface.active import passive_surface


def isotropic_covariance(scene: SensingScene) -> Complex[Array, "surface tx tx"]:
    r"""Return isotropic covariances, :math:`R_l = (P_t/M)I`. [W]

    Args:
        scene: The scene.
    """
    antennas = scene.base_station.array.elements
    even = jnp.eye(antennas, dtype=complex) * (scene.base_station.power / antennas)
    return jnp.broadcast_to(even, (scene.n_surfaces, antennas, antennas))


def transmit_only(scene: SensingScene, *, seed: int = 0) -> BeamformingDesign:
    """Design the paper's "Transmit BF only": optimal covariances for `random_phases`.

    Args:
        scene: The scene.
        seed: Seed of the phases.

    Raises:
        ValueError: If no covariance makes both angles identifiable.
    """
    optimum = transmit_half(scene, random_phases(scene, seed), jnp.zeros(()))
    if optimum is None:
        raise ValueError("with these phases no covariance makes both angles identifiable")
    return dwell_design(scene, optimum.covariance, optimum.reflection, min_snr=0.0)


def reflective_only(scene: SensingScene, *, seed: int = 0) -> BeamformingDesign:
    """Design the paper's "Reflective BF only": best coefficients for isotropic transmission.

    Args:
        scene: The scene.
        seed: Seed of the starts.
    """
    return design_reflection(scene, isotropic_covariance(scene), min_snr=0.0, seed=seed)


def with_passive_surfaces(scene: SensingScene) -> SensingScene:
    """Return the scene with passive surfaces: unit modulus, no noise, no power limit.

    Args:
        scene: The scene.
    """
    passive = tuple(passive_surface(s.position, s.array) for s in scene.surfaces)
    return eqx.tree_at(lambda s: s.surfaces, scene, passive)


def matched_beams(scene: SensingScene) -> BeamformingDesign:
    r"""Focus the channel's strongest mode on the target, with beams :math:`\propto v^*`.

    This maximizes the SNR of the echo rather than its information: for one dominant mode, all
    elements add in phase at the target. The surfaces get equal transmit power.

    Args:
        scene: The scene.
    """
    angles, covariance, reflection = scene.angles(), [], []
    for i, (surface, begun) in enumerate(zip(scene.surfaces, random_phases(scene, 0), strict=True)):
        link = scene.link(i)
        mode = np.linalg.svd(np.asarray(link.bs_to_irs), full_matrices=False)[0][:, 0]
        towards = target_steering(surface.array, angles[i])
        phases = jnp.exp(-1j * (jnp.angle(jnp.asarray(mode)) + jnp.angle(towards)))
        psi = jnp.abs(begun[0]) * phases
        way = round_trip(link, psi, angles[i])
        beam = jnp.conj(way) / jnp.linalg.norm(way)
        covar = scene.base_station.power * beam[:, None] * jnp.conj(beam)[None, :]
        covariance.append(covar[None])
        task = reflection_task(scene, i, covariance[i], 0.0)
        reflection.append(within_power(task, psi[None], jnp.asarray(FINAL_SHARPNESS)))
    return dwell_design(scene, jnp.stack(covariance), tuple(reflection), min_snr=0.0)
