"""Results of the functions for localization scenarios, and the error for a missing bound."""

from dataclasses import dataclass

import numpy as np


class NotIdentifiableError(ValueError):
    """Raised if a result requires a bound that does not exist."""


@dataclass(frozen=True)
class PoseBounds:
    """Error bounds of position and heading from the pilots of one period."""

    peb: float
    """Position error bound (PEB), the root of the sum of the variances of x and y. [m]"""
    reb: float
    """Heading (rotation) error bound (REB). [rad]"""
    information: np.ndarray
    """Fisher information of (x, y, heading), nuisances eliminated. [m⁻², m⁻¹rad⁻¹, rad⁻²]"""
    rank: int
    """Number of identifiable directions of (x, y, heading), 0 to 3."""
    unidentifiable: np.ndarray
    """Unit vectors of (x [m], y [m], heading [rad]) along which the pilots do not change.
    [direction, 3]"""
    remedies: tuple[str, ...] = ()
    """Single changes of the scenario that make position and heading identifiable, if they are
    not."""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""

    @property
    def identifiable(self) -> bool:
        """Whether position and heading are identifiable."""
        return self.rank == 3

    @property
    def reason(self) -> str:
        """Reason for an infinite bound, in one sentence; empty if all bounds are finite."""
        if self.identifiable:
            return ""
        moves = "; ".join(
            f"({x:+.3g} m, {y:+.3g} m, {heading:+.3g} rad)" for x, y, heading in self.unidentifiable
        )
        lost = f"Changes of (x, y, heading) along {moves} do not change the received pilots."
        if not self.remedies:
            return lost
        return f"{lost} The pose is identifiable with {', or with '.join(self.remedies)}."

    def _repr_html_(self) -> str:
        return _html_table(
            {
                "PEB": f"{self.peb:.4g} m",
                "REB": f"{self.reb:.4g} rad",
                "identifiable": self.reason or "yes",
            }
        )


@dataclass(frozen=True)
class EffectiveRate:
    """Effective achievable data rate (EADR) of one period."""

    eadr: float
    """EADR with the best beams of the DFT codebooks, paper eq. (39). [bit/s]"""
    eadr_closed_form: float
    """EADR over the strongest path with exactly aligned beams, paper eq. (42). [bit/s]"""
    snr: float
    """Signal-to-noise ratio (SNR) with the codebook beams, linear. [1]"""
    time_ratio: float
    """Share of the period for pilots. [1]"""
    path_snr: dict[str, float]
    """SNR over each path alone, with the best codebook beams for this path, linear. [1]"""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""

    def _repr_html_(self) -> str:
        return _html_table(
            {
                "EADR": f"{self.eadr / 1e6:.4g} Mbit/s",
                "EADR, closed form": f"{self.eadr_closed_form / 1e6:.4g} Mbit/s",
                "SNR": f"{10 * np.log10(max(self.snr, 1e-300)):.4g} dB",
                "pilots' share of the period": f"{self.time_ratio:.4g}",
            }
        )


@dataclass(frozen=True)
class TradeOff:
    """Bounds and rates for all time allocations: 1, 2, ... active antennas."""

    active_antennas: np.ndarray
    """Number of active antennas. [choice]"""
    ratio: np.ndarray
    """Share of the period for pilots. [choice] [1]"""
    peb: np.ndarray
    """Position error bound. [choice] [m]"""
    reb: np.ndarray
    """Heading error bound. [choice] [rad]"""
    eadr: np.ndarray
    """EADR with codebook beams. [choice] [bit/s]"""
    dominated: np.ndarray
    """Whether another choice has a PEB that is no larger and a rate that is no smaller. [choice]"""


@dataclass(frozen=True)
class TimeAllocation:
    """Optimal share of a period for pilots."""

    ratio: float
    """Continuous optimum of Algorithm 1, limited by the number of antennas; with several paths
    or spherical waves the ratio for ``active_antennas``. [1]"""
    active_antennas: int
    """Optimal number of active antennas for the rate with codebook beams."""
    objective: float
    """Objective at ``active_antennas``: PEB + REB - weight x rate [m + rad], or, with a balance,
    b ln(PEB) - (1 - b) ln(rate) with the PEB in meters and the rate in bit/s."""
    multiplier: float
    """Lagrange multiplier of the limit on ``ratio``. It is zero in the interior, and also with
    several paths or spherical waves, for which the optimum is found by enumeration."""
    kkt_residual: float
    """Residual of the Karush-Kuhn-Tucker (KKT) conditions at ``ratio``, relative to the terms
    that cancel; zero if the optimum is found by enumeration. [1]"""
    peak_rate_ratio: float
    """Ratio at which the rate is largest (by the Lambert W function, or by enumeration with several
    paths or spherical waves); smaller ratios are dominated. [1]"""
    trade_off: TradeOff
    """Bounds and rates of all allocations."""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""

    def _repr_html_(self) -> str:
        return _html_table(
            {
                "best ratio": f"{self.ratio:.4g}",
                "active antennas": str(self.active_antennas),
                "ratio at the rate's peak": f"{self.peak_rate_ratio:.4g}",
                "KKT residual": f"{self.kkt_residual:.1e}",
            }
        )


@dataclass(frozen=True)
class ErrorEffect:
    """Distribution of bounds and rates over trials with the scenario's ``errors``."""

    trials: int
    peb_median: float
    """Median PEB with the surface steered by the estimate of the previous period. [m]"""
    peb_90: float
    """90 % quantile of the PEB. [m]"""
    reb_median: float
    """Median REB. [rad]"""
    eadr_mean: float
    """Mean EADR with codebook beams and the surface steered by the current estimate. [bit/s]"""
    eadr_10: float
    """10 % quantile of the EADR. [bit/s]"""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""


@dataclass(frozen=True)
class SweepDesign:
    """Surface configurations of the alignment stage, designed for a region.

    ``scenario.updated({"surface.focus": design.focus.tolist(), "surface.sweep":
    design.sweep.tolist()})`` uses them; the data stage is then steered to the focus as well.
    """

    focus: np.ndarray
    """Focus of all configurations, for ``surface.focus``. [xyz] [m]"""
    sweep: np.ndarray
    """Offsets from the focus in direction cosines, in units of 1/columns and 1/rows, for
    ``surface.sweep``. [configuration, 2] [1]"""
    peb: np.ndarray
    """Position error bound (PEB) at each position of the region. [position] [m]"""
    value: float
    """Largest PEB in the region, or the root mean square for the criterion "mean". [m]"""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""


def _html_table(rows: dict[str, str]) -> str:
    cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows.items())
    return f"<table>{cells}</table>"
