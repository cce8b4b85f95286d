r"""Estimators of a target's direction from the echo through one surface.

`likeliest_direction` is maximum likelihood: with :math:`L L^H = R_w` and the gain concentrated out,

.. math:: \arg\max_{\theta,\varphi}\ \frac{\big|\sum_k v_k^HR_{w,k}^{-1}Y_kS_k^Hv_k^*\big|^2}
          {\sum_k(v_k^HR_{w,k}^{-1}v_k)(v_k^TS_kS_k^Hv_k^*)}

over patterns k: a grid of direction cosines in front of the panel, then Levenberg-Marquardt. It
knows what was sent, so it uses both ways to see a direction: where the echo comes from and
where the signal went. `music_direction` looks at the received signal's covariance alone, as MUSIC
does (`schmidt1986`): it needs no knowledge of the signal, and misses what that would tell.
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from heliostat.bounds.direction import direction_information
from heliostat.bounds.fisher import covariance_bound
from heliostat.estimation.search import OVERSAMPLING, detected, follow, peaks, real_parts
from heliostat.geometry.arrays import PlanarArray
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import noise_covariance, round_trip
from heliostat.sensing_scene import EchoLink

SECOND_ECHO_FALSE_ALARM = 1e-3
"""Largest probability that noise alone is taken for a second echo at one surface."""


class CosineGrid(eqx.Module):
    """Direction cosines that a coarse search tries."""

    horizontal: Float[Array, "column"]  # along a row, sin(elevation) cos(azimuth) [1]
    vertical: Float[Array, "row"]  # along a column, cos(elevation) [1]


class DirectionEstimate(eqx.Module):
    """What one surface's echo says about the target."""

    angles: Float[Array, "2"]  # elevation, azimuth; in front of the panel [rad]
    target_gain: Complex[Array, ""]  # beta [1]
    covariance: Float[Array, "2 2"]
    """Inverse of the information at the estimate; ``inf`` on the diagonal of what it does not see.
    [rad²]"""
    snr: Scalar  # of the matched filter's output, at the estimate [1]
    misfit: Scalar
    """Energy that the model does not explain, over what noise would leave; one but for a standard
    deviation of ``misfit_std`` if the model is right. [1]"""
    misfit_std: Scalar  # [1]
    second_echo_p_value: Scalar
    """Upper bound on the probability that noise alone leaves a residual of which one more echo, in
    the direction that suits it best, explains at least as much. [1]"""
    detected: Bool[Array, ""]  # the echo stands out of the noise
    converged: Bool[Array, ""]

    @property
    def fits(self) -> Bool[Array, ""]:
        """Whether the residual looks like noise, by two tests.

        Its total energy is within five standard deviations of what noise leaves, and no second
        echo stands out of it (`second_echo_p_value` above `SECOND_ECHO_FALSE_ALARM`).
        """
        plausible = jnp.abs(self.misfit - 1) < 5 * self.misfit_std
        return plausible & (self.second_echo_p_value > SECOND_ECHO_FALSE_ALARM)


def cosine_grid(array: PlanarArray) -> CosineGrid:
    """Cosines fine enough for the panel's two-way beams.

    Args:
        array: The panel.
    """
    sides = []
    for count, spacing in ((array.columns, array.spacing[0]), (array.rows, array.spacing[1])):
        steps = max(16, math.ceil(4 * OVERSAMPLING * count * float(spacing)))
        sides.append(jnp.asarray((np.arange(steps) + 0.5) / steps * 2 - 1))
    return CosineGrid(*sides)


def angles_of(cosines: Float[Array, "2"]) -> Float[Array, "2"]:
    """Elevation and azimuth in front of the panel of two direction cosines. [rad]

    Args:
        cosines: Along a row and along a column. [1]
    """
    across, up = cosines
    along = jnp.sqrt(jnp.maximum(1 - across**2 - up**2, 1e-24))
    return jnp.stack([jnp.arctan2(jnp.hypot(across, along), up), jnp.arctan2(along, across)])


class _White(eqx.Module):
    """One pattern, whitened: the same surface seen through other channels."""

    back: EchoLink  # its channel is that to whitened antennas, G L^-T
    forth: EchoLink  # its channel is that from the signal's components, G S [√W]
    received: Complex[Array, "tx component"]  # L^-1 Y in the basis of the signal's rows [1]
    unexplained: Scalar  # energy outside that basis


def _through(link: EchoLink, channel: Complex[Array, "element way"]) -> EchoLink:
    return eqx.tree_at(lambda at: at.bs_to_irs, link, channel)


def _whitened_channel(link: EchoLink, reflection: Array) -> tuple[Array, Array]:
    """L, and the channel :math:`GL^{-T}` through which the noise is white."""
    factor = jnp.linalg.cholesky(noise_covariance(link, reflection))
    return factor, jax.scipy.linalg.solve_triangular(factor, link.bs_to_irs.T, lower=True).T


