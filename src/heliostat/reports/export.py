"""Export of designs and surface phases to NumPy (.npz) and MATLAB (.mat) files."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import scipy.io
from jaxtyping import Array, Complex, Float, Shaped

from heliostat.api.localization import build
from heliostat.api.sensing_arguments import checked_reflections
from heliostat.design.result import BeamformingDesign, RegionDesign, patterned
from heliostat.scenario import LocalizationScenario, ScenarioLike, SensingScenario, of_system
from heliostat.scene.localization import LocalizationScene
from heliostat.stored_programs import stored_jit

NAMES: dict[str, str] = {
    "covariance": "R, covariance of the transmitted signal, [surface, pattern, tx, tx], W",
    "beams": "columns w of sqrt(W) with R = sum of w w^H, strongest first, [surface, pattern, tx, "
    "beam]: the eigenvectors of R times the roots of their eigenvalues",
    "reflection": "psi, coefficients of the surfaces, [surface, pattern, element], the horizontal "
    "index fastest, for the time dependence exp(+j omega t); zeros beyond a surface's elements",
    "amplitude": "|psi|, [surface, pattern, element]",
    "phase_rad": "angle of psi, (-pi, pi], [surface, pattern, element]",
    "phase_deg": "the same in degrees, (-180, 180]",
    "rows": "number of rows of elements, [surface]",
    "columns": "number of columns of elements, [surface]",
    "crb_rad2": "Cramer-Rao bound, tr F^-1 of each surface, [surface], for a region "
    "[position, surface], rad^2",
    "direction_std_rad": "least standard deviation of elevation and azimuth, [surface, 2], for a "
    "region [position, surface, 2], rad",
    "snr": "SNR at the output of the matched filter, [surface], for a region [position, surface]",
    "lower_bound_rad2": "lower bound on the worst CRB of any design, for a region on its "
    "criterion, rad^2",
    "history_rad2": "worst CRB of the best design so far after each step, [step], rad^2",
    "scenario_text": "the scenario, as YAML",
    "names": "this list of entries with their meaning",
}
"""Entries of a beamforming design with their meaning, shape and unit."""

PHASE_NAMES: dict[str, str] = {
    "alignment_phase_rad": "phases of the surface while pilots are sent, (-pi, pi], "
    "[configuration, element], for several surfaces [surface, configuration, element] with zeros "
    "beyond a surface's elements, the horizontal index fastest, for the time dependence "
    "exp(-j omega t); reverse their signs for exp(+j omega t). Of a panel with spherical waves the "
    "phases are referred to its center, otherwise to its first element",
    "alignment_phase_deg": "the same in degrees, (-180, 180]",
    "code": "signs with which each configuration is repeated while pilots are sent, [sign], for "
    "several surfaces [surface, sign]",
    "data_phase_rad": "phases of the surface while data are sent, (-pi, pi], [element], for "
    "several surfaces [surface, element]",
    "data_phase_deg": "the same in degrees, (-180, 180]",
    "amplitude": "amplitude of all coefficients, for several surfaces [surface]",
    "rows": "number of rows of elements, for several surfaces [surface]",
    "columns": "number of columns of elements, for several surfaces [surface]",
    "scenario_text": "the scenario, as YAML",
    "names": "this list of entries with their meaning",
}
"""Entries of the phases of a localization scenario with their meaning, shape and unit."""


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


def _padded(settings: list[np.ndarray]) -> Shaped[np.ndarray, "surface pattern element"]:
    """Coefficients or phases of all surfaces in one array, padded with zeros."""
    widest = max(patterns.shape[1] for patterns in settings)
    return np.stack([np.pad(p, ((0, 0), (0, widest - p.shape[1]))) for p in settings])


def _listed(names: Mapping[str, str], entries: Mapping[str, object]) -> dict[str, np.ndarray]:
    """Entries as arrays, with the list of their meanings."""
    text = "\n".join(f"{name}: {names[name]}" for name in [*entries, "names"])
    return {name: np.asarray(entry) for name, entry in entries.items()} | {"names": np.array(text)}


def design_arrays(
    design: BeamformingDesign | RegionDesign, scenario: SensingScenario | None = None
) -> dict[str, np.ndarray]:
    """A beamforming design with the entries of `NAMES`.

    Args:
        design: The design.
        scenario: Its scenario; without one ``rows``, ``columns`` and ``scenario_text`` are missing.
    """
    bounds: dict[str, object]
    if isinstance(design, RegionDesign):
        first = design.designs[0]
        bounds = {
            "crb_rad2": [each.crb for each in design.designs],
            "direction_std_rad": [each.direction_std for each in design.designs],
            "snr": [each.snr for each in design.designs],
        }
    else:
        first = design
        bounds = {
            "crb_rad2": design.crb,
            "direction_std_rad": design.direction_std,
            "snr": design.snr,
            "history_rad2": np.asarray(design.history)[: int(design.steps)],
        }
    covariance, settings = patterned(first)
    reflection = _padded(settings)
    entries: dict[str, object] = {
        "covariance": covariance,
        "beams": beams_of(covariance),
        "reflection": reflection,
        "amplitude": np.abs(reflection),
        "phase_rad": np.angle(reflection),
        "phase_deg": np.rad2deg(np.angle(reflection)),
        "lower_bound_rad2": design.lower_bound,
        **bounds,
    }
    if scenario is not None:
        entries |= {
            "rows": [surface.rows for surface in scenario.surfaces],
            "columns": [surface.columns for surface in scenario.surfaces],
            "scenario_text": scenario.dump(),
        }
    return _listed(NAMES, entries)


def phase_arrays(scenario: LocalizationScenario) -> dict[str, np.ndarray]:
    """Phases of all surfaces with the entries of `PHASE_NAMES`."""
    scene = build(scenario)
    each = [_phases(scene.through(i)) for i in range(len(scene.surfaces))]
    entries: dict[str, object] = {}
    for name, stage in (("alignment", 0), ("data", 1)):
        phase = _padded([np.asarray(phases[stage]) for phases in each])
        wrapped = np.angle(np.exp(1j * (phase if name == "alignment" else phase[:, 0])))
        entries |= {f"{name}_phase_rad": wrapped, f"{name}_phase_deg": np.rad2deg(wrapped)}
    entries |= {
        "code": np.stack([np.asarray(surface.code) for surface in scene.surfaces]),
        "amplitude": np.array([panel.reflection for panel in scenario.panels]),
        "rows": np.array([panel.rows for panel in scenario.panels]),
        "columns": np.array([panel.columns for panel in scenario.panels]),
    }
    if len(scenario.panels) == 1:
        entries = {name: np.asarray(entry)[0] for name, entry in entries.items()}
    return _listed(PHASE_NAMES, entries | {"scenario_text": scenario.dump()})


@stored_jit
def _phases(scene: LocalizationScene) -> tuple[Float[Array, "_ element"], ...]:
    """Phases of the alignment and of the data stage."""
    return scene.phases(scene.surface.alignment), scene.phases(scene.surface.data)


def write_arrays(arrays: Mapping[str, np.ndarray], file: Path) -> None:
    """Write arrays for NumPy or MATLAB.

    Args:
        arrays: Arrays by name.
        file: Output file; its suffix, .npz or .mat, sets the format.

    Raises:
        ValueError: The suffix is neither.
    """
    suffix = file.suffix.lower()
    if suffix == ".npz":
        np.savez(file, allow_pickle=False, **arrays)
    elif suffix == ".mat":
        content = BytesIO()  # with a name, SciPy does not say what is wrong with it
        scipy.io.savemat(content, dict(arrays), oned_as="column")  # type: ignore[arg-type]
        file.write_bytes(content.getvalue())
    else:
        raise ValueError(f"{file.name} must end in .npz or .mat.")


def export(
    design: BeamformingDesign | RegionDesign | ScenarioLike,
    file: str | Path,
    scenario: ScenarioLike | None = None,
) -> None:
    """Write a design for NumPy or MATLAB; the entry ``names`` explains each entry.

    Args:
        design: A beamforming design or a design for a region, or a localization scenario, its name,
            path or dict, whose surface phases are written.
        file: Output file in an existing folder; its suffix, .npz or .mat, sets the format.
        scenario: Scenario of the beamforming design; without one ``rows``, ``columns`` and
            ``scenario_text`` are missing.

    Raises:
        TypeError: ``design`` is neither a design nor a localization scenario.
        ValueError: The suffix is neither .npz nor .mat, or the surfaces of the scenario are not
            those of the design.
    """
    if not isinstance(design, BeamformingDesign | RegionDesign):
        arrays = phase_arrays(of_system(design, LocalizationScenario, "export"))
    elif scenario is None:
        arrays = design_arrays(design)
    else:
        own = of_system(scenario, SensingScenario, "export")
        single = design.designs[0] if isinstance(design, RegionDesign) else design
        checked_reflections(own, single.reflection)
        arrays = design_arrays(design, own)
    write_arrays(arrays, Path(file))
