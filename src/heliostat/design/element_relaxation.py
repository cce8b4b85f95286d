r"""Upper bounds on functions of a panel's coefficients, from one matrix for each element.

Let w be a unit vector with an entry for each beam, and C a matrix with one column for each of
several terms. With :math:`x_n = C^T(\zeta_n\otimes w)`, where :math:`\zeta_n` holds the slopes of
the phase of element n, with the rows :math:`g_n` of the channel and a weight P, the functions are

.. math:: |o|^2 + |v|^2w^HPw,\qquad
          o = \sum_{m<n}(x_n-x_m)\otimes u_mu_n\,g_m\wedge g_n,\qquad v = \sum_nu_ng_n,

and, with one beam, functions :math:`f(J) + P|v|^2` of the information :math:`J =
\mathrm{Re}\,\Omega` of `scaled_panel` with a concave f of degree one. With a root of its
derivative, :math:`f'(J_0) = CC^T`, it is :math:`f(J) \le \mathrm{tr}(f'(J_0)J) = |o|^2` for any
:math:`J_0`.

Let :math:`\Lambda_mz` be the wedge products of :math:`g_m` with each part of z. With arbitrary
matrices :math:`s_{mn} = s_{nm}`, which cancel in the sum because the wedge product is
antisymmetric,

.. math:: o = \tfrac12\sum_m u_m\Lambda_mz_m,\qquad
          z_m = \sum_n(x_n-x_m+s_{mn}w)\otimes u_ng_n .

For any positive definite matrices :math:`K_m`, the Cauchy-Schwarz inequality gives

.. math:: |o|^2 \le \tfrac14\kappa\sum_m|u_m|^2z_m^HK_mz_m,\qquad
          \kappa = \lambda_{\max}(\Sigma),\quad \Sigma = \sum_m\Lambda_mK_m^{-1}\Lambda_m^H ,

and the sum is at most :math:`\sum_mz_m^HK_mz_m = (w\otimes u)^H\Phi(w\otimes u)` if
:math:`|u_m| \le 1`. With :math:`|v|^2w^HPw = (w\otimes u)^H\Gamma(w\otimes u)` and positive
semidefinite :math:`\delta_n` of the size of P,

.. math:: \mathrm{diag}(\delta_1,\dots,\delta_N) \succeq \tfrac14\kappa\Phi + \Gamma
          \quad\Rightarrow\quad |o|^2 + |v|^2w^HPw \le \lambda_{\max}\Big(\sum_n\delta_n\Big)

for all coefficients with :math:`|u_n| \le 1`, whatever the matrices are. Only this inequality
counts for the bound. Its proof takes eigenvalues of matrices whose sizes are the number of elements
times that of beams, and the number of terms times that of pairs of modes of the channel.

Good matrices come from the dual problem. For given s it is

.. math:: \max_{U, Y}\ \sum_m\mathrm{tr}\,(Q_m^{1/2}Y_mQ_m^{1/2})^{1/2} - \mathrm{tr}Y
          + \mathrm{tr}(\Gamma U),\qquad Q_m = \langle z_mz_m^H\rangle,\quad
          Y_m = \Lambda_m^HY\Lambda_m,

over positive semidefinite Y and moments U of :math:`w\otimes u`, for which the brackets are a mean
and whose blocks of each element are equal and have trace 1. The first term is a sum of fidelities
of covariance matrices, as in the computation of a Wasserstein barycenter, and is concave in (U, Y).
With the matrices for which :math:`K_mQ_mK_m = Y_m`, the fixed-point iteration of such barycenters
(Álvarez-Esteban et al., J. Math. Anal. Appl. 441, 2016) applies: Y becomes :math:`\Sigma
Y\Sigma/4`, and U becomes :math:`(\Phi+2\Gamma)U(\Phi+2\Gamma)` with its rows scaled. The best s
minimizes the maximum. For constant :math:`K_m`, :math:`\sum_m\mathrm{tr}(K_mQ_m)/2` plus a constant
is above the first term and touches it at the present s; steps of steepest descent of this sum
improve s.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from heliostat.design.matrices import adjoint, hermitian_part
from heliostat.design.parametrization import one_blas_thread
from heliostat.design.scaled_panel import ScaledPanel, information

LARGEST_MODES = 24
"""Largest number of modes of the channel. The time of a step grows with its fourth power."""
STEPS, SPLIT_STEPS = 70, 50
"""Number of steps, and number of first steps in which s changes."""
STEPS_PER_PROOF, PROOF_STEPS = 10, 20
"""Number of steps after which a bound is computed, and number of further steps of U for it."""
STEPS_PER_WEIGHT = 8
"""Number of steps after which f' is computed anew, as long as s changes."""
DAMPING = 1.2
"""Multiple of the minimizing step of s that is taken at first. It decreases to zero, because U and
Y have to follow."""
FIRST_SHARE, SHARE, LAST_SHARE = 0.2, 0.01, 0.001
"""Share of white moments in the first U and Y, and in each U while s changes and afterwards. They
keep directions that count later from vanishing."""
FLOOR = 1e-7
"""Multiple of the identity that is added to covariance matrices, relative to the mean of their
traces, so that all of them are positive definite."""