def _whiten(link: EchoLink, reflection: Array, transmitted: Array, echo: Array) -> _White:
    """What is sufficient of one pattern's samples."""
    factor, channel = _whitened_channel(link, reflection)
    white = jax.scipy.linalg.solve_triangular(factor, echo, lower=True)
    power, beams = jnp.linalg.eigh(transmitted @ jnp.conj(transmitted).T)
    amplitude = jnp.sqrt(jnp.maximum(power, 0.0))
    lit = power > 1e-13 * power[-1]  # below, an eigenvalue is rounding and its row no unit vector
    inverse = jnp.where(lit, 1 / jnp.where(lit, amplitude, 1.0), 0.0)
    rows = inverse[:, None] * (jnp.conj(beams).T @ transmitted)
    received = white @ jnp.conj(rows).T
    outside = jnp.sum(jnp.abs(white) ** 2) - jnp.sum(jnp.abs(received) ** 2)
    sent = link.bs_to_irs @ (beams * amplitude[None, :])
    return _White(
        _through(link, channel), _through(link, sent), received, jnp.maximum(outside, 0.0)
    )


def _orthonormal(vectors: Complex[Array, "vector *sample"]) -> Complex[Array, "vector *sample"]:
    r"""Orthonormal basis under :math:`\mathrm{Re}\,a^Hb`; zero in place of dependent vectors."""
    basis: list[Array] = []
    for vector in vectors:
        rest = vector
        for known in basis:
            rest = rest - known * jnp.real(jnp.vdot(known, rest))
        length = jnp.linalg.norm(rest.ravel())
        independent = length > 1e-6 * jnp.linalg.norm(vector.ravel())
        basis.append(jnp.where(independent, rest / jnp.where(independent, length, 1.0), 0.0))
    return jnp.stack(basis)


def _scores(
    grid: CosineGrid, score: Callable[[Float[Array, "2"]], Scalar]
) -> Float[Array, "row column"]:
    """A score in every direction of the grid, ``-inf`` where it is not in front of the panel."""

    def at(vertical: Scalar, horizontal: Scalar) -> Scalar:
        inside = horizontal**2 + vertical**2 < 1
        cosines = jnp.stack([horizontal, vertical])
        return jnp.where(inside, score(cosines * jnp.where(inside, 1.0, 0.0)), -jnp.inf)

    # Row by row: all directions at once would take much memory with many patterns.
    return jax.lax.map(
        lambda vertical: jax.vmap(lambda horizontal: at(vertical, horizontal))(grid.horizontal),
        grid.vertical,
    )


def _search(
    grid: CosineGrid, score: Callable[[Float[Array, "2"]], Scalar]
) -> tuple[Float[Array, "candidate 2"], Float[Array, "candidate"]]:
    """Direction cosines of the highest peaks of a score in front of the panel."""
    value = _scores(grid, score)
    row, column, best = peaks(value, wrap_columns=False)
    return jnp.stack([grid.horizontal[column], grid.vertical[row]], axis=1), best


def _followed(
    link: EchoLink,
    residual: Callable[[Float[Array, "2"]], Float[Array, "sample"]],
    starts: Float[Array, "candidate 2"],
    values: Float[Array, "candidate"],
) -> tuple[Float[Array, "2"], Scalar, Bool[Array, ""]]:
    """`follow` in units of the panel's beamwidths."""
    array = link.array
    beamwidth = 1 / (array.spacing * jnp.array([array.columns, array.rows], dtype=float))
    moved, left, settled = follow(
        lambda moves: residual(moves * beamwidth), starts / beamwidth[None, :], values
    )
    return moved * beamwidth, left, settled


