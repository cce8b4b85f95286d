"""Identifiability and position error bound with one path or several.

The scene is that of the scenario ``street-crossing`` without its obstacles, so that all paths exist
at every position, and with surfaces of 16 x 16 elements, so that all positions are in their far
field. A trial is a random position and heading of the user. The gains are unknown, and the surfaces
are steered to the user.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
import yaml
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.bounds.fisher import identify
from heliostat.bounds.paths import paths_information
from heliostat.bounds.pose import error_bounds
from heliostat.plots.style import styled
from heliostat.scenario import LocalizationScenario, load, of_system, scenario_text
from heliostat.scene.localization import LocalizationScene
from heliostat.studies.figures import COLORS, MARKS, entries, legend_below
from heliostat.studies.study import Quantity, Study, Verdict
from heliostat.units import format_quantity

SIDE = 16
"""Elements along each side of both surfaces."""
AREA = ((-8.0, 8.0), (-15.0, 15.0))
"""Area of the user's positions, x and y. [m]"""
SETS = (
    "one surface",
    "direct path and one surface",
    "two surfaces",
    "direct path and two surfaces",
)
"""Sets of paths."""
CLOCKS = ("synchronized", "unknown")
CONFIGURATIONS = [1, 2, 4]
"""Numbers of configurations of each surface, without the signs of the codes."""
CODES = ("none", "hadamard")
SWEEPS = {1: [[0, 0]], 2: [[1.0, 0], [-1.0, 0]], 4: [[1.0, 0], [-1.0, 0], [0, 1.4], [0, -1.4]]}
"""Offsets of the configurations; those of 4 are the default."""
IDENTIFIABLE = {  # by set of paths and clock: the least number of configurations
    (0, 0): 2,
    (0, 1): 4,
    **{(paths, clock): 1 for paths in (1, 2, 3) for clock in (0, 1)},
}
"""Table in docs/theory/paths.md, verified there by the rank of the derivatives of the mean."""
ADDED = {"direct path": ((0, 1), (2, 3)), "second surface": ((0, 2), (1, 3))}
"""Sets of paths without and with a path."""


class Pose(NamedTuple):
    """Random pose of the user."""

    position: Array
    heading: Array


