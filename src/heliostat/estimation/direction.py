r"""Estimators of a target's direction from the echo through one surface.

`likeliest_direction` is the maximum-likelihood estimator with the gain concentrated out:

.. math:: \arg\max_{\theta,\varphi}\ \frac{\big|\sum_k v_k^HR_{w,k}^{-1}Y_kS_k^Hv_k^*\big|^2}
          {\sum_k(v_k^HR_{w,k}^{-1}v_k)(v_k^TS_kS_k^Hv_k^*)}

over patterns k, by a grid search over direction cosines in front of the panel, followed by
Levenberg-Marquardt. It uses the transmitted signal, and so both the direction-dependent reception
of the echo and the direction-dependent illumination of the target. `music_direction` applies MUSIC
(`schmidt1986`) to the covariance of the received signal alone: it does not need the transmitted
signal and does not reach the bound. :math:`L_kL_k^H = R_{w,k}` is the Cholesky factorization of the
noise covariance.
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
from heliostat.estimation.peak_search import OVERSAMPLING, detected, peaks, real_parts, refine_peaks
from heliostat.geometry.arrays import PlanarArray
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import noise_covariance, round_trip
from heliostat.scene.sensing import EchoLink

SECOND_ECHO_FALSE_ALARM = 1e-3
"""Largest probability that noise alone is taken for a second echo at one surface."""


class CosineGrid(eqx.Module):
    """Grid of direction cosines for the coarse search."""

    horizontal: Float[Array, "column"]  # along a row, sin(elevation) cos(azimuth) [1]
    vertical: Float[Array, "row"]  # along a column, cos(elevation) [1]


class DirectionEstimate(eqx.Module):
    """Estimate of the target's direction and gain from the echo through one surface."""

    angles: Float[Array, "2"]  # elevation, azimuth; in front of the panel [rad]
    target_gain: Complex[Array, ""]  # beta [1]
    covariance: Float[Array, "2 2"]
    """Inverse of the information at the estimate; ``inf`` on the diagonal for angles that are not
    identifiable. [rad²]"""
    snr: Scalar  # of the matched filter's output, at the estimate [1]
    reduced_chi2: Scalar
    """Energy of the residual over its expected value under noise alone: one, with a standard
    deviation of ``reduced_chi2_std``, if the model is right. [1]"""
    reduced_chi2_std: Scalar  # [1]
    second_echo_p_value: Scalar
    """Upper bound on the probability under noise alone that some further echo explains at least as
    much energy of the residual. [1]"""
    detected: Bool[Array, ""]  # the energy of the fitted echo exceeds the threshold
    converged: Bool[Array, ""]

    @property
    def fits(self) -> Bool[Array, ""]:
        """Whether the residual is consistent with noise, by two tests.

        Its total energy is within five standard deviations of its expectation, and no second echo
        is detected in it (`second_echo_p_value` above `SECOND_ECHO_FALSE_ALARM`).
        """
        plausible = jnp.abs(self.reduced_chi2 - 1) < 5 * self.reduced_chi2_std
        return plausible & (self.second_echo_p_value > SECOND_ECHO_FALSE_ALARM)


def cosine_grid(array: PlanarArray) -> CosineGrid:
    """Grid of direction cosines that resolves the panel's two-way beams.

    Args:
        array: The array of the panel.
    """
    sides = []
    for count, spacing in ((array.columns, array.spacing[0]), (array.rows, array.spacing[1])):
        steps = max(16, math.ceil(4 * OVERSAMPLING * count * float(spacing)))
        sides.append(jnp.asarray((np.arange(steps) + 0.5) / steps * 2 - 1))
    return CosineGrid(*sides)


def angles_of(cosines: Float[Array, "2"]) -> Float[Array, "2"]:
    """Elevation and azimuth in front of the panel, from direction cosines. [rad]

    Args:
        cosines: Along a row and along a column. [1]
    """
    across, up = cosines
    along = jnp.sqrt(jnp.maximum(1 - across**2 - up**2, 1e-24))
    return jnp.stack([jnp.arctan2(jnp.hypot(across, along), up), jnp.arctan2(along, across)])


class _White(eqx.Module):
    """Whitened samples of one pattern, and links with the equivalent channels."""

    back: EchoLink  # with the channel to the whitened antennas, G L^-T
    forth: EchoLink  # with the channel from the signal's components, G S [√W]
    received: Complex[Array, "tx component"]  # L^-1 Y in the basis of the signal's rows [1]
    unexplained: Scalar  # energy outside that basis


def _through(link: EchoLink, channel: Complex[Array, "element way"]) -> EchoLink:
    return eqx.tree_at(lambda at: at.bs_to_irs, link, channel)


