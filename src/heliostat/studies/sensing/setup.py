"""What the sensing paper's figures share: its set-up, its designs, how draws are compared.

The paper shows one curve for a channel that is random and prints neither the number of draws nor
one of them. Here every curve is a median over draws, and every claim about two curves is put to
the same draws of both. "Proposed" is this package's joint design, not the paper's own alternation,
which `sensing/scaling` sets beside it.
"""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray

from heliostat.design.baselines import (
    reflective_only,
    transmit_only,
    with_passive_surfaces,
)
from heliostat.design.joint_descent import descend_jointly
from heliostat.scenario import SensingScenario, load, scenario_text
from heliostat.scenario.random_keys import purpose_key
from heliostat.scene.sensing import SensingScene
from heliostat.studies.figures import COLOURS, MARKS
from heliostat.studies.study import decided, log10, paired_change

SCENARIO = "sensing-two-surfaces"
POWER = 20.0
"""P_t of the paper's Fig. 4. [W]"""
SURFACE_POWER = 0.1
"""P_s of its Figs. 2 and 4. [W]"""
AMPLIFICATION = 8.0
"""a_max of its Figs. 3 and 4."""
DRAWS = 5
STARTS = 8
"""Random starts of each joint design, fewer than by default."""
LEVEL = "worst CRB, $10\\,\\log_{10}(\\mathrm{tr}\\,F^{-1}/\\mathrm{rad}^2)$ [dB]"
"""What the ordinates show."""


class Draw(NamedTuple):
    """What is random in one trial."""

    scene: SensingScene
    seed: int  # of a design's starts and of random phases


@functools.cache
def scenario(antennas: int = 16, side: int = 4, rician_db: float = 5.0) -> SensingScenario:
    """The paper's scenario, perhaps of other sizes.

    Args:
        antennas: Of the base station.
        side: Elements along each side of each surface.
        rician_db: K-factor of the channels; 160 dB is line of sight to the last digit.
    """
    sizes = {f"surfaces.{i}.{name}": side for i in range(2) for name in ("rows", "columns")}
    wanted: dict[str, Any] = {"base_station.antennas": antennas, "link.rician": f"{rician_db} dB"}
    loaded = load(SCENARIO, wanted | sizes)
    assert isinstance(loaded, SensingScenario)
    return loaded


def draw(key: PRNGKeyArray, *, antennas: int = 16, side: int = 4, rician_db: float = 5.0) -> Draw:
    """One trial's channels.

    Args:
        key: The trial's own.
        antennas: See `scenario`.
        side: See `scenario`.
        rician_db: See `scenario`.
    """
    scene = scenario(antennas, side, rician_db).build(key)
    return Draw(scene, int(jax.random.randint(purpose_key(key, "starts"), (), 0, 2**31 - 1)))


def at_levels(
    scene: SensingScene,
    *,
    power: float = POWER,
    surface_power: float = SURFACE_POWER,
    amplification: float = AMPLIFICATION,
) -> SensingScene:
    """The same scene with other powers and gains.

    Args:
        scene: The scene.
        power: Of the base station, P_t. [W]
        surface_power: Of each surface, P_s. [W]
        amplification: Of each element at most, a_max. [1]
    """
    surfaces = tuple(
        eqx.tree_at(
            lambda s: (s.power, s.amplification),
            surface,
            (jnp.asarray(surface_power, float), jnp.asarray(amplification, float)),
        )
        for surface in scene.surfaces
    )
    changed = jnp.asarray(power, float), surfaces
    return eqx.tree_at(lambda s: (s.base_station.power, s.surfaces), scene, changed)


def proposed(scene: SensingScene, seed: int, patterns: int = 1) -> float:
    """Worst CRB of the joint design by the paper's own criterion. [rad²]

    Args:
        scene: The scene.
        seed: Of its starts.
        patterns: Reflection patterns in each surface's part of the dwell.

    Raises:
        ValueError: No design was found.
    """
    try:
        course = descend_jointly(
            (scene,), patterns=patterns, mean=False, min_snr=0.0, starts=STARTS, seed=seed
        )
    except ValueError as error:  # of a solver in it, where no direction is seen at all
        raise ValueError(f"no joint design: {error}") from error
    if course.best is None:
        raise ValueError("no joint design shows both angles")
    return course.best.worst


