"""Truths: element-by-element sums of the default sweep, over every direction in front."""

import numpy as np
import pytest

from heliostat.scenario import parse
from tests.scenario.test_localization import BARE, CROSS

PLACES = 200


def elementwise(count, steering, cosines):
    """Sum over a line's elements, [config, direction], for spacing 1/2."""
    step = steering[:, None] - cosines[None, :]
    return np.exp(1j * np.pi * np.arange(count)[:, None, None] * step[None]).sum(axis=0)


def largest_correlation(columns, rows, sweep):
    """Over random pairs of a direction within half a beamwidth of the focus and any farther off
    than a null, in front of the surface."""
    rng = np.random.default_rng(0)
    counts, steering = np.array([columns, rows]), np.asarray(sweep) / [columns, rows]
    largest = 0.0
    lines = [np.arange(-1, 1 + 1e-9, 0.2 / n) for n in counts]  # ten per null
    for _ in range(PLACES):
        focus = rng.uniform(-0.5, 0.5, 2)
        here = focus + rng.uniform(-0.5, 0.5, 2) / counts
        near, far = (
            [elementwise(n, focus[i] + steering[:, i], at[i]) for i, n in enumerate(counts)]
            for at in ([here[:1], here[1:]], lines)
        )
        own = (near[0] * near[1])[:, 0]
        overlap = np.abs(np.einsum("k,kx,ky->xy", own.conj(), *far, optimize=True)) ** 2
        energy = np.einsum("kx,ky->xy", *(np.abs(each) ** 2 for each in far))
        apart = [np.abs(line - h) > 2 / n for line, h, n in zip(lines, here, counts, strict=True)]
        seen = np.hypot(*np.meshgrid(*lines, indexing="ij")) < 1
        away = (apart[0][:, None] | apart[1][None, :]) & seen & (energy > 1e-12 * energy.max())
        found = overlap[away] / energy[away] / np.sum(np.abs(own) ** 2)
        largest = max(largest, found.max(initial=0.0))
    return largest


@pytest.mark.parametrize(("columns", "rows"), [(4, 4), (8, 8), (16, 8), (8, 16), (16, 16)])
def test_no_two_directions_have_the_same_response_up_to_a_gain(columns, rows):
    scenario = parse(BARE, {"surface.columns": columns, "surface.rows": rows})
    default = scenario.sweep_of(scenario.panel)
    assert len(default) == 4
    assert largest_correlation(columns, rows, default) < 0.75
    assert largest_correlation(columns, rows, CROSS) > 0.97  # equal steps do not tell them apart


def test_the_default_sweep_keeps_its_beams_whatever_the_spacing():
    scenario = parse(BARE, {"surface.spacing": [0.25, 0.7]})
    wide = scenario.sweep_of(scenario.panel)
    np.testing.assert_allclose(wide, [[2, 0], [-2, 0], [0, 1], [0, -1]])
