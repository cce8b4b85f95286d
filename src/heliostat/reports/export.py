"""Export of a beamforming design to NumPy (.npz) and MATLAB (.mat) files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.io
from jaxtyping import Complex, Float

from heliostat.design.result import BeamformingDesign
from heliostat.scenario import SensingScenario

NAMES: dict[str, str] = {
    "covariance": "R, covariance of the transmitted signal, [surface, pattern, tx, tx], W",
    "beams": "columns w of sqrt(W) with R = sum of w w^H, strongest first, [surface, pattern, tx, "
    "beam]: the eigenvectors of R times the roots of their eigenvalues",
    "reflection": "psi, coefficients of the surfaces, [surface, pattern, element], the horizontal "
    "index fastest; zeros beyond the number of elements of a surface",
    "amplitude": "|psi|, [surface, pattern, element]",
    "phase_deg": "angle of psi in degrees, (-180, 180], [surface, pattern, element]",
    "rows": "number of rows of elements, [surface]",
    "columns": "number of columns of elements, [surface]",
    "crb_rad2": "Cramer-Rao bound, tr F^-1 of each surface, [surface], rad^2",
    "direction_std_rad": "least standard deviation of elevation and azimuth, [surface, 2], rad",
    "snr": "SNR at the output of the matched filter, [surface]",
    "lower_bound_rad2": "lower bound on the worst CRB of any design, rad^2",
    "history_rad2": "worst CRB of the best design so far after each step, [step], rad^2",
    "scenario_text": "the scenario, as YAML",
    "names": "this list of entries with their meaning",
}
"""Entries of the files with their meaning, shape and unit."""


def beams_of(
    covariance: Complex[np.ndarray, "*batch tx tx"],
) -> Complex[np.ndarray, "*batch tx beam"]:
    r"""Beams :math:`w_k` with :math:`R = \sum_kw_kw_k^H`, the strongest first. [√W]

    Their number is the largest rank of the covariances; beams with less than 1e-12 of the power are
    omitted.

    Args:
        covariance: :math:`R`. [W]
    """
    power, vectors = np.linalg.eigh(covariance)
    power, vectors = np.maximum(power[..., ::-1], 0.0), vectors[..., ::-1]
    used = power > 1e-12 * power.sum(axis=-1, keepdims=True)
    count = max(int(used.sum(axis=-1).max()), 1)
    beams = vectors[..., :count] * np.sqrt(power[..., None, :count])
    return np.asarray(beams)


def patterned(design: BeamformingDesign) -> tuple[np.ndarray, list[np.ndarray]]:
    """Covariances [surface pattern tx tx] and coefficients [pattern element] of a design.

    Args:
        design: A design, with a pattern axis or, for a single pattern, without.
    """
    covariance = np.asarray(design.covariance)
    if covariance.ndim == 3:
        covariance = covariance[:, None]
    return covariance, [np.atleast_2d(np.asarray(psi)) for psi in design.reflection]


def _padded(settings: list[np.ndarray]) -> Complex[np.ndarray, "surface pattern element"]:
    """Coefficients of all surfaces in one array, padded with zeros."""
    widest = max(patterns.shape[1] for patterns in settings)
    return np.stack([np.pad(p, ((0, 0), (0, widest - p.shape[1]))) for p in settings])


def phase_deg(
    reflection: Complex[np.ndarray, "*shape"],
) -> Float[np.ndarray, "*shape"]:
    """Phases in degrees, in (-180, 180].

    Args:
        reflection: Coefficients. [1]
    """
    return np.asarray(np.rad2deg(np.angle(reflection)))


def design_arrays(scenario: SensingScenario, design: BeamformingDesign) -> Mapping[str, np.ndarray]:
    """Content of the files, with the names of `NAMES`.

    Args:
        scenario: Scenario of the design.
        design: The design.
    """
    covariance, settings = patterned(design)
    reflection = _padded(settings)
    return {
        "covariance": covariance,
        "beams": beams_of(covariance),
        "reflection": reflection,
        "amplitude": np.abs(reflection),
        "phase_deg": phase_deg(reflection),
        "rows": np.array([surface.rows for surface in scenario.surfaces]),
        "columns": np.array([surface.columns for surface in scenario.surfaces]),
        "crb_rad2": np.asarray(design.crb),
        "direction_std_rad": np.asarray(design.direction_std),
        "snr": np.asarray(design.snr),
        "lower_bound_rad2": np.asarray(design.lower_bound),
        "history_rad2": np.asarray(design.history)[: int(design.steps)],
        "scenario_text": np.array(scenario.dump()),
        "names": np.array("\n".join(f"{name}: {meaning}" for name, meaning in NAMES.items())),
    }


def save_design(scenario: SensingScenario, design: BeamformingDesign, folder: Path) -> None:
    """Write ``design.npz`` and ``design.mat`` with the same content.

    Args:
        scenario: Scenario of the design.
        design: The design.
        folder: An existing folder.
    """
    arrays = design_arrays(scenario, design)
    np.savez(folder / "design.npz", allow_pickle=False, **arrays)
    scipy.io.savemat(folder / "design.mat", dict(arrays), oned_as="column")
