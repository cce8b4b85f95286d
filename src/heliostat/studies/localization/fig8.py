"""Fig. 8: best time ratio against the side of the surface and the number of antennas."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, Int
from matplotlib.figure import Figure

from heliostat.design.time_allocation import TimeShare
from heliostat.plots.style import styled
from heliostat.protocol.errors import Errors
from heliostat.protocol.period import as_estimated, as_steered, next_share
from heliostat.studies.claims import judge
from heliostat.studies.figures import COLORS, LINES, curve, entries, interval_entry, legend_below
from heliostat.studies.localization import setup
from heliostat.studies.statistics import Estimate, paired_change
from heliostat.studies.study import Quantity, Study, Verdict

SIDES = [2, 4, 6, 8, 10, 12, 16, 20]
ANTENNAS = [2, 4, 6, 8, 12, 16, 32, 64]
CASES = [(side, 32) for side in SIDES] + [(8, antennas) for antennas in ANTENNAS]
"""Elements along each side, and antennas at both ends: panel (a), then panel (b)."""
PANEL_A, PANEL_B = slice(0, len(SIDES)), slice(len(SIDES), None)
CONDITIONS = setup.ALLOCATION_CONDITIONS
LOOKS = entries((c.label for c in CONDITIONS), color=COLORS, linestyle=LINES)
LOOKS[0][1].update(setup.WIDE)


def point(unit: Errors, *, case: int, condition: Int[Array, ""]) -> Mapping[str, Array]:
    """Best time ratio computed by Algorithm 1 from the receiver's estimates."""
    scene = setup.scene(*CASES[case])
    errors = setup.at_condition(unit, condition, CONDITIONS)
    estimated = as_estimated(as_steered(scene, errors), errors)
    # The period grows with the square of the antennas; with that of Table I the claim changes.
    periods = jnp.stack([scene.frame.period, setup.scene(8).frame.period])

    def share_of(period: Array) -> TimeShare:
        in_period = eqx.tree_at(lambda s: s.frame.period, estimated, period)
        return next_share(in_period, jnp.asarray(setup.WEIGHT))

    share = jax.vmap(share_of)(periods)
    return {
        "ratio": share.ratio[0],
        "ratio_fixed_period": share.ratio[1],
        "residual": jnp.max(share.residual),
    }


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on the paper's claims about Fig. 8."""
    perfect = dataset.ratio.sel(condition=0).isel(trial=0).values
    sides, antennas = perfect[PANEL_A], perfect[PANEL_B]
    fixed = dataset.ratio_fixed_period.sel(condition=0).isel(trial=0).values[PANEL_B]
    top = int(np.argmax(antennas))
    at_eight = float(antennas[ANTENNAS.index(8)] / antennas[top])
    rising = bool(np.all(np.diff(antennas[: top + 1]) > 0))
    falling = bool(np.all(np.diff(antennas[top:]) < 0))

    def change(condition: int) -> Estimate:
        log_ratio = np.log(dataset.ratio)
        difference = paired_change(log_ratio.sel(condition=condition), log_ratio.sel(condition=0))
        return difference.scaled(100)

    return [
        Verdict(
            "Fig. 8",
            "the best time ratio falls as the side of the surface grows",
            bool(np.all(np.diff(sides) < 0)),
            f"from {sides[0]:.3f} at {SIDES[0]} elements along a side to {sides[-1]:.3f} at "
            f"{SIDES[-1]}",
        ),
        Verdict(
            "Fig. 8",
            "with more antennas the best ratio first rises fast (to over 90 % of its maximum at 8 "
            "antennas), then falls slowly (here: falls at every step)",
            rising and falling and 0 < top < len(ANTENNAS) - 1 and at_eight > 0.9,
            f"{antennas[0]:.3f} at {ANTENNAS[0]} antennas; {100 * at_eight:.0f} % of the maximum "
            f"at 8; maximum {antennas[top]:.3f} at {ANTENNAS[top]}; {antennas[-1]:.3f} at "
            f"{ANTENNAS[-1]}, with a period that grows with the square of the antennas. With the "
            f"period of Table I the largest possible ratio limits it to {fixed[0]:.4f} at "
            f"{ANTENNAS[0]} antennas, and it is between {fixed[4:].min():.4f} and "
            f"{fixed[4:].max():.4f} from {ANTENNAS[4]} upwards",
        ),
        judge(
            "Fig. 8",
            "mobility up to 7 m hardly changes the best ratio (by less than 5 %)",
            {"mobility 7 m": change(1)},
            within=5.0,
            quantity="mean relative change",
            digits=2,
            unit=" %",
        ),
        judge(
            "Fig. 8",
            "errors of position, heading and gain reduce the best ratio",
            {"position and heading errors": change(2), "gain errors as well": change(3)},
            high=0.0,
            quantity="mean relative change",
            digits=2,
            unit=" %",
            note=f"; trials: {dataset.sizes['trial']}",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Best time ratio against the side of the surface (left) and the antennas (right)."""
    with styled():
        figure, panels = plt.subplots(1, 2, figsize=(10.5, 5.2))
        for axes, part, x in zip(panels, (PANEL_A, PANEL_B), (SIDES, ANTENNAS), strict=True):
            for condition, (_, look) in enumerate(LOOKS):
                ratio = dataset.ratio.sel(condition=condition).isel(case=part)
                curve(axes, np.asarray(x), ratio, **look)
            axes.set(ylabel=r"best time ratio $\varpi$", ylim=(0, None))
        panels[0].set(xlabel=r"elements along each side $\sqrt{N}$", xticks=SIDES)
        panels[1].set_xlabel("antennas of base station and user")
        fixed = dataset.ratio_fixed_period.sel(condition=0).isel(case=PANEL_B)
        curve(panels[1], np.asarray(ANTENNAS), fixed, color=COLORS[5])
        panels[0].set_title("(a) size of the surface, 32 antennas")
        panels[1].set_title("(b) size of the arrays, N = 64")
        legend_below(
            figure,
            *LOOKS,
            ("(b) perfect estimates, period of Table I", {"color": COLORS[5]}),
            interval_entry(dataset),
            columns=3,
        )
    return figure


STUDY = Study(
    name="localization/fig8",
    sample=setup.unit_errors,
    point=point,
    axes={"case": range(len(CASES)), "condition": range(len(CONDITIONS))},
    static=("case",),
    outputs={
        "ratio": Quantity("1", (), "best time ratio"),
        "residual": Quantity("1", (), "residual of the stationarity condition"),
        "ratio_fixed_period": Quantity("1", (), "best time ratio with the period of Table I"),
    },
    trials=20,
    provenance={
        **setup.provenance(CONDITIONS),
        "cases": "; ".join(
            f"{i}: {s} elements along a side, {a} antennas" for i, (s, a) in enumerate(CASES)
        ),
        "weight": f"{setup.WEIGHT} (m + rad) s/bit",
    },
    verdicts=verdicts,
    draw=draw,
)
