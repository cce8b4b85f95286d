"""Truths: unitarity, the search over every beam."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from heliostat.geometry.codebooks import best_beam_gain, dft_codebook


@given(st.sampled_from([1, 2, 3, 8, 17, 64]))
def test_codebook_is_orthonormal_and_is_the_papers(elements):
    beams = np.asarray(dft_codebook(elements))
    np.testing.assert_allclose(beams.conj().T @ beams, np.eye(elements), atol=1e-13)
    k, m = elements - 1, elements // 2
    expected = np.exp(-2j * np.pi * k * m / elements) / np.sqrt(elements)
    np.testing.assert_allclose(beams[k, m], expected, atol=1e-12)


@given(st.sampled_from([1, 2, 3, 8, 17, 64]), st.floats(-7, 7))
def test_rounding_finds_what_the_search_over_the_codebook_finds(elements, step):
    response = np.exp(1j * step * np.arange(elements))
    searched = np.max(np.abs(np.asarray(dft_codebook(elements)).T @ response) ** 2)
    np.testing.assert_allclose(best_beam_gain(elements, jnp.asarray(step)), searched, rtol=1e-10)