def scenario(paths: int, clock: str, configurations: int, codes: str) -> LocalizationScenario:
    """Scenario with some of the paths.

    Args:
        paths: Index of the set of paths.
        clock: Value of ``model.clock``.
        configurations: Number of configurations.
        codes: Value of ``link.codes``.
    """
    written: dict[str, Any] = yaml.safe_load(scenario_text("street-crossing"))
    size = {"rows": SIDE, "columns": SIDE, "sweep": SWEEPS[configurations]}
    written["surfaces"] = [each | size for each in written["surfaces"][: 1 + paths // 2]]
    written["obstacles"] = []
    written["link"] |= {"direct": "clear" if paths % 2 else "blocked", "codes": codes}
    written["model"] |= {"clock": clock, "wavefront": "plane"}
    loaded = load(written)
    return of_system(loaded, LocalizationScenario, "this study")


def sample(key: PRNGKeyArray) -> Pose:
    """Draw the position and the heading of the user."""
    place, turn = jax.random.split(key)
    low, high = jnp.asarray(AREA).T
    x, y = jax.random.uniform(place, (2,), minval=low, maxval=high)
    heading = jax.random.uniform(turn, minval=0.0, maxval=2 * jnp.pi)
    return Pose(jnp.stack([x, y, jnp.asarray(1.5)]), heading)


@functools.cache
def _scene(paths: int, clock: int, configurations: int, codes: int) -> LocalizationScene:
    with jax.ensure_compile_time_eval():
        return scenario(paths, CLOCKS[clock], configurations, CODES[codes]).build()


def point(
    pose: Pose, *, paths: int, clock: int, configurations: int, codes: int
) -> Mapping[str, Array]:
    """PEB, and whether the pose is identifiable."""
    scene = _scene(paths, clock, configurations, codes).with_user(pose.position, pose.heading)
    scene = scene.focused(alignment=pose.position)
    information = paths_information(scene, scene.base_station.array.elements)
    rank = identify(information.information, jnp.diag(information.reference)).rank
    peb, _ = error_bounds(information)
    return {"peb": peb, "identifiable": jnp.where(rank == 3, 1.0, 0.0)}


def median(dataset: xr.Dataset, paths: int, clock: int, configurations: int, codes: int) -> float:
    """Median of the PEB over the positions, inf if there is no bound. [m]"""
    at = dataset.peb.sel(paths=paths, clock=clock, configurations=configurations, codes=codes)
    return float(np.quantile(at, 0.5, method="inverted_cdf"))


def _factors(dataset: xr.Dataset, codes: int, pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
    """PEB with a path over that without it, where both exist. [1]"""
    at = dataset.peb.sel(codes=codes)
    found = [(at.sel(paths=after) / at.sel(paths=before)).values.ravel() for before, after in pairs]
    every = np.concatenate(found)
    return np.asarray(every[np.isfinite(every) & (every > 0)])


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on the table of what is identifiable, and on what each path contributes."""
    share = dataset.identifiable.mean("trial")
    wrong = []
    for (paths, clock), least in IDENTIFIABLE.items():
        for count in CONFIGURATIONS:
            found = share.sel(paths=paths, clock=clock, configurations=count).values
            if not np.all(found == (count >= least)):
                wrong.append(f"{SETS[paths]}, clock {CLOCKS[clock]}, {count}: {found.min():.1%}")
    cases = len(IDENTIFIABLE) * len(CONFIGURATIONS) * len(CODES)
    trials = dataset.sizes["trial"]

    none, coded = 0, 1
    found_by_codes = {
        codes: {name: _factors(dataset, codes, pairs) for name, pairs in ADDED.items()}
        for codes in (none, coded)
    }
    with_codes = {
        name: f"{name}: median factor {np.median(each):.2g}, at most {each.max():.5f}"
        for name, each in found_by_codes[coded].items()
    }
    plain = np.concatenate(list(found_by_codes[none].values()))
    change = np.abs(dataset.peb.sel(codes=coded) / dataset.peb.sel(codes=none) - 1)
    worst = float(change.where(np.isfinite(change)).max())
    unsynchronized = dataset.peb.sel(clock=1, codes=coded)
    four_over_one = {
        paths: (
            unsynchronized.sel(paths=paths, configurations=4)
            / unsynchronized.sel(paths=paths, configurations=1)
        ).values
        for paths in (1, 2, 3)
    }
    return [
        Verdict(
            "Paths",
            "the pose is identifiable at every position in the cases of the table, and at none in "
            "the others",
            not wrong,
            "; ".join(wrong) or f"{cases} cases, {trials} positions in each",
        ),
        Verdict(
            "Paths",
            "with sign codes each added path lowers the position error bound (PEB) at every "
            "position",
            all(bool(np.all(each < 1)) for each in found_by_codes[coded].values()),
            "; ".join(with_codes.values()),
        ),
        Verdict(
            "Paths",
            "also without sign codes each added path lowers the PEB at every position",
            bool(np.all(plain < 1)),
            f"it is raised in {(plain > 1).sum()} of {plain.size} cases, by at most "
            f"{100 * (max(plain.max(), 1) - 1):.2f} %",
        ),
        Verdict(
            "Paths",
            "sign codes change the PEB by less than 10 %: delays and angles separate the paths",
            worst < 0.1,
            f"largest change {100 * worst:.2g} %",
        ),
        Verdict(
            "Paths",
            "with the direct path and an unknown clock, one configuration gives a lower PEB than "
            "four at every position",
            all(bool(np.all(four_over_one[paths] > 1)) for paths in (1, 3)),
            "PEB with four configurations over that with one, median: "
            + "; ".join(f"{SETS[p]} {np.median(r):.2f}" for p, r in four_over_one.items()),
        ),
    ]


def table(dataset: xr.Dataset) -> str:
    """Median PEB of every case with sign codes, in Markdown; a dash if it does not exist."""
    cases = [(clock, count) for clock in range(len(CLOCKS)) for count in CONFIGURATIONS]
    heads = [f"{CLOCKS[clock]}, {count}" for clock, count in cases]
    lines = ["| paths | " + " | ".join(heads) + " |", "|---" * (len(cases) + 1) + "|"]
    for paths, name in enumerate(SETS):
        found = [median(dataset, paths, clock, count, 1) for clock, count in cases]
        texts = [format_quantity(x, "length") if np.isfinite(x) else "–" for x in found]
        lines.append(f"| {name} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def draw(dataset: xr.Dataset) -> Figure:
    """Median PEB of every set of paths and number of configurations, for both clocks."""
    at = dataset.peb.sel(codes=1)
    quantiles = at.quantile([0.1, 0.5, 0.9], "trial", method="inverted_cdf")
    finite = quantiles.values[np.isfinite(quantiles.values)]
    bottom, top = 0.5 * finite.min(), 6 * finite.max()
    with styled():
        figure, panels = plt.subplots(1, len(CLOCKS), figsize=(11, 5.2), sharey=True)
        for clock, (panel, letter) in enumerate(zip(panels, "ab", strict=True)):
            for i, count in enumerate(CONFIGURATIONS):
                x = np.arange(len(SETS)) + 0.2 * (i - 1)
                shown = quantiles.sel(clock=clock, configurations=count).values
                seen = np.isfinite(shown[-1])
                low, middle, high = 1e3 * shown[:, seen]
                panel.errorbar(
                    x[seen],
                    middle,
                    np.stack([middle - low, high - middle]),
                    color=COLORS[i],
                    marker=MARKS[i],
                    linestyle="none",
                    capsize=3,
                )
                panel.plot(x[~seen], np.full((~seen).sum(), 700 * top), "x", color=COLORS[i])
            panel.axhspan(500 * top, 1e3 * top, color="0.92", zorder=0)
            names = [name.replace(" and ", "\nand ") for name in SETS]
            panel.set_xticks(range(len(SETS)), names, fontsize=8)
            panel.set(
                yscale="log",
                ylim=(1e3 * bottom, 1e3 * top),
                title=f"({letter}) clock {CLOCKS[clock]}",
            )
        panels[0].set_ylabel("position error bound (PEB) [mm]")
        counts = [f"{n} configuration{'s' * (n > 1)}" for n in CONFIGURATIONS]
        legend_below(
            figure,
            *entries(counts, color=COLORS, marker=MARKS, linestyle=("none",) * 3),
            (f"median of {dataset.sizes['trial']} positions, bar: 10 % to 90 %", {}),
            ("not identifiable", {"marker": "x", "linestyle": "none"}),
            columns=3,
        )
    return figure


STUDY = Study(
    name="sites/paths",
    sample=sample,
    point=point,
    axes={
        "paths": list(range(len(SETS))),
        "clock": list(range(len(CLOCKS))),
        "configurations": CONFIGURATIONS,
        "codes": list(range(len(CODES))),
    },
    static=("paths", "clock", "configurations", "codes"),
    outputs={
        "peb": Quantity("m", (), "position error bound"),
        "identifiable": Quantity("1", (), "whether position and heading are identifiable"),
    },
    trials=500,
    provenance={
        "scenario": "street-crossing",
        "paths": "; ".join(f"{i}: {name}" for i, name in enumerate(SETS)),
        "clock": "; ".join(f"{i}: {name}" for i, name in enumerate(CLOCKS)),
        "codes": "; ".join(f"{i}: {name}" for i, name in enumerate(CODES)),
        "surface": f"{SIDE} x {SIDE} elements",
        "positions": f"x from {AREA[0][0]:g} m to {AREA[0][1]:g} m, y from {AREA[1][0]:g} m to "
        f"{AREA[1][1]:g} m, random headings",
    },
    verdicts=verdicts,
    draw=draw,
    table=table,
)