class Form(NamedTuple):
    """Function of the coefficients of a panel and of a unit vector w."""

    panel: ScaledPanel
    root: Float[np.ndarray, "angle beam term"]  # C
    gain_weight: Float[np.ndarray, "beam beam"]  # P
    root_at: Callable[[np.ndarray], tuple[float, np.ndarray]] | None = None
    """f and the root C of its derivative as functions of J, for a form :math:`f(J) + P|v|^2`."""

    @property
    def beams(self) -> int:
        """Number of beams, the size of w."""
        return len(self.gain_weight)


def _floored(a: np.ndarray) -> np.ndarray:
    trace = np.mean(np.real(np.trace(a, axis1=-2, axis2=-1)))
    return a + FLOOR * trace * np.eye(a.shape[-1])


def _transport(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positive definite matrices K with nearly K source K = target, and their inverses."""
    root = np.linalg.cholesky(_floored(source))
    values, turn = np.linalg.eigh(hermitian_part(adjoint(root) @ _floored(target) @ root))
    least = 10 * np.finfo(float).eps * values[..., -1:]
    roots = np.sqrt(np.maximum(values, least))[..., None, :]
    there, back = root @ turn, adjoint(np.linalg.inv(root)) @ turn
    return (back * roots) @ adjoint(back), (there / roots) @ adjoint(there)


class ElementBound(NamedTuple):
    """An upper bound on a form, and the root for which it is proven."""

    value: float
    root: Float[np.ndarray, "angle beam term"]


class _Wedges:
    """Wedge products of the modes of each element, on the space orthogonal to that element's.

    A wedge product has an entry for each pair of modes, the upper triangle of an antisymmetric
    matrix.
    """

    def __init__(self, panel: ScaledPanel, terms: int):
        self.g = panel.modes
        self.elements, self.modes = self.g.shape
        self.terms, self.parts = terms, self.modes - 1
        self.first, self.second = np.triu_indices(self.modes, 1)
        self.pairs = len(self.first)
        others = np.linalg.svd(np.conj(self.g)[:, None, :])[2][:, 1:]
        self.others = others.conj().swapaxes(1, 2)  # [element mode part]
        self.near = adjoint(self.others) @ self.g.T  # [element part other]
        first, second = self.g[:, self.first, None], self.g[:, self.second, None]
        self.wedge = first * self.others[:, self.second] - second * self.others[:, self.first]
        i, j, k, l = self.first[:, None], self.second[:, None], self.first, self.second  # noqa: E741
        shape = 4 * (self.modes,)
        # Of the four terms of each entry of Lambda X Lambda^H: flat index into the sum of
        # g_i g_k* X_jl.
        self.places = [
            np.ravel_multi_index(np.broadcast_arrays(*each), shape)
            for each in ((i, k, j, l), (j, k, i, l), (i, l, j, k), (j, l, i, k))
        ]

    def vectors(self, factors: np.ndarray) -> np.ndarray:
        """Map from w (x) u to z, [element, term part, beam other].

        Args:
            factors: Factors of the other elements, [element term beam other].
        """
        elements, terms, beams, _ = factors.shape
        z = factors[:, :, None] * self.near[:, None, :, None]
        return z.reshape(elements, terms * self.parts, beams * elements)

    def factors(self, z: np.ndarray) -> np.ndarray:
        """Adjoint of `vectors`."""
        shape = (self.elements, self.terms, self.parts, -1, self.elements)
        return np.sum(np.conj(self.near)[:, None, :, None] * z.reshape(shape), axis=2)

    def seen(self, outputs: np.ndarray) -> np.ndarray:
        """Lambda_m^H Y Lambda_m for each element, with Y as outputs."""
        terms, pairs, parts, modes = self.terms, self.pairs, self.parts, self.modes
        blocks = outputs.reshape(terms, pairs, terms, pairs)
        result = np.empty((self.elements, terms, parts, terms, parts), dtype=complex)
        left = np.zeros((modes, modes, pairs), dtype=complex)
        for r, s in zip(*np.triu_indices(terms), strict=True):
            left[self.first, self.second] = blocks[r, :, s]  # an antisymmetric matrix
            left[self.second, self.first] = -blocks[r, :, s]
            half = (np.conj(self.g) @ left.reshape(modes, -1)).reshape(-1, modes, pairs)
            found = adjoint(self.others) @ (half @ self.wedge)
            result[:, s, :, r] = adjoint(found)
            result[:, r, :, s] = found
        return result.reshape(self.elements, terms * parts, terms * parts)

    def total(self, each: np.ndarray) -> np.ndarray:
        """Sum of Lambda_m X_m Lambda_m^H over the elements, for given matrices X_m."""
        terms, pairs, parts = self.terms, self.pairs, self.parts
        blocks = each.reshape(self.elements, terms, parts, terms, parts)
        result = np.empty((terms, pairs, terms, pairs), dtype=complex)
        products = (self.g[:, :, None] * np.conj(self.g)[:, None, :]).reshape(self.elements, -1)
        for r, s in zip(*np.triu_indices(terms), strict=True):
            full = self.others @ blocks[:, r, :, s] @ adjoint(self.others)
            sums = (products.T @ full.reshape(self.elements, -1)).ravel()
            first, second, third, fourth = (sums[place] for place in self.places)
            found = first - second - third + fourth
            result[s, :, r] = adjoint(found)
            result[r, :, s] = found
        return hermitian_part(result.reshape(terms * pairs, terms * pairs))


def _blocks(a: np.ndarray, elements: int) -> np.ndarray:
    """Blocks of each element, [element beam beam]."""
    beams = len(a) // elements
    return np.einsum("knln->nkl", a.reshape(beams, elements, beams, elements))


def _moment_step(gradient: np.ndarray, moments: np.ndarray, elements: int) -> np.ndarray:
    """Step of U along a positive semidefinite gradient; its equal blocks of trace 1 are kept."""
    image = hermitian_part(gradient @ moments @ gradient)
    blocks, w = _blocks(image, elements), _blocks(moments, elements)[:1]
    beams = w.shape[-1]
    for _ in range(3 if beams > 1 else 0):
        step = np.sum(_transport(np.broadcast_to(w, blocks.shape), blocks)[0], axis=0)
        w = hermitian_part(step @ w @ step)
        w = w / np.real(np.trace(w, axis1=-2, axis2=-1))
    turn, _ = _transport(blocks, np.broadcast_to(w, blocks.shape))
    image = image.reshape(beams, elements, beams, elements)
    image = np.einsum("nij,jnlq,qkl->inkq", turn, image, np.conj(turn), optimize=True)
    return hermitian_part(image.reshape(moments.shape))


def _blocks_above(matrix: np.ndarray, shift: float, moments: np.ndarray, elements: int) -> float:
    r"""Return the largest eigenvalue of a sum of blocks that are proven to be above a matrix.

    Args:
        matrix: Hermitian matrix :math:`\tfrac14\kappa\Phi + \Gamma`.
        shift: Multiple of the identity with which it is positive semidefinite.
        moments: U for which the trace of the matrix times U is nearly largest.
        elements: Number of elements.
    """
    gradient = matrix + shift * np.eye(len(matrix))
    for _ in range(PROOF_STEPS):
        moments = _moment_step(gradient, moments, elements)
    beams = len(matrix) // elements
    target = _blocks(hermitian_part(gradient @ moments @ gradient), elements)
    delta = _transport(_blocks(moments, elements), target)[0] - shift * np.eye(beams)
    values, vectors = np.linalg.eigh(delta)
    delta = (vectors * np.maximum(values, 0.0)[:, None]) @ adjoint(vectors)
    diagonal = np.zeros((beams, elements, beams, elements), dtype=complex)
    diagonal[:, np.arange(elements), :, np.arange(elements)] = delta
    apart = matrix - diagonal.reshape(matrix.shape)
    excess = np.linalg.eigvalsh(apart)[-1]
    rounding = 8 * len(matrix) * np.finfo(float).eps * np.linalg.norm(apart)
    total = np.linalg.eigvalsh(np.sum(delta, axis=0))[-1]
    return float(total + elements * max(excess + rounding, 0.0))


class _Iteration:
    """Matrices of the iteration for one form."""

    def __init__(
        self, form: Form, u: Complex[np.ndarray, "element"], w: Complex[np.ndarray, "beam"]
    ):
        panel, beams = form.panel, form.beams
        elements = panel.elements
        self.form, self.root, self.updates = form, form.root, 0
        self.information = np.real(information(panel, u)[0])
        self.wedges = _Wedges(panel, form.root.shape[-1])
        self.gain = np.kron(form.gain_weight, np.conj(panel.modes) @ panel.modes.T)
        self.shift = max(0.0, -np.linalg.eigvalsh(self.gain)[0])
        self.white = np.eye(beams * elements) / beams
        best = np.kron(w, u)
        self.U = (1 - FIRST_SHARE) * np.outer(best, np.conj(best)) + FIRST_SHARE * self.white
        self.split = np.zeros((elements, form.root.shape[-1], beams, elements), dtype=complex)
        self.apart = (1 - np.eye(elements))[:, None, None, :]
        o = self._wedge_sum(u, w)
        self.Y = (1 - FIRST_SHARE) * np.outer(o, np.conj(o))
        self.Y += FIRST_SHARE * np.real(np.vdot(o, o)) / o.size * np.eye(o.size)
        self._update_vectors()

    def _wedge_sum(self, u: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The vector o."""
        panel, wedges = self.form.panel, self.wedges
        v = panel.modes.T @ u
        slopes = np.einsum("akr,k,an->rn", self.root, w, panel.slopes)
        across = (slopes * u) @ panel.modes
        sums = v[wedges.first] * across[:, wedges.second]
        return (sums - v[wedges.second] * across[:, wedges.first]).ravel()

    def _update_vectors(self) -> None:
        x = np.einsum("akr,an->rkn", self.root, self.form.panel.slopes)
        apart = x[None] - np.moveaxis(x, 2, 0)[..., None]
        self.z = self.wedges.vectors(apart + self.split)

    def update_matrices(self) -> None:
        """Compute the matrices of each element, Sigma and Phi for the present U and Y."""
        self.zU = self.z @ self.U
        Q, Y = hermitian_part(self.zU @ adjoint(self.z)), self.wedges.seen(self.Y)
        self.metric, self.inverse = _transport(Q, Y)
        self.Sigma = self.wedges.total(self.inverse)
        size = self.z.shape[-1]
        weighted = (self.metric @ self.z).reshape(-1, size)
        self.Phi = hermitian_part(adjoint(self.z.reshape(-1, size)) @ weighted)

    def step(self, share: float) -> None:
        """One step of U and Y.

        Args:
            share: Share of white moments in the new U.
        """
        gradient = self.Phi + 2 * (self.gain + self.shift * np.eye(len(self.gain)))
        U = _moment_step(gradient, self.U, self.wedges.elements)
        self.U = (1 - share) * U + share * self.white
        self.Y = hermitian_part(self.Sigma @ self.Y @ self.Sigma) / 4

    def step_split(self, damping: float) -> None:
        """One step of s, for the present matrices of each element."""

        def symmetric(factors: np.ndarray) -> np.ndarray:
            return (factors + np.transpose(factors, (3, 1, 2, 0))) * self.apart

        near, shape = self.wedges.near, self.split.shape
        gradient = symmetric(self.wedges.factors(self.metric @ self.zU))
        metric = self.metric.reshape(shape[0], shape[1], near.shape[1], shape[1], -1)
        curvature = np.einsum("mjn,mrjrl,mln->mrn", np.conj(near), metric, near, optimize=True)
        curvature = symmetric(np.real(curvature)[:, :, None] + np.zeros(shape))
        scaled = gradient / (curvature + 1e-3 * np.mean(curvature))
        image = self.metric @ (self.wedges.vectors(scaled) @ self.U)
        along = np.real(np.vdot(scaled, symmetric(self.wedges.factors(image))))
        length = np.real(np.vdot(scaled, gradient)) / max(along, np.finfo(float).tiny)
        self.split = self.split - damping * length * scaled
        self._update_vectors()

    def update_root(self) -> None:
        """Compute f' anew, at a mean of the first J and those of Y so far."""
        if self.form.root_at is None:
            return
        pairs = self.wedges.pairs
        back = np.linalg.inv(self.root[:, 0].T)
        Y = self.Y.reshape(2, pairs, 2, pairs)
        found = np.real(back @ np.einsum("rpsp->rs", Y) @ back.T)
        self.updates += 1
        self.information += (found - self.information) / (self.updates + 2)
        root = self.form.root_at(self.information)[1]
        turn = np.linalg.solve(self.root[:, 0], root[:, 0]).T
        self.root = root
        Y = np.einsum("rs,spto,ut->rpuo", turn, Y, turn, optimize=True)
        self.Y = Y.reshape(2 * pairs, -1)
        self.split = np.einsum("rs,mskn->mrkn", turn, self.split)
        self._update_vectors()

    def bound(self) -> float:
        """Upper bound that the present matrices prove."""
        # K K' = 1 + Delta for the computed inverse K' gives K^-1 <= K' / (1 - |Delta|).
        error = np.linalg.norm(
            self.metric @ self.inverse - np.eye(self.metric.shape[-1]), axis=(1, 2)
        )
        if not np.max(error) < 0.5:
            return np.inf
        largest = np.linalg.eigvalsh(self.Sigma)[-1] / (1 - np.max(error))
        matrix = largest / 4 * self.Phi + self.gain
        found = _blocks_above(matrix, self.shift, self.U, self.wedges.elements)
        return found * (1 + 1e-9)  # for the rounding of the sums Sigma and Phi


def element_bound(
    form: Form,
    u: Complex[np.ndarray, "element"],
    w: Complex[np.ndarray, "beam"],
    sufficient: float,
) -> ElementBound:
    """Return an upper bound on a form over all coefficients of modulus up to 1 and all w.

    Args:
        form: The function.
        u: Coefficients of modulus one at which the function is nearly largest.
        w: Unit vector at which it is nearly largest.
        sufficient: Value at which the iteration ends, because a smaller bound is of no use.
    """
    with one_blas_thread():
        return _best_bound(_Iteration(form, u, w), sufficient)


def _best_bound(iteration: _Iteration, sufficient: float) -> ElementBound:
    best = ElementBound(np.inf, iteration.root)
    for step in range(1, STEPS + 1):
        splits = step <= SPLIT_STEPS
        iteration.update_matrices()
        if step % STEPS_PER_PROOF == 0:
            found = ElementBound(iteration.bound(), iteration.root)
            best = min(best, found, key=lambda each: each.value)
            if best.value <= sufficient:
                break
        if splits:
            iteration.step_split(DAMPING * (1 - (step - 1) / SPLIT_STEPS))
        iteration.step(SHARE if splits else LAST_SHARE)
        if splits and step % STEPS_PER_WEIGHT == 0:
            iteration.update_root()
    return best
