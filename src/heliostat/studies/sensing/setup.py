"""Scenario, designs and comparisons shared by the sensing paper's figures.

The paper shows one curve for random channels and does not print the number of draws. Here every
curve is a median over draws, and two curves are compared draw by draw. "Proposed" is the joint
design of this package, not the paper's alternating optimization, which `sensing/scaling` compares
with it.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray

from heliostat.design.baselines import reflective_only, transmit_only, with_passive_surfaces
from heliostat.design.joint_descent import descend_jointly
from heliostat.scenario import SensingScenario, load, of_system, scenario_text
from heliostat.scenario.random_keys import purpose_key
from heliostat.scene.sensing import SensingScene
from heliostat.studies.claims import judge
from heliostat.studies.figures import COLORS, MARKS, entries
from heliostat.studies.statistics import Estimate, log10, paired_change

SCENARIO = "sensing-two-surfaces"
POWER = 20.0
"""P_t, power of the base station in the paper's Fig. 4. [W]"""
SURFACE_POWER = 0.1
"""P_s, power of each surface in its Figs. 2 and 4. [W]"""
AMPLIFICATION = 8.0
"""a_max, largest gain of an element in its Figs. 3 and 4."""
DRAWS = 5
STARTS = 16
"""Random starts of each joint design, fewer than by default."""
LEVEL = "worst CRB over the surfaces, $10\\,\\log_{10}(\\mathrm{CRB}/\\mathrm{rad}^2)$ [dB]"
"""Label of the ordinates."""


class Draw(NamedTuple):
    """Random quantities of one trial."""

    scene: SensingScene
    seed: int  # for the starts of a design and for random phases


@functools.cache
def scenario(antennas: int = 16, side: int = 4, rician_db: float = 5.0) -> SensingScenario:
    """The paper's scenario with the given sizes and K-factor.

    Args:
        antennas: Antennas of the base station.
        side: Elements along each side of each surface.
        rician_db: K-factor of the channels; at 160 dB they are pure line of sight in double
            precision. [dB]
    """
    sizes = {f"surfaces.{i}.{name}": side for i in range(2) for name in ("rows", "columns")}
    wanted: dict[str, Any] = {"base_station.antennas": antennas, "link.rician": f"{rician_db} dB"}
    loaded = load(SCENARIO, wanted | sizes)
    return of_system(loaded, SensingScenario, "this study")


def draw(key: PRNGKeyArray, *, antennas: int = 16, side: int = 4, rician_db: float = 5.0) -> Draw:
    """Channels of one trial."""
    scene = scenario(antennas, side, rician_db).build(key)
    return Draw(scene, int(jax.random.randint(purpose_key(key, "starts"), (), 0, 2**31 - 1)))


def at_levels(
    scene: SensingScene,
    *,
    power: float = POWER,
    surface_power: float = SURFACE_POWER,
    amplification: float = AMPLIFICATION,
) -> SensingScene:
    """The scene with other powers and gains.

    Args:
        scene: The scene.
        power: Power of the base station, P_t. [W]
        surface_power: Power of each surface, P_s. [W]
        amplification: Largest gain of an element, a_max. [1]
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


def proposed(scene: SensingScene, seed: int, patterns: int = 1, starts: int = STARTS) -> float:
    """Worst Cramér-Rao bound (CRB) of the joint design by the paper's criterion. [rad²]

    Args:
        scene: The scene.
        seed: Seed of the random starts.
        patterns: Number of reflection patterns in each surface's part of the dwell.
        starts: Number of random starts.

    Raises:
        ValueError: No design was found.
    """
    search = descend_jointly(
        (scene,), patterns=patterns, mean=False, min_snr=0.0, starts=starts, seed=seed
    )
    return search.result().worst


def passive(scene: SensingScene, seed: int) -> float:
    """Worst CRB of the joint design for passive surfaces. [rad²]"""
    return proposed(with_passive_surfaces(scene), seed)


def only_transmit(scene: SensingScene, seed: int) -> float:
    """Worst CRB of the best covariances for surfaces with random phases. [rad²]"""
    return transmit_only(scene, seed=seed).worst_crb


def only_reflect(scene: SensingScene, seed: int) -> float:
    """Worst CRB of the best coefficients for isotropic transmission. [rad²]"""
    return reflective_only(scene, seed=seed).worst_crb


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
LOOKS = dict(entries(DESIGNS, color=COLORS, marker=MARKS))
"""Lines of the designs, the same in every figure."""


def best_so_far(crbs: list[float]) -> np.ndarray:
    """Smallest CRB up to each point of an axis along which the feasible set grows. [rad²]

    A design for less power, less gain or fewer antennas is feasible for more, so that a worse local
    minimum at a later point does not count.
    """
    return np.minimum.accumulate(np.asarray(crbs))


def decibel(crb: xr.DataArray) -> xr.DataArray:
    """Level of a CRB in rad². [dB]"""
    return 10 * log10(crb)


def band(dataset: xr.Dataset) -> str:
    """Title of a figure: what its lines and its shaded bands show."""
    lost, draws = dataset.attrs.get("failures", 0), dataset.sizes["trial"]
    words = (
        f"Cramér-Rao bound (CRB) over {draws} draws of the channels: median, quartiles shaded"
        if draws > 1
        else "Cramér-Rao bound (CRB) for one draw of the channels"
    )
    return f"{words}, {lost} points without a design" if lost else words


@dataclass(frozen=True)
class Advantage(Estimate):
    """Advantage of one design over another for the same draws. [dB]"""

    wins: int
    draws: int

    def exceeds(self, least: float) -> bool | None:
        """Whether the mean is larger than a threshold; None if the interval contains it."""
        return self.between(low=least)

    def __str__(self) -> str:
        """The mean with its interval, and the number of draws in which the design is better."""
        return f"{self.text(1, ' dB')}, better in {self.wins} of {self.draws} draws"


def advantage(better: xr.DataArray, other: xr.DataArray) -> Advantage:
    """Reduction of the CRB relative to another one, draw by draw; other axes are averaged. [dB]"""
    gain = decibel(other) - decibel(better)
    gain = gain.mean([d for d in gain.dims if d != "trial"])
    change = paired_change(decibel(other), decibel(better))
    return Advantage(change.mean, change.half, int((gain > 0).sum()), gain.sizes["trial"])


judge_decibels = functools.partial(judge, unit=" dB")
"""Verdict on advantages, which are in dB."""


def with_wins(advantages: Mapping[str, Advantage]) -> str:
    """Note for a finding: in how many draws each advantage is positive."""
    draws = next(iter(advantages.values())).draws
    return f"; better in {', '.join(str(a.wins) for a in advantages.values())} of {draws} draws"


def provenance(**more: str) -> dict[str, str]:
    """Attributes from which a dataset can be computed again."""
    return {
        "scenario": scenario_text(SCENARIO),
        "criterion": "tr F^-1 of all four parameters, as in the paper; no minimum SNR",
        "starts": f"{STARTS} for each surface",
        "reference": 'Y. Fang, X. Yu, J. Xu, "Joint Transmit and Reflective Beamforming for '
        'Multi-Active-IRS-Assisted Cooperative Sensing"',
        **more,
    }
