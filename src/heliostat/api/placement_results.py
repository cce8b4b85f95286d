"""Result of the placement of surfaces."""

from dataclasses import dataclass

import numpy as np

from heliostat.scenario import LocalizationScenario


class PlacementError(ValueError):
    """Raised if surfaces cannot be placed as requested; the message contains a remedy."""


@dataclass(frozen=True)
class PlacedSurface:
    """A surface on a wall."""

    name: str
    """Name in the scenario of the site."""
    wall: str
    """Name of the wall."""
    position: np.ndarray
    """Position of its first element. [xyz] [m]"""
    azimuth: float
    """Azimuth of its normal, anticlockwise from the x axis. [rad]"""
    turn: float
    """Azimuth relative to the normal of the wall. [rad]"""
    rows: int
    """Number of rows of elements."""
    columns: int
    """Number of columns of elements."""


@dataclass(frozen=True)
class Candidates:
    """Candidates that were evaluated, of one size."""

    wall: tuple[str, ...]
    """Name of the wall of each candidate."""
    position: np.ndarray
    """Positions. [candidate, xyz] [m]"""
    azimuth: np.ndarray
    """Azimuth of the normals. [candidate] [rad]"""
    share: np.ndarray
    """Share of the positions that meets the goal with this surface alone. [candidate] [1]"""
    dropped: dict[str, int]
    """Number of dropped candidates by reason."""


@dataclass(frozen=True)
class Placement:
    """Positions of surfaces on walls, and the share of the positions that they serve.

    Shares are of all positions outside the obstacles. A quantile is the value that 90 % of these
    positions attain or improve on, of the quantity of the first goal: the 90 % quantile of the
    position error bound (PEB), or the 10 % quantile of the rate.
    """

    goal: str
    """The goal."""
    scenario: LocalizationScenario
    """The site: the scenario with the chosen surfaces."""
    surfaces: tuple[PlacedSurface, ...]
    """The chosen surfaces, in the order of the scenario."""
    share: float
    """Share of the positions that meets the goal. [1]"""
    quantile: float
    """Quantile with the chosen surfaces. [m] or [bit/s]"""
    share_on_grid: float
    """Share of the best set of candidates that was found, before the local refinement. [1]"""
    bound: float
    """Upper bound on the share of all sets of candidates of this number and of one size. [1]"""
    sets: int
    """Number of sets of candidates of this number, for all sizes together."""
    sizes: np.ndarray
    """Rows and columns of each size. [size, 2]"""
    share_by_number: np.ndarray
    """Share for 0, 1, 2, ... surfaces of each size on the grid. [size, number] [1]"""
    quantile_by_number: np.ndarray
    """Quantile for 0, 1, 2, ... surfaces of each size on the grid. [size, number] [m] or [bit/s]"""
    candidates: Candidates
    """The candidates of the chosen size."""
    positions: np.ndarray
    """Positions of the user. [position, xyz] [m]"""
    names: tuple[str, ...]
    """Names of listed positions; empty for an area."""
    area: tuple[np.ndarray, np.ndarray] | None
    """x of the columns and y of the rows of the points of an area; None for listed positions.
    [m]"""
    met: np.ndarray
    """Whether the goal is met with the chosen surfaces. [position]"""
    met_before: np.ndarray
    """Whether the goal is met without them. [position]"""
    values: dict[str, np.ndarray]
    """Quantities of the goal with the chosen surfaces: peb [m], rate [bit/s]. [position]"""
    active_antennas: int
    """Number of active antennas of the base station."""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""

    @property
    def gap(self) -> float:
        """Largest share that another set of candidates on the grid may add to ``share``. [1]"""
        return max(self.bound - self.share, 0.0)

    def _repr_html_(self) -> str:
        rows = {each.name: f"{each.wall}, {each.position.tolist()} m" for each in self.surfaces}
        rows |= {f"share with {self.goal}": f"{self.share:.3g}", "gap": f"{self.gap:.3g}"}
        cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows.items())
        return f"<table>{cells}</table>"
