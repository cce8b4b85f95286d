r"""Objective of the joint design of beams and coefficients of one surface at a given power.

The best covariance for given coefficients lies in the span of :math:`(I + \rho Q)^{-1}V^*`, with
:math:`V = [v, v_\theta, v_\varphi]` and :math:`Q` the matrix of `surface.active.power_weight`. The
beams are therefore parametrised as

.. math:: W = (I + \rho\hat Q)^{-1}\hat V^*C,\qquad R = p\,\frac{WW^H}{\|W\|^2},

where :math:`\hat V` spans the same space as V with orthogonalised derivatives, and
:math:`\hat Q` is Q scaled to the trace of the identity. The beams change with the coefficients, so
that a descent over :math:`(\psi, C, \rho)` does not zigzag between beams and coefficients as
alternating optimisation does.

Every candidate satisfies the power constraints. The coefficients of a pattern are scaled down
together until the surface's own noise takes at most a share c of :math:`P_s`, and the covariance is
scaled down until its signal takes at most the rest. The share is one of the unknowns. For
coefficients of a given shape, own noise n and signal s at full amplitude, and negligible surface
noise at the base station, the best amplitude that :math:`P_s` allows gives
:math:`c = \max(1/2, n/(n+s))`: more than half where the elements add more noise than they receive
signal. Several patterns in a dwell and several possible target positions only add sums.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import PyTreeDef
from jaxtyping import Array, Complex, Float

from heliostat.bounds.direction import direction_information, echo_derivatives
from heliostat.design.parametrization import (
    FINAL_SHARPNESS,
    Form,
    coefficients,
    log_crb,
    power_factor,
    snr_shortfall,
)
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import target_steering
from heliostat.scene.sensing import EchoLink, SensingScene
from heliostat.surface.active import ActiveSurface, own_noise, power_weight


class JointTask(eqx.Module):
    """Design problem of one surface for all possible target positions."""

    link: EchoLink
    surface: ActiveSurface
    angles: Float[Array, "position 2"]  # towards each possible position [rad]
    target_gain: Complex[Array, "position"]  # beta at each position [1]
    min_snr: Scalar  # [1]


class Layout(NamedTuple):
    """Sizes that divide a flat vector of unknowns into its parts."""

    patterns: int
    elements: int
    basis: int
    rank: int
    form: Form
    mean: bool  # minimise the mean CRB over positions, not the worst

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return self.patterns * (2 * self.elements + 2 * self.basis * self.rank + 3)


class Setting(NamedTuple):
    """Coefficients and covariances of each pattern."""

    reflection: Complex[Array, "pattern element"]  # [1]
    covariance: Complex[Array, "pattern tx tx"]  # [W]


@jax.jit
def joint_tasks(scenes: tuple[SensingScene, ...], min_snr: Scalar) -> tuple[JointTask, ...]:
    """Return the design problem of each surface.

    Args:
        scenes: The same scene with the target at each possible position.
        min_snr: Least SNR at every position. [1]
    """
    first = scenes[0]
    angles = jnp.stack([scene.angles() for scene in scenes], axis=1)
    gains = jnp.stack([scene.target_gain for scene in scenes], axis=1)
    return tuple(
        JointTask(first.link(i), surface, angles[i], gains[i], min_snr)
        for i, surface in enumerate(first.surfaces)
    )


def joint_layout(task: JointTask, patterns: int, mean: bool) -> Layout:
    """Return the layout of the unknowns, with two beams for each position.

    Args:
        task: The design problem.
        patterns: Number of patterns.
        mean: Whether to minimise the mean CRB over positions instead of the worst.
    """
    elements, antennas = task.link.bs_to_irs.shape
    positions = task.angles.shape[0]
    form: Form = "phase" if task.surface.passive else "plane"
    return Layout(patterns, elements, 3 * positions, min(2 * positions, antennas), form, mean)


def random_unknowns(layout: Layout, rng: np.random.Generator) -> np.ndarray:
    """Return a random starting point.

    Args:
        layout: Layout of the unknowns.
        rng: Random generator.
    """
    flat = rng.normal(size=layout.size)
    flat[-3 * layout.patterns :] = 0.0
    flat[-3 * layout.patterns : -2 * layout.patterns] = -1.0
    return flat


class Unknowns(NamedTuple):
    """Unknowns of each pattern, as read from a flat vector."""

    free: Float[Array, "pattern element 2"]  # input of `parametrization.coefficients`
    mixing: Complex[Array, "pattern basis beam"]  # C
    log_price: Float[Array, "pattern"]  # log of rho
    noise_logit: Float[Array, "pattern"]  # of the share of P_s left to the surface's own noise
    log_energy: Float[Array, "pattern"]  # log of the transmit energy, up to a common factor


def _read(flat: Float[Array, "unknown"], layout: Layout) -> Unknowns:
    K = layout.patterns
    first = 2 * K * layout.elements
    free = flat[:first].reshape(K, layout.elements, 2)
    mixing = flat[first : -3 * K].reshape(K, layout.basis, layout.rank, 2)
    return Unknowns(free, mixing[..., 0] + 1j * mixing[..., 1], *flat[-3 * K :].reshape(3, K))


@partial(jax.jit, static_argnames="layout")
def steered_unknowns(
    flat: Float[Array, "unknown"], designed: JointTask, wanted: JointTask, layout: Layout
) -> Float[Array, "unknown"]:
    r"""Return the unknowns of a design steered to another direction.

    The coefficients are multiplied by the ratio :math:`a_n^*(\text{new})\,a_n(\text{old})` of the
    steering vectors, so that :math:`\Psi a` stays the same. For given covariances so do the SNR and
    the information about the direction cosines, apart from the target's gain. Both tasks have one
    position.

    Args:
        flat: Unknowns of the design.
        designed: Task of the design.
        wanted: Task with the new direction.
        layout: Layout of the unknowns.
    """
    old, new = (target_steering(task.link.array, task.angles[0]) for task in (designed, wanted))
    end = 2 * layout.patterns * layout.elements
    free = flat[:end].reshape(layout.patterns, layout.elements, 2)
    turned = (free[..., 0] + 1j * free[..., 1]) * (old * jnp.conj(new))[None, :]
    free = jnp.stack([jnp.real(turned), jnp.imag(turned)], axis=-1)
    return jnp.concatenate([free.ravel(), flat[end:]])


def setting(
    task: JointTask,
    flat: Float[Array, "unknown"],
    power: Scalar,
    sharpness: Scalar,
    layout: Layout,
) -> Setting:
    """Return coefficients and covariances that satisfy every power constraint.

    Args:
        task: The design problem.
        flat: Unconstrained unknowns.
        power: Transmit power for this surface, averaged over its patterns. [W]
        sharpness: Sharpness of the smooth minima, see `parametrization.power_factor`.
        layout: Layout of the unknowns.
    """
    unknowns = _read(flat, layout)
    energy_share = layout.patterns * jax.nn.softmax(unknowns.log_energy)
    surface, channel = task.surface, task.link.bs_to_irs
    antennas = channel.shape[1]
    steering = jax.vmap(lambda at: target_steering(task.link.array, at))(task.angles)

    def largest_noise(psi: Array) -> Scalar:
        return jnp.max(own_noise(psi, task.target_gain, surface.noise))

    def pattern(
        psi: Array, mixing: Array, log_price: Array, noise_logit: Array, energy_share: Array
    ) -> Setting:
        # Not P_s times the share: P_s may be infinite, and the gradient must not be.
        claimed = largest_noise(psi) / jax.nn.sigmoid(noise_logit)
        psi = psi * jnp.sqrt(power_factor(surface.power, claimed, sharpness))
        weight = jax.vmap(lambda a, gain: power_weight(psi, channel, a, gain))(
            steering, task.target_gain
        )
        scaled = weight[0] * (antennas / jnp.real(jnp.trace(weight[0])))
        ways = jax.vmap(lambda at: echo_derivatives(task.link, psi, at))(task.angles)
        # The derivatives are nearly parallel to v. Without their part along v they span the same
        # beams, and the descent takes a fraction of the steps. The floor is for channels of rank
        # one, where nothing is left of them.
        ways = ways / jnp.linalg.norm(ways, axis=2, keepdims=True)
        along = jnp.einsum("qxm,qm->qx", ways, jnp.conj(ways[:, 0])).at[:, 0].set(0.0)
        ways = ways - along[..., None] * ways[:, :1]
        square = jnp.sum(jnp.abs(ways) ** 2, axis=2, keepdims=True)
        ways = ways / jnp.sqrt(square + 1e-16)
        ways = ways.reshape(layout.basis, antennas)
        # Hermitian: half the work of a general solver, with less overhead.
        factor = jax.scipy.linalg.cho_factor(
            jnp.eye(antennas) + jnp.exp(log_price) * scaled, lower=True
        )
        beams = jax.scipy.linalg.cho_solve(factor, jnp.conj(ways).T @ mixing)
        covar = beams @ jnp.conj(beams).T
        covar = covar * (energy_share * power / jnp.real(jnp.trace(covar)))
        radiated = jnp.max(jnp.real(jnp.einsum("qab,ba->q", weight, covar)))
        room = surface.power - largest_noise(psi)
        return Setting(psi, covar * power_factor(room, radiated, sharpness))

    psi = coefficients(unknowns.free, surface.amplification, layout.form)
    return jax.vmap(pattern)(
        psi, unknowns.mixing, unknowns.log_price, unknowns.noise_logit, energy_share
    )


def log_crbs(task: JointTask, chosen: Setting) -> tuple[Float[Array, "position"], Array]:
    """Return the log CRB and the SNR at every position.

    Args:
        task: The design problem.
        chosen: Coefficients and covariances.
    """

    def at(angles: Array, gain: Array) -> tuple[Scalar, Scalar]:
        direction = direction_information(
            task.link, chosen.reflection, chosen.covariance, angles, gain
        )
        return log_crb(direction), direction.snr

    return jax.vmap(at)(task.angles, task.target_gain)


def joint_objective(
    task: JointTask, flat: Float[Array, "unknown"], power: Scalar, sharpness: Scalar, layout: Layout
) -> Scalar:
    """Return the log of the mean CRB, or a smooth maximum of the log CRBs, plus an SNR penalty.

    Arguments as for `setting`.
    """
    crbs, snr = log_crbs(task, setting(task, flat, power, sharpness, layout))
    if layout.mean:
        value = jax.nn.logsumexp(crbs) - jnp.log(crbs.size)
    else:
        value = jax.nn.logsumexp(sharpness * crbs) / sharpness
    return value + sharpness * snr_shortfall(snr, task.min_snr * (1 + 1 / sharpness))


@partial(jax.jit, static_argnames=("structure", "layout"))
def value_and_slopes(
    leaves: tuple[Array, ...],
    flat: Float[Array, "unknown"],
    power: Scalar,
    sharpness: Scalar,
    structure: PyTreeDef,
    layout: Layout,
) -> Float[Array, "..."]:
    """Return `joint_objective`, its derivative to the log power, and its gradient, in one row.

    By the envelope theorem the second entry, at an optimum, is the derivative of the least log
    CRB to the log power. The task is passed as `jax.tree.flatten` returns it, because a descent
    calls this thousands of times and flattening would take half of each call. Compiled once for
    each layout and shape.

    Args:
        leaves: Leaves of the task.
        flat: Unconstrained unknowns.
        power: Transmit power for this surface, averaged over its patterns. [W]
        sharpness: Sharpness of the smooth minima, see `parametrization.power_factor`.
        structure: Tree structure of the task.
        layout: Layout of the unknowns.
    """
    task: JointTask = jax.tree.unflatten(structure, leaves)

    def objective(x: Array, log_power: Scalar) -> Scalar:
        return joint_objective(task, x, jnp.exp(log_power), sharpness, layout)

    value, (slope, answer) = jax.value_and_grad(objective, argnums=(0, 1))(flat, jnp.log(power))
    return jnp.concatenate([jnp.stack([value, answer]), slope])


@partial(jax.jit, static_argnames="layout")
def final_setting(
    task: JointTask, flat: Float[Array, "unknown"], power: Scalar, layout: Layout
) -> tuple[Setting, Array, Array]:
    """Return the setting, log CRBs and SNRs, with the powers used to nine digits.

    Arguments as for `setting`.
    """
    chosen = setting(task, flat, power, jnp.asarray(FINAL_SHARPNESS), layout)
    return chosen, *log_crbs(task, chosen)
