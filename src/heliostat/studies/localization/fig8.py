"""Fig. 8: the best time ratio over the surface's side and over the number of antennas."""

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
from heliostat.plots.localization import styled
from heliostat.protocol.errors import Errors
from heliostat.protocol.period import as_estimated, as_steered, next_share
from heliostat.studies import TITLES
from heliostat.studies.figures import COLOURS, LINES, curve, legend_below
from heliostat.studies.localization import setup
from heliostat.studies.study import Quantity, Study, Verdict, decided, paired_change

SIDES = [2, 4, 6, 8, 10, 12, 16, 20]
ANTENNAS = [2, 4, 6, 8, 12, 16, 32, 64]
CASES = [(side, 32) for side in SIDES] + [(8, antennas) for antennas in ANTENNAS]
"""Panel (a), then panel (b): elements a side, antennas at both ends."""
PANEL_A, PANEL_B = slice(0, len(SIDES)), slice(len(SIDES), None)
CONDITIONS = setup.ALLOCATION_CONDITIONS


def point(unit: Errors, *, case: int, condition: Int[Array, ""]) -> Mapping[str, Array]:
    """Algorithm 1 on what the receiver believes."""
    scene = setup.scene(*CASES[case])
    errors = setup.at_condition(unit, condition, CONDITIONS)
    believed = as_estimated(as_steered(scene, errors), errors)
    # The period grows as antennas squared by default; with Table I's the claim changes.
    periods = jnp.stack([scene.frame.period, setup.scene(8).frame.period])

    def share_of(period: Array) -> TimeShare:
        in_period = eqx.tree_at(lambda s: s.frame.period, believed, period)
        return next_share(in_period, jnp.asarray(setup.WEIGHT))

    share = jax.vmap(share_of)(periods)
    return {
        "ratio": share.ratio[0],
        "ratio_fixed_period": share.ratio[1],
        "residual": jnp.max(share.residual),
    }


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """What the paper says about Fig. 8, against the data."""
    perfect = dataset.ratio.sel(condition=0).isel(trial=0).values
    sides, antennas = perfect[PANEL_A], perfect[PANEL_B]
    fixed = dataset.ratio_fixed_period.sel(condition=0).isel(trial=0).values[PANEL_B]
    top = int(np.argmax(antennas))
    at_eight = float(antennas[ANTENNAS.index(8)] / antennas[top])
    rising = bool(np.all(np.diff(antennas[: top + 1]) > 0))
    falling = bool(np.all(np.diff(antennas[top:]) < 0))

    def change(condition: int) -> tuple[float, float]:
        log_ratio = np.log(dataset.ratio)
        return paired_change(log_ratio.sel(condition=condition), log_ratio.sel(condition=0))

    moving, moving_half = change(1)
    wrong, wrong_half = change(2)
    faded, faded_half = change(3)
    return [
        Verdict(
            "Fig. 8",
            "the best time ratio falls as the side of the surface grows",
            bool(np.all(np.diff(sides) < 0)),
            f"from {sides[0]:.3f} at {SIDES[0]} elements a side to {sides[-1]:.3f} at {SIDES[-1]}",
        ),
        Verdict(
            "Fig. 8",
            "with more antennas it first rises rapidly (below 8), then falls slowly",
            rising and falling and 0 < top < len(ANTENNAS) - 1 and at_eight > 0.9,
            f"with 8 antennas {at_eight:.0%} of its largest value, {antennas[top]:.3f} at "
            f"{ANTENNAS[top]}, is reached; {antennas[0]:.3f} at {ANTENNAS[0]} and "
            f"{antennas[-1]:.3f} at {ANTENNAS[-1]}. The period grows as antennas squared. With "
            f"Table I's, the ratio is held to what the antennas can use, {fixed[0]:.4f} at "
            f"{ANTENNAS[0]}, and stays within {fixed[4:].min():.4f} to {fixed[4:].max():.4f} from "
            f"{ANTENNAS[4]} on",
        ),
        Verdict(
            "Fig. 8",
            "mobility up to 7 m hardly changes it",
            decided(abs(moving) + moving_half < 0.05, abs(moving) - moving_half > 0.05),
            f"mean change {moving:+.2%} ± {moving_half:.2%}",
        ),
        Verdict(
            "Fig. 8",
            "errors of position, heading and gain reduce it",
            decided(
                wrong + wrong_half < 0 and faded + faded_half < 0,
                wrong - wrong_half > 0 or faded - faded_half > 0,
            ),
            f"mean change {wrong:+.2%} ± {wrong_half:.2%} with position and heading errors, "
            f"{faded:+.2%} ± {faded_half:.2%} with gain errors too "
            f"({dataset.sizes['trial']} trials, 95 % interval)",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Panels as in the paper."""
    with styled():
        figure, panels = plt.subplots(1, 2, figsize=(10.5, 5))
        for axes, part, x in zip(panels, (PANEL_A, PANEL_B), (SIDES, ANTENNAS), strict=True):
            for condition, colour, line in zip(
                range(len(CONDITIONS)), COLOURS, LINES, strict=False
            ):
                ratio = dataset.ratio.sel(condition=condition).isel(case=part)
                curve(axes, np.asarray(x), ratio, colour=colour, line=line)
            axes.set_ylabel(r"best time ratio $\varpi$")
            axes.set_ylim(bottom=0)
        panels[0].set_xlabel(r"elements a side $\sqrt{N}$")
        panels[1].set_xlabel("antennas of base station and user")
        fixed = dataset.ratio_fixed_period.sel(condition=0).isel(case=PANEL_B)
        curve(panels[1], np.asarray(ANTENNAS), fixed, colour=COLOURS[5])
        panels[0].set_title("(a) size of the surface")
        panels[1].set_title("(b) size of the arrays, N = 64")
        legend_below(
            figure,
            *(
                (condition.label, {"color": colour, "linestyle": line})
                for condition, colour, line in zip(CONDITIONS, COLOURS, LINES, strict=False)
            ),
            ("perfect estimates, Table I's period", {"color": COLOURS[5]}),
            columns=3,
        )
    return figure


STUDY = Study(
    name="localization/fig8",
    title=TITLES["localization"]["fig8"],
    sample=setup.unit_errors,
    point=point,
    axes={"case": range(len(CASES)), "condition": range(len(CONDITIONS))},
    static=("case",),
    outputs={
        "ratio": Quantity("1", (), "best time ratio"),
        "residual": Quantity("1", (), "stationarity left over"),
        "ratio_fixed_period": Quantity("1", (), "best time ratio with Table I's period"),
    },
    trials=20,
    provenance={
        **setup.provenance(CONDITIONS),
        "cases": "; ".join(f"{i}: {s} a side, {a} antennas" for i, (s, a) in enumerate(CASES)),
        "weight": f"{setup.WEIGHT} (m + rad) s/bit",
    },
    verdicts=verdicts,
    draw=draw,
)