@eqx.filter_jit
def likeliest_direction(
    link: EchoLink,
    reflection: Complex[Array, "pattern element"],
    transmitted: Complex[Array, "pattern tx snapshot"],
    echoes: Complex[Array, "pattern tx snapshot"],
    grid: CosineGrid,
) -> DirectionEstimate:
    """Maximum likelihood, the gain concentrated out; see the module.

    Args:
        link: What the echo depends on.
        reflection: How the surface is set in each pattern. [1]
        transmitted: What was sent in each pattern. [√W]
        echoes: What was received, see `simulate_echo`. [√W]
        grid: Where to look, see `cosine_grid`.
    """
    whitened = jax.vmap(lambda psi, signal, echo: _whiten(link, psi, signal, echo))(
        reflection, transmitted, echoes
    )
    received = whitened.received

    def ways(cosines: Array) -> tuple[Array, Array]:
        """Back and forth in every pattern: the mean for a gain of one is their outer product."""
        angles = angles_of(cosines)
        return jax.vmap(
            lambda psi, white: (
                round_trip(white.back, psi, angles),
                round_trip(white.forth, psi, angles),
            )
        )(reflection, whitened)

    def overlap(back: Array, forth: Array) -> tuple[Array, Scalar]:
        """Of the mean for a gain of one with what was received, and its energy."""
        seen = jnp.einsum("kt,ktc,kc->", jnp.conj(back), received, jnp.conj(forth))
        energy = jnp.sum(jnp.sum(jnp.abs(back) ** 2, axis=1) * jnp.sum(jnp.abs(forth) ** 2, axis=1))
        return seen, jnp.where(energy > 0, energy, 1.0)

    def score(cosines: Array) -> Scalar:
        seen, energy = overlap(*ways(cosines))
        return jnp.abs(seen) ** 2 / energy

    def fitted(cosines: Array) -> tuple[Array, Array]:
        back, forth = ways(cosines)
        seen, energy = overlap(back, forth)
        gain = seen / energy
        return gain, gain * back[:, :, None] * forth[:, None, :]

    def residual(cosines: Array) -> Array:
        return real_parts((received - fitted(cosines)[1]) * jnp.sqrt(2.0))

    def second_echo(cosines: Array, gain: Array, remainder: Array) -> Callable[[Array], Scalar]:
        """Energy of the residual that one more echo would explain, as a function of its direction.

        The part of the second echo that a change of the first one's gain or angles reproduces is
        projected out. Under noise alone, the energy in the remaining two real dimensions is
        exponentially distributed with mean one, whatever the direction.
        """

        def mean(at: Array) -> Array:
            back, forth = ways(at)
            return gain * back[:, :, None] * forth[:, None, :]

        fit = mean(cosines)[None]
        slopes = jnp.moveaxis(jax.jacfwd(mean)(cosines), -1, 0)
        basis = _orthonormal(jnp.concatenate([fit, 1j * fit, slopes]))
        known = jnp.concatenate([remainder[None], basis])

        def explained(at: Array) -> Scalar:
            back, forth = ways(at)
            seen = jnp.einsum("kt,jktc,kc->j", jnp.conj(back), known, jnp.conj(forth))
            parts = jnp.stack([jnp.real(seen), jnp.imag(seen)])
            along, absorbed = parts[:, 0], parts[:, 1:]
            energy = overlap(back, forth)[1]
            # Gram matrix of the projections of the echo and of the echo turned by 90 degrees.
            gram = energy * jnp.eye(2) - absorbed @ absorbed.T
            determinant = gram[0, 0] * gram[1, 1] - gram[0, 1] ** 2
            adjugate = jnp.trace(gram) * jnp.eye(2) - gram
            distinct = determinant > 1e-12 * energy**2
            return jnp.where(
                distinct, along @ adjugate @ along / jnp.where(distinct, determinant, 1.0), 0.0
            )

        return explained

    cosines, left, settled = _followed(link, residual, *_search(grid, score))
    gain, mean = fitted(cosines)
    largest = jnp.max(_scores(grid, second_echo(cosines, gain, received - mean)))
    cells = grid.horizontal.size * grid.vertical.size
    freedom = echoes.size - 2
    covariance = transmitted @ jnp.conj(jnp.swapaxes(transmitted, 1, 2)) / transmitted.shape[2]
    angles = angles_of(cosines)
    told = direction_information(link, reflection, covariance, angles, gain)
    whole = jnp.sum(jnp.abs(received) ** 2)
    return DirectionEstimate(
        angles,
        gain,
        covariance_bound(told.information, jnp.diag(told.reference)),
        jnp.sum(jnp.abs(mean) ** 2),
        (left + jnp.sum(whitened.unexplained)) / freedom,
        1 / jnp.sqrt(jnp.asarray(float(freedom))),
        jnp.minimum(cells * jnp.exp(-largest), 1.0),
        detected(whole - left, cells),
        settled,
    )


@eqx.filter_jit
def music_direction(
    link: EchoLink,
    reflection: Complex[Array, "pattern element"],
    echoes: Complex[Array, "pattern tx snapshot"],
    grid: CosineGrid,
) -> Float[Array, "2"]:
    r"""MUSIC on the whitened samples: elevation and azimuth. [rad]

    One target leaves one direction e in the signal space of each pattern, and

    .. math:: \arg\min_{\theta,\varphi}\ \sum_k\big(1 - |e_k^HL_k^{-1}v_k|^2/\|L_k^{-1}v_k\|^2\big).

    Args:
        link: What the echo depends on.
        reflection: How the surface is set in each pattern. [1]
        echoes: What was received. [√W]
        grid: Where to look, see `cosine_grid`.
    """

    def signal(psi: Array, echo: Array) -> tuple[EchoLink, Array]:
        factor, channel = _whitened_channel(link, psi)
        white = jax.scipy.linalg.solve_triangular(factor, echo, lower=True)
        _, vectors = jnp.linalg.eigh(white @ jnp.conj(white).T)
        return _through(link, channel), vectors[:, -1]

    back, signal_space = jax.vmap(signal)(reflection, echoes)

    def residual(cosines: Array) -> Array:
        angles = angles_of(cosines)

        def pattern(psi: Array, through: EchoLink, e: Array) -> Array:
            way = round_trip(through, psi, angles)
            unit = way / jnp.maximum(jnp.linalg.norm(way), 1e-300)
            return unit - e * jnp.vdot(e, unit)

        return real_parts(jax.vmap(pattern)(reflection, back, signal_space))

    def score(cosines: Array) -> Scalar:
        left = residual(cosines)
        return reflection.shape[0] - left @ left

    cosines, _, _ = _followed(link, residual, *_search(grid, score))
    return angles_of(cosines)
