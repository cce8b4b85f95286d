"""Truths: both functions by their definition, at random coefficients and random dual points."""

import numpy as np
import pytest

from heliostat.design import element_relaxation
from heliostat.design.both_limits_bound import DifferenceForm
from heliostat.design.element_relaxation import Form, _Iteration, _transport, element_bound
from heliostat.design.matrices import adjoint
from heliostat.design.transmit_limit_bound import SumForm
from tests.support.panels import in_units, one_panel, vectors, wedge

TRANSMIT, RADIATED = 0.7, 0.3
ROOT = np.array([[1.3, 0.0], [0.4, 0.8]])


def sum_beams(units):
    """The form of the sum beams, and its value by definition."""
    free = SumForm(units)
    u = free.best_coefficients()
    price = 0.2 * free.value(u) / np.linalg.norm(units.modes.T @ u) ** 2
    root = free.root_at(np.real(wedge(units, u)))[1]

    def value(u, _w):
        weight = root[:, 0] @ root[:, 0].T
        return np.sum(weight * np.real(wedge(units, u))) - price * gain(units, u)

    return Form(units, root, np.full((1, 1), -price)), value


def difference_beams(units):
    """The form of the difference beams, and its value by definition."""
    aperture = ROOT.T @ (units.slopes @ units.slopes.T) @ ROOT

    def value(u, w):
        matrix = TRANSMIT * ROOT.T @ wedge(units, u) @ ROOT + RADIATED * gain(units, u) * aperture
        return np.real(np.conj(w) @ matrix @ w)

    return Form(units, np.sqrt(TRANSMIT) * ROOT[:, :, None], RADIATED * aperture), value


def gain(units, u):
    return np.linalg.norm(vectors(units, u)[0]) ** 2


def random_point(form, rng, amplitudes):
    elements = form.panel.elements
    u = np.exp(2j * np.pi * rng.random(elements)) * amplitudes(elements)
    w = rng.normal(size=form.beams) + 1j * rng.normal(size=form.beams)
    return u, w / np.linalg.norm(w)


@pytest.fixture(params=[sum_beams, difference_beams])
def case(request):
    return request.param(in_units(one_panel(antennas=5)))


def test_the_vectors_of_all_elements_give_the_function(case):
    """Whatever the numbers s are: |sum_m u_m W_m z_m / 2|^2 + (w x u)^H G (w x u)."""
    form, value = case
    rng = np.random.default_rng(0)
    iteration = _Iteration(form, *random_point(form, rng, np.ones))
    split = rng.normal(size=(2, *iteration.split.shape))
    split = split[0] + 1j * split[1]
    iteration.split = split + np.transpose(split, (3, 1, 2, 0))
    iteration._update_vectors()
    for amplitudes in (np.ones, rng.random):
        u, w = random_point(form, rng, amplitudes)
        both = np.kron(w, u)
        z = (iteration.z @ both).reshape(form.panel.elements, -1, iteration.wedges.parts)
        o = np.einsum("m,mpj,mrj->rp", u, iteration.wedges.wedge, z) / 2
        found = np.sum(np.abs(o) ** 2) + np.real(np.conj(both) @ iteration.gain @ both)
        np.testing.assert_allclose(found, value(u, w), rtol=1e-9)


def test_sums_over_wedge_products_are_those_of_their_matrices(case):
    form, _ = case
    rng = np.random.default_rng(5)
    wedges = _Iteration(form, *random_point(form, rng, np.ones)).wedges
    W = np.stack([np.kron(np.eye(wedges.terms), each) for each in wedges.wedge])

    def hermitian(*shape):
        root = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        return root @ adjoint(root)

    K = hermitian(len(W), W.shape[2], W.shape[2])
    np.testing.assert_allclose(wedges.total(K), np.sum(W @ K @ adjoint(W), axis=0), atol=1e-9)
    Y = hermitian(W.shape[1], W.shape[1])
    np.testing.assert_allclose(wedges.seen(Y), adjoint(W) @ Y @ W, atol=1e-9)


def test_any_dual_point_bounds_the_function(case, monkeypatch):
    """Near its start, with steps that are far too large, and where it ends."""
    form, value = case
    rng = np.random.default_rng(1)
    best = max(
        (random_point(form, rng, np.ones) for _ in range(300)), key=lambda point: value(*point)
    )
    largest = max(value(*best), *(value(*random_point(form, rng, rng.random)) for _ in range(300)))
    iteration = _Iteration(form, *best)
    for damping in (0.0, 0.3, 3.0, 3.0):
        iteration.update_matrices()
        assert iteration.bound() >= largest
        iteration.step_split(damping)
        iteration.step(0.01)
    full = element_bound(form, *best, 0.0).value
    assert largest <= full < np.inf
    monkeypatch.setattr(element_relaxation, "STEPS", element_relaxation.STEPS_PER_PROOF)
    early = element_bound(form, *best, 0.0).value
    assert early >= full
    monkeypatch.undo()
    assert element_bound(form, *best, np.inf).value == early  # ends at the first proof


def test_transport_maps_one_covariance_to_the_other():
    rng = np.random.default_rng(2)
    roots = rng.normal(size=(2, 3, 4, 6)) + 1j * rng.normal(size=(2, 3, 4, 6))
    source, target = roots @ np.conj(np.swapaxes(roots, -1, -2))
    there, back = _transport(source, target)
    np.testing.assert_allclose(there @ source @ there, target, rtol=1e-4)
    np.testing.assert_allclose(back @ target @ back, source, rtol=1e-4)
    np.testing.assert_allclose(there @ back, np.broadcast_to(np.eye(4), there.shape), atol=1e-9)
    assert np.all(np.linalg.eigvalsh(there) > 0)
    singular = source[:, :, :1] @ np.conj(np.swapaxes(source[:, :, :1], -1, -2))
    assert np.all(np.isfinite(_transport(singular, target)[0]))


def test_a_step_of_the_moments_keeps_equal_blocks_and_does_not_decrease_the_trace(case):
    form, _ = case
    rng = np.random.default_rng(3)
    iteration = _Iteration(form, *random_point(form, rng, np.ones))
    raw = rng.normal(size=(2, *iteration.U.shape))
    gradient = raw[0] @ raw[0].T + raw[1] @ raw[1].T + 0j
    elements = form.panel.elements
    traces, U = [], iteration.U
    for _ in range(5):
        traces.append(np.real(np.trace(gradient @ U)))
        U = element_relaxation._moment_step(gradient, U, elements)
        blocks = element_relaxation._blocks(U, elements)
        np.testing.assert_allclose(blocks, np.broadcast_to(blocks[:1], blocks.shape), atol=1e-5)
        np.testing.assert_allclose(np.trace(blocks[0]), 1, rtol=1e-5)
    assert np.all(np.diff(traces) >= -1e-5 * traces[0])


def test_the_largest_value_over_w_is_an_eigenvalue():
    units, rng = in_units(one_panel(antennas=5)), np.random.default_rng(4)
    _, value = difference_beams(units)
    form = DifferenceForm(units, ROOT, TRANSMIT, RADIATED)
    u = np.exp(2j * np.pi * rng.random(units.elements))
    found, w = form.value(u)
    np.testing.assert_allclose(found, value(u, w), rtol=1e-9)
    others = rng.normal(size=(50, 2)) + 1j * rng.normal(size=(50, 2))
    assert all(value(u, x / np.linalg.norm(x)) <= found for x in others)