def passive(scene: SensingScene, seed: int) -> float:
    """Worst CRB of the joint design for passive surfaces. [rad²]

    Args:
        scene: The scene.
        seed: Of its starts.
    """
    return proposed(with_passive_surfaces(scene), seed)


def only_transmit(scene: SensingScene, seed: int) -> float:
    """Worst CRB of the best covariances for surfaces with random phases. [rad²]

    Args:
        scene: The scene.
        seed: Of the phases.
    """
    return float(transmit_only(scene, seed=seed).worst_crb)


def only_reflect(scene: SensingScene, seed: int) -> float:
    """Worst CRB of the best coefficients for isotropic transmission. [rad²]

    Args:
        scene: The scene.
        seed: Of the starts.
    """
    return float(reflective_only(scene, seed=seed).worst_crb)


PROPOSED, TRANSMIT, REFLECT, PASSIVE = "proposed", "transmit only", "reflective only", "passive"
DESIGNS = {
    PROPOSED: proposed,
    TRANSMIT: only_transmit,
    REFLECT: only_reflect,
    PASSIVE: passive,
}
LABELS = {
    PROPOSED: "proposed",
    TRANSMIT: "transmit beamforming only",
    REFLECT: "reflective beamforming only",
    PASSIVE: "passive surfaces",
}
LOOKS: dict[str, dict[str, str]] = {
    curve: {"color": colour, "marker": mark}
    for curve, colour, mark in zip(DESIGNS, COLOURS, MARKS, strict=False)
}
"""The same in every figure."""


def best_so_far(crbs: list[float]) -> np.ndarray:
    """Least CRB up to each place along an axis on which what was feasible stays feasible. [rad²]

    A design for less power, less gain or fewer antennas is one for more; a descent that ends in a
    worse minimum must not hide it.

    Args:
        crbs: In ascending order of what there is. [rad²]
    """
    return np.minimum.accumulate(np.asarray(crbs))


def decibel(crb: xr.DataArray) -> xr.DataArray:
    """A CRB's level. [dB]

    Args:
        crb: [rad²]
    """
    return 10 * log10(crb)


def band(dataset: xr.Dataset) -> str:
    """What a figure's curves and bands are.

    Args:
        dataset: What it shows.
    """
    lost = dataset.attrs.get("failures", 0)
    told = f"median and quartiles over {dataset.sizes['trial']} draws of the channels"
    return f"{told}, {lost} points without a design" if lost else told


class Advantage(NamedTuple):
    """By how much one design is better than another on the same draws."""

    mean: float  # [dB]
    half: float  # of its 95 % interval [dB]
    wins: int
    draws: int

    def exceeds(self, least: float) -> bool | None:
        """Whether it is more than so much; None where the interval leaves it open.

        Args:
            least: [dB]
        """
        return decided(self.mean - self.half > least, self.mean + self.half < least)

    def __str__(self) -> str:
        """In words."""
        return f"{self.mean:+.1f} ± {self.half:.1f} dB, better in {self.wins} of {self.draws} draws"


def advantage(better: xr.DataArray, other: xr.DataArray) -> Advantage:
    """How far one CRB is below another, draw by draw.

    Args:
        better: Said to be less, with the dimension ``trial``; others are averaged, in dB. [rad²]
        other: Said to be more. [rad²]
    """
    mean, half = paired_change(decibel(other), decibel(better))
    gain = decibel(other) - decibel(better)
    gain = gain.mean([d for d in gain.dims if d != "trial"])
    return Advantage(mean, half, int((gain > 0).sum()), gain.sizes["trial"])


def provenance(**more: str) -> dict[str, str]:
    """What a dataset must say so that its numbers can be had again.

    Args:
        more: Besides the scenario and the paper.
    """
    return {
        "scenario": scenario_text(SCENARIO),
        "criterion": "tr F^-1 of all four parameters, as the paper; no least SNR",
        "starts": f"{STARTS} a surface",
        "reference": 'Y. Fang, X. Yu, J. Xu, "Joint Transmit and Reflective Beamforming for '
        'Multi-Active-IRS-Assisted Cooperative Sensing"',
        **more,
    }
