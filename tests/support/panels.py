"""Single panels for tests of the lower bounds, and their information by its definition."""

import numpy as np

from heliostat.design.cooperative_bound import panels_of
from heliostat.design.scaled_panel import scaled_panel
from tests.support.sensing_scenes import sensing_scene


def one_panel(rows=3, columns=3, antennas=4, seed=0, **changes):
    scene = sensing_scene(
        rows=(rows,), columns=(columns,), antennas=antennas, seed=seed,
        surfaces=((-5.0, 10.0, 0.0),), **changes
    )  # fmt: skip
    return panels_of(scene)[0]


def key(panel):
    return panel.channel.tobytes(), panel.phase_slopes.tobytes(), len(panel.phase_slopes)


def in_units(panel):
    found = scaled_panel(*key(panel))
    assert found is not None
    return found


def vectors(units, u):
    return units.modes.T @ u, units.modes.T @ (u[:, None] * units.slopes.T)


def wedge(units, u):
    """Omega = A_00 [A/A_00]."""
    v, across = vectors(units, u)
    along = np.conj(across).T @ v
    return np.vdot(v, v) * (np.conj(across).T @ across) - np.outer(along, np.conj(along))
