r"""Objective of the joint design of beams and coefficients of one surface at a given power.

The best covariance for given coefficients lies in the span of :math:`(I + \rho Q)^{-1}V^*`, with
:math:`V = [v, v_\theta, v_\varphi]` and :math:`Q` the matrix of `surface.active.power_weight`. The
beams are therefore parametrized as

.. math:: W = (I + \rho\hat Q)^{-1}\hat V^*C,\qquad R = p\,\frac{WW^H}{\|W\|^2},

where :math:`\hat V` spans the same space as V with orthogonalised derivatives, and
:math:`\hat Q` is Q scaled to the trace of the identity. The beams change with the coefficients, so
that a descent over :math:`(\psi, C, \rho)` does not zigzag between beams and coefficients as
alternating optimization does.

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
from jaxtyping import Array, Complex, Float

from heliostat.bounds.direction import (
    DirectionInformation,
    direction_bound,
    information_of_matrices,
    steering_derivatives,
)
from heliostat.design.parametrization import (
    FINAL_SHARPNESS,
    Form,
    coefficients,
    log_crb,
    power_factor,
    snr_shortfall,
)
from heliostat.geometry.frames import Scalar
from heliostat.scene.sensing import EchoLink, SensingScene
from heliostat.stored_programs import stored_jit
from heliostat.surface.active import ActiveSurface, own_noise

MAX_LOG_PRICE = 30.0
"""Largest log of :math:`\\rho` that is used. Beyond it the identity does not change the beams any
more, and numbers overflow."""


class JointTask(eqx.Module):
    """Design problem of one surface for all possible target positions."""

    link: EchoLink
    surface: ActiveSurface
    angles: Float[Array, "position 2"]  # towards each possible position [rad]
    steering: Complex[Array, "position 3 element"]
    """Steering vector to each possible position, and its derivatives with respect to the angles."""
    target_gain: Complex[Array, "position"]  # beta at each position [1]
    min_snr: Scalar  # [1]


class Layout(NamedTuple):
    """Sizes that divide a flat vector of unknowns into its parts."""

    patterns: int
    elements: int
    basis: int
    rank: int
    form: Form
    mean: bool  # minimize the mean CRB over positions, not the worst

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return self.patterns * (2 * self.elements + 2 * self.basis * self.rank + 3)


class Setting(NamedTuple):
    """Coefficients and covariances of each pattern."""

    reflection: Complex[Array, "pattern element"]  # [1]
    covariance: Complex[Array, "pattern tx tx"]  # [W]


class _Candidate(NamedTuple):
    """Coefficients and beams of each pattern, with the matrices that the CRB depends on."""

    reflection: Complex[Array, "pattern element"]  # [1]
    beams: Complex[Array, "pattern tx beam"]  # W with R = W W^H [√W]
    received: Complex[Array, "pattern position 3 3"]  # A [1/W]
    transmitted: Complex[Array, "pattern position 3 3"]  # B [W]


@stored_jit
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
        JointTask(
            first.link(i),
            surface,
            angles[i],
            jax.vmap(lambda at, array=surface.array: steering_derivatives(array, at))(angles[i]),
            gains[i],
            min_snr,
        )
        for i, surface in enumerate(first.surfaces)
    )


def joint_layout(task: JointTask, patterns: int, mean: bool) -> Layout:
    """Return the layout of the unknowns, with two beams for each position.

    Args:
        task: The design problem.
        patterns: Number of patterns.
        mean: Whether to minimize the mean CRB over positions instead of the worst.
    """
    elements, antennas = task.link.bs_to_irs.shape
    positions = task.target_gain.size
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


def repeated_unknowns(flat: np.ndarray, layout: Layout, patterns: int) -> np.ndarray:
    """Return the unknowns of several patterns that are all equal to the one of a design.

    Args:
        flat: Unknowns of a design with one pattern.
        layout: Their layout.
        patterns: Number of patterns.
    """
    first = 2 * layout.elements
    parts = flat[:first], flat[first:-3]
    return np.concatenate(
        [*(np.tile(part, patterns) for part in parts), np.repeat(flat[-3:], patterns)]
    )


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
    old, new = designed.steering[0, 0], wanted.steering[0, 0]
    end = 2 * layout.patterns * layout.elements
    free = flat[:end].reshape(layout.patterns, layout.elements, 2)
    turned = (free[..., 0] + 1j * free[..., 1]) * (old * jnp.conj(new))[None, :]
    free = jnp.stack([jnp.real(turned), jnp.imag(turned)], axis=-1)
    return jnp.concatenate([free.ravel(), flat[end:]])


def _candidate(
    task: JointTask,
    flat: Float[Array, "unknown"],
    power: Scalar,
    sharpness: Scalar,
    layout: Layout,
) -> _Candidate:
    """Return coefficients and beams that satisfy every power constraint, see `setting`."""
    unknowns = _read(flat, layout)
    energy_share = layout.patterns * jax.nn.softmax(unknowns.log_energy)
    surface, channel = task.surface, task.link.bs_to_irs
    antennas = channel.shape[1]
    noise_ratio = task.link.surface_noise / task.link.noise

    def largest_noise(psi: Array) -> Scalar:
        return jnp.max(own_noise(psi, task.target_gain, surface.noise))

    def pattern(
        psi: Array, mixing: Array, log_price: Array, noise_logit: Array, energy_share: Array
    ) -> _Candidate:
        # Not P_s times the share: P_s may be infinite, and the gradient must not be.
        claimed = largest_noise(psi) / jax.nn.sigmoid(noise_logit)
        psi = psi * jnp.sqrt(power_factor(surface.power, claimed, sharpness))
        square = jnp.real(psi) ** 2 + jnp.imag(psi) ** 2
        gram = jnp.conj(channel).T @ (square[:, None] * channel)
        echo_gain = jnp.abs(task.target_gain) ** 2 * jnp.sum(square)
        ways = (task.steering * psi[None, None, :]) @ channel
        # The derivatives are nearly parallel to v. Without their part along v they span the same
        # beams, and the descent takes a fraction of the steps. The floor is for channels of rank
        # one, where nothing is left of them.
        basis = ways / jnp.linalg.norm(ways, axis=2, keepdims=True)
        along = jnp.einsum("qxm,qm->qx", basis[:, 1:], jnp.conj(basis[:, 0]))
        apart = basis[:, 1:] - along[..., None] * basis[:, :1]
        apart = apart / jnp.sqrt(jnp.sum(jnp.abs(apart) ** 2, axis=2, keepdims=True) + 1e-16)
        basis = jnp.concatenate([basis[:, :1], apart], axis=1).reshape(layout.basis, antennas)
        main = ways[0, 0]
        weight = gram + echo_gain[0] * jnp.conj(main)[:, None] * main[None, :]
        price = jnp.exp(jnp.minimum(log_price, MAX_LOG_PRICE))
        price = price * antennas / jnp.real(jnp.trace(weight))
        # The beams, and the inverse of the conjugate of the noise covariance over its own floor.
        systems = jnp.eye(antennas)[None] + jnp.stack([price * weight, noise_ratio * gram])
        right = jnp.stack([basis, ways.reshape(layout.basis, antennas)])
        factor = jnp.linalg.cholesky(systems, symmetrize_input=False)
        solved = jax.scipy.linalg.cho_solve((factor, True), jnp.conj(right).mT)
        filtered = solved[1].reshape(antennas, -1, 3)
        received = jnp.einsum("qxm,mqy->qxy", jnp.conj(ways), jnp.conj(filtered)) / task.link.noise

        beams = solved[0] @ mixing
        beams = beams * jnp.sqrt(energy_share * power / jnp.sum(jnp.abs(beams) ** 2))
        sent = ways @ beams
        reflected = jnp.real(jnp.sum(jnp.conj(beams) * (gram @ beams)))
        radiated = reflected + echo_gain * jnp.sum(jnp.abs(sent[:, 0]) ** 2, axis=1)
        room = surface.power - largest_noise(psi)
        factor = jnp.sqrt(power_factor(room, jnp.max(radiated), sharpness))
        sent = sent * factor
        return _Candidate(psi, beams * factor, received, sent @ jnp.conj(sent).mT)

    psi = coefficients(unknowns.free, surface.amplification, layout.form)
    return jax.vmap(pattern)(
        psi, unknowns.mixing, unknowns.log_price, unknowns.noise_logit, energy_share
    )


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
    return _setting(_candidate(task, flat, power, sharpness, layout))


def _setting(candidate: _Candidate) -> Setting:
    return Setting(candidate.reflection, candidate.beams @ jnp.conj(candidate.beams).mT)


def _directions(task: JointTask, candidate: _Candidate) -> DirectionInformation:
    """Return the information about the direction of every position, stacked."""
    return jax.vmap(information_of_matrices, in_axes=(1, 1, 0, None))(
        candidate.received, candidate.transmitted, task.target_gain, task.link.symbols
    )


def joint_objective(
    task: JointTask, flat: Float[Array, "unknown"], power: Scalar, sharpness: Scalar, layout: Layout
) -> Scalar:
    """Return the log of the mean CRB, or a smooth maximum of the log CRBs, plus an SNR penalty.

    Arguments as for `setting`.
    """
    directions = _directions(task, _candidate(task, flat, power, sharpness, layout))
    crbs, snr = jax.vmap(log_crb)(directions), directions.snr
    if layout.mean:
        value = jax.nn.logsumexp(crbs) - jnp.log(crbs.size)
    else:
        value = jax.nn.logsumexp(sharpness * crbs) / sharpness
    return value + sharpness * snr_shortfall(snr, task.min_snr * (1 + 1 / sharpness))


@stored_jit
def final_setting(
    task: JointTask, flat: Float[Array, "unknown"], power: Scalar, layout: Layout
) -> tuple[Setting, Array, Array]:
    """Return the setting, log CRBs and SNRs, with the powers used to nine digits.

    Arguments as for `setting`. A CRB is ``inf`` where an angle is not identifiable.
    """
    candidate = _candidate(task, flat, power, jnp.asarray(FINAL_SHARPNESS), layout)
    directions = _directions(task, candidate)
    crbs = jax.vmap(direction_bound)(directions).crb
    return _setting(candidate), jnp.log(crbs), directions.snr