def _whitened_channel(link: EchoLink, reflection: Array) -> tuple[Array, Array]:
    """Factor L of the noise covariance, and the whitened channel :math:`GL^{-T}`."""
    factor = jnp.linalg.cholesky(noise_covariance(link, reflection))
    return factor, jax.scipy.linalg.solve_triangular(factor, link.bs_to_irs.T, lower=True).T


def _whiten(link: EchoLink, reflection: Array, transmitted: Array, echo: Array) -> _White:
    """Sufficient statistic of one pattern's samples, with the noise whitened."""
    factor, channel = _whitened_channel(link, reflection)
    white = jax.scipy.linalg.solve_triangular(factor, echo, lower=True)
    power, beams = jnp.linalg.eigh(transmitted @ jnp.conj(transmitted).T)
    amplitude = jnp.sqrt(jnp.maximum(power, 0.0))
    # Smaller eigenvalues are rounding errors, and their rows would not be unit vectors.
    lit = power > 1e-13 * power[-1]
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
    """Direction cosines and values of the highest peaks of a score in front of the panel."""
    value = _scores(grid, score)
    row, column, best = peaks(value, wrap_columns=False)
    return jnp.stack([grid.horizontal[column], grid.vertical[row]], axis=1), best


def _refined(
    link: EchoLink,
    residual: Callable[[Float[Array, "2"]], Float[Array, "sample"]],
    starts: Float[Array, "candidate 2"],
    values: Float[Array, "candidate"],
) -> tuple[Float[Array, "2"], Scalar, Bool[Array, ""]]:
    """Result of `refine_peaks` with unknowns scaled by the panel's beamwidths."""
    array = link.array
    beamwidth = 1 / (array.spacing * jnp.array([array.columns, array.rows], dtype=float))
    moved, left, settled = refine_peaks(
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
    r"""Maximum-likelihood direction with the gain concentrated out.

    See the module's docstring for the equation.

    Args:
        link: Channel, panel and noise of the surface.
        reflection: Coefficients :math:`\psi` of the surface in each pattern. [1]
        transmitted: Transmitted signal :math:`S` in each pattern. [√W]
        echoes: Received samples :math:`Y`, see `simulate_echo`. [√W]
        grid: Directions of the coarse search, see `cosine_grid`.

    Returns:
        The estimate, with tests of detection and of the model's fit. Where the echo is not
        detected, the direction is meaningless.
    """
    whitened = jax.vmap(lambda psi, signal, echo: _whiten(link, psi, signal, echo))(
        reflection, transmitted, echoes
    )
    received = whitened.received

    def ways(cosines: Array) -> tuple[Array, Array]:
        """Receive and transmit factors of every pattern's mean, which is their outer product."""
        angles = angles_of(cosines)
        return jax.vmap(
            lambda psi, white: (
                round_trip(white.back, psi, angles),
                round_trip(white.forth, psi, angles),
            )
        )(reflection, whitened)

    def overlap(back: Array, forth: Array) -> tuple[Array, Scalar]:
        """Inner product of the mean for a gain of one with the samples, and the mean's energy."""
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
        exponentially distributed with mean one for any direction.
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

    cosines, left, settled = _refined(link, residual, *_search(grid, score))
    gain, mean = fitted(cosines)
    largest = jnp.max(_scores(grid, second_echo(cosines, gain, received - mean)))
    cells = grid.horizontal.size * grid.vertical.size
    freedom = echoes.size - 2
    covariance = transmitted @ jnp.conj(jnp.swapaxes(transmitted, 1, 2)) / transmitted.shape[2]
    angles = angles_of(cosines)
    direction = direction_information(link, reflection, covariance, angles, gain)
    whole = jnp.sum(jnp.abs(received) ** 2)
    return DirectionEstimate(
        angles,
        gain,
        covariance_bound(direction.information, jnp.diag(direction.reference)),
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
    r"""Elevation and azimuth by MUSIC on the whitened samples. [rad]

    With the principal eigenvector :math:`e_k` of the sample covariance of pattern k,

    .. math:: \arg\min_{\theta,\varphi}\ \sum_k\big(1 - |e_k^HL_k^{-1}v_k|^2/\|L_k^{-1}v_k\|^2\big).

    Args:
        link: Channel, panel and noise of the surface.
        reflection: Coefficients :math:`\psi` of the surface in each pattern. [1]
        echoes: Received samples. [√W]
        grid: Directions of the coarse search, see `cosine_grid`.
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

    cosines, _, _ = _refined(link, residual, *_search(grid, score))
    return angles_of(cosines)
