"""Placement of two surfaces, against maps of each candidate."""

import math

import numpy as np

import heliostat as hs
from benchmarks.timing import Row, seconds
from heliostat.api.placement_arguments import goals_of
from heliostat.api.placement_site import prepared, table_of
from heliostat.scenario.localization.candidates import grid, site_walls, usable

GOAL = "peb below 1 cm"
POINTS = 3360
"""Points of the area, of which about 2,000 are outside the buildings."""
GRID = {"spacing": 2.0, "heights": (5.0, 6.0), "turns": (-math.pi / 6, 0.0, math.pi / 6)}
MAPS = 10
"""Number of candidates for which maps are computed."""


def run() -> list[Row]:
    """All candidates in one batch, and the whole search."""
    scenario = hs.load("street-crossing", {"model.wavefront": "plane"})
    listed = grid(scenario.panel, site_walls(scenario, None, {}), *GRID.values())
    candidates, _ = usable(scenario, listed, user_ahead=False)
    found = hs.place(scenario, GOAL, 2, points=POINTS, **GRID)  # compiles
    positions = found.positions
    poses = np.column_stack([positions, np.full(len(positions), scenario.user.heading)])

    def batch():
        users = np.zeros(len(poses), dtype=int)
        site = prepared(scenario, candidates, goals_of(GOAL), poses, users, 2, None, keep=False)
        table = table_of(site, candidates)
        return table.values(site.start, 0)[0]

    def maps():
        shares = []
        for each in candidates[:: len(candidates) // MAPS][:MAPS]:
            panel = each.panel.model_dump(mode="json", exclude_none=True)
            alone = scenario.updated({"surfaces": [panel]})
            peb = hs.coverage(alone, "peb", positions=positions).peb.values
            shares.append(np.mean(peb < 0.01))
        return shares

    shares = np.mean(batch() < 0.01, axis=1)
    np.testing.assert_allclose(maps(), shares[:: len(candidates) // MAPS][:MAPS], atol=1e-12)
    slow, fast = seconds(maps) / MAPS, seconds(batch) / len(candidates)
    whole = seconds(lambda: hs.place(scenario, GOAL, 2, points=POINTS, **GRID))
    pairs = slow * found.sets
    size = f"{len(candidates)} candidates x {len(positions):,} places"
    return [
        Row(
            f"placement, {size}: one surface, over maps",
            f"{slow / fast:.0f}x ({slow * 1e3:.0f} / {fast * 1e3:.1f} ms a candidate)",
            "3x",
            slow > 3 * fast,
        ),
        Row(
            f"the same: two surfaces, over maps of all {found.sets:,} pairs",
            f"{pairs / whole:,.0f}x ({pairs / 3600:.1f} h / {whole:.0f} s), gap {found.gap:.1g}",
            "100x, 120 s",
            pairs > 100 * whole and whole < 120,
        ),
    ]
