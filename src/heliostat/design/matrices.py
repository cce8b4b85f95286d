"""Adjoint and Hermitian part of stacked matrices."""

import numpy as np


def adjoint(matrices: np.ndarray) -> np.ndarray:
    """Conjugate transpose of the last two axes.

    Args:
        matrices: The matrices.
    """
    return np.conj(matrices).mT


def hermitian_part(matrices: np.ndarray) -> np.ndarray:
    """Return half of the sum of matrices and their adjoints.

    Args:
        matrices: The matrices.
    """
    return (matrices + adjoint(matrices)) / 2
