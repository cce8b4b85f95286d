"""Truths: synthetic datasets whose verdicts are known, and designs called directly."""

import equinox as eqx
import jax
import numpy as np
import pytest
import xarray as xr

from heliostat.batch.workers import local_workers
from heliostat.design.baselines import reflective_only, transmit_only
from heliostat.design.cooperative import design_jointly
from heliostat.design.cooperative_bound import cooperative_lower_bound
from heliostat.studies import BY_NAME, NAMES, default_names, find
from heliostat.studies.sensing import certificates, fig2, fig3, fig4, patterns, scaling, setup
from tests.support.sensing_scenes import sensing_scene

DRAWS = 6


def from_db(level):
    return 10 ** (np.asarray(level, dtype=float) / 10)


def scattered(level, scatter=0.5):
    """CRB with a given level for each draw; the channels of a draw shift all curves alike."""
    shift = np.linspace(-3, 3, DRAWS)
    own = scatter * np.random.default_rng(0).normal(size=DRAWS)
    return from_db(level + shift + own)


def dataset(study, level, scatter=0.0):
    """Dataset of a study whose CRB in dB is the given function of the coordinates."""
    dims = {**study.axes, **study.inner}
    grid = np.empty((*(len(v) for v in dims.values()), DRAWS))
    for index in np.ndindex(grid.shape[:-1]):
        at = {name: values[i] for (name, values), i in zip(dims.items(), index, strict=True)}
        grid[index] = scattered(level(**at), scatter)
    crb = xr.DataArray(grid, dict(dims), (*dims, "trial"))
    return xr.Dataset({"crb": crb})


def holds(study, *arguments, **keywords):
    return [v.holds for v in study.verdicts(dataset(study, *arguments, **keywords))]


def fig2_as_claimed(curve, power):
    level = {
        fig2.PROPOSED: -40,
        fig2.LOUDER: -50 - np.log2(power),
        fig2.TRANSMIT: -32,
        fig2.REFLECT: -30,
        fig2.PASSIVE: 0,
        fig2.BOUND: -42,
    }
    return level[curve] - 10 * np.log10(power)


def fig2_as_not_claimed(curve, power):
    level = {
        fig2.PROPOSED: -32,
        fig2.LOUDER: -30 + np.log2(power),
        fig2.TRANSMIT: -40,
        fig2.REFLECT: -45,
        fig2.PASSIVE: -25,
        fig2.BOUND: -50,
    }
    return level[curve] - 10 * np.log10(power)


def test_verdicts_of_fig2():
    assert holds(fig2.STUDY, fig2_as_claimed) == [True] * 5
    assert holds(fig2.STUDY, fig2_as_not_claimed) == [False] * 5


def test_a_difference_below_the_scatter_stays_undecided():
    def level(curve, power):
        return {fig2.TRANSMIT: -30.0, fig2.REFLECT: -30.01}.get(
            curve, fig2_as_claimed(curve, power)
        )

    assert holds(fig2.STUDY, level, scatter=0.0)[2] is False
    blurred = dataset(fig2.STUDY, level)
    rng = np.random.default_rng(1)
    blurred["crb"] = blurred.crb * from_db(2 * rng.normal(size=blurred.crb.shape))
    assert fig2.verdicts(blurred)[2].holds is None


def test_verdicts_of_fig3():
    def as_claimed(power, surface_power):
        return 10 * np.log10(1 / (1e3 * surface_power) + 1 / (4 * power))

    def as_not_claimed(power, surface_power):
        return 5 * np.log10(surface_power) - 5 * np.log10(power)

    assert holds(fig3.STUDY, as_claimed) == [True] * 5
    assert holds(fig3.STUDY, as_not_claimed) == [False] * 5


def test_the_knee_is_where_the_curve_is_three_db_above_its_floor():
    def level(p):
        return np.interp(np.log10(p), [-2, -1], [10, 0])  # a decade of fall, then flat

    np.testing.assert_allclose(fig3.knee(level(fig3.SURFACE_POWERS)), 10**-1.3, rtol=0.03)
    flat = np.zeros(len(fig3.SURFACE_POWERS))
    assert fig3.knee(flat) == fig3.SURFACE_POWERS[0]


def test_verdicts_of_fig4():
    order = {fig4.PROPOSED: -40, fig4.TRANSMIT: -35, fig4.REFLECT: -30, fig4.PASSIVE: 0}

    def in_decibel(curve, antennas):
        return order[curve] - 20 * np.log10(antennas)

    def to_a_floor(curve, antennas):
        return -order[curve] + 10 * np.log10(1e-4 + antennas**-6.0)

    def linear(curve, antennas):
        return 10 * np.log10(33.0 - antennas)

    assert holds(fig4.STUDY, in_decibel) == [True, True, False, True, True]
    assert holds(fig4.STUDY, to_a_floor) == [True, True, True, False, False]
    assert holds(fig4.STUDY, linear)[1] is False


def test_verdicts_of_patterns():
    clear = patterns.LINE_OF_SIGHT

    def as_claimed(patterns, rician_db):
        if rician_db == clear:
            return 120.0 if patterns == 1 else -40.0
        return -30.0 + rician_db * (patterns == 1) - patterns

    def as_not_claimed(patterns, rician_db):
        return -10.0 + patterns - 0.1 * rician_db * (patterns == 1)

    assert holds(patterns.STUDY, as_claimed) == [True] * 3
    assert holds(patterns.STUDY, as_not_claimed) == [False] * 3


def test_verdicts_of_scaling():
    found = dataset(
        scaling.STUDY, lambda algorithm, side, iteration: -20 - side - 2 * (algorithm == "direct")
    )
    found = found.rename(crb="history").assign(crb=lambda d: d.history.isel(iteration=-1))
    slow = xr.DataArray([1.0, 40.0], {"algorithm": list(scaling.LABELS)}, "algorithm")
    size = xr.DataArray([1.0, 2.0, 3.0, 4.0], {"side": scaling.SIDES}, "side")
    found["time"] = slow ** (1 + size / 10) * xr.ones_like(found.crb)
    assert [v.holds for v in scaling.verdicts(found)] == [True, True, True]
    turned = found.assign_coords(algorithm=list(scaling.LABELS)[::-1])
    turned["history"] = turned.history * (1 + turned.iteration)
    assert [v.holds for v in scaling.verdicts(turned)] == [False, False, False]


def certified(gap, seconds=1.0):
    """Dataset of the study of certificates with gaps as a function of the case."""
    cases = certificates.CASES
    gaps = np.array([[gap(case)] * 2 for case in cases.values()])
    found = xr.Dataset({"gap": (("case", "trial"), gaps)}, {"case": list(cases), "trial": range(2)})
    for name in ("design_time", "bound_time"):
        found[name] = seconds + 0 * found.gap
    return found


def test_verdicts_of_certificates():
    limit = {certificates.TRANSMIT: 0.04, certificates.SURFACE: 0.04, certificates.KNEE: 0.19}
    good = certified(lambda case: 0.34 if case.patterns == 2 else limit[case.regime])
    assert [v.holds for v in certificates.verdicts(good)] == [True] * 7
    assert [v.holds for v in certificates.verdicts(certified(lambda _: 0.36, 130.0))] == [
        True, *[False] * 6
    ]  # fmt: skip
    # Gaps are not clamped: a bound above the CRB is seen.
    assert certificates.verdicts(certified(lambda _: -1e-6))[0].holds is False
    assert "| 256 | knee | 1 | 5 dB | 0.190 (0.190) | 1.0 s | 1.0 s |" in certificates.table(good)
    certificates.draw(good)


def test_a_certificate_is_the_gap_of_the_joint_design(small, monkeypatch):
    monkeypatch.setattr(setup, "draw", lambda *_, **__: small)
    case = certificates.Case(2, certificates.TRANSMIT)
    found = certificates.point(jax.random.key(3), case=case.name)
    scene = setup.at_levels(small.scene, surface_power=np.inf)
    np.testing.assert_allclose(found["bound"], cooperative_lower_bound(scene), rtol=1e-12)
    assert 0 <= found["gap"] < 0.06
    np.testing.assert_allclose(found["gap"], 1 - found["bound"] / found["crb"], rtol=1e-9)


def test_every_study_has_its_name_and_only_the_papers_figures_run_by_default():
    for name in NAMES["sensing"]:
        assert find(f"sensing/{name}").name == f"sensing/{name}"
    assert default_names("sensing") == ["fig2", "fig3", "fig4"]
    assert set(BY_NAME["sensing"]) == {"patterns", "scaling", "certificates"}


def test_the_scenario_is_the_papers():
    # Truth: the set-up of the tests, written without scenario files.
    scene, truth = setup.at_levels(setup.scenario().build()), sensing_scene()
    found, expected = (
        [s.base_station.power, s.noise, s.symbols, s.target.position, abs(s.target_gain)]
        + [leaf for surface in s.surfaces for leaf in jax.tree.leaves(surface)]
        for s in (scene, truth)
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.fixture(scope="module")
def small():
    """A draw with 4 antennas and 2 by 2 elements, which compiles fast."""
    return setup.draw(jax.random.key(3), antennas=4, side=2)


def test_curves_are_the_designs_called_directly(small, monkeypatch):
    monkeypatch.setattr(fig2, "POWERS", np.array([20.0]))
    scene, seed = small
    expected = {
        fig2.PROPOSED: design_jointly(scene, min_snr=0.0, starts=setup.STARTS, seed=seed),
        fig2.TRANSMIT: transmit_only(scene, seed=seed),
    }
    for curve, design in expected.items():
        found = fig2.point(small, curve=curve)["crb"]
        np.testing.assert_allclose(found, float(design.worst_crb), rtol=1e-6)
    bound = fig2.point(small, curve=fig2.BOUND)["crb"]
    np.testing.assert_allclose(bound, cooperative_lower_bound(scene), rtol=1e-9)
    assert bound <= float(expected[fig2.PROPOSED].worst_crb)


@pytest.fixture(scope="module")
def arrays():
    """Scenes with the same channels for 6 antennas, and for the first 4 of them."""
    wide = sensing_scene(antennas=6, rows=(2, 2), columns=(2, 2))
    fewer = sensing_scene(antennas=4, rows=(2, 2), columns=(2, 2))
    channels = tuple(g[:, :4] for g in wide.bs_to_irs)
    return wide, eqx.tree_at(lambda s: s.bs_to_irs, fewer, channels)


def test_blind_antennas_are_as_good_as_none(arrays):
    wide, fewer = arrays
    bound = cooperative_lower_bound(fig4.with_antennas(wide, 4))
    # The iteration stops at a tolerance of its own, and rounding differs.
    np.testing.assert_allclose(bound, cooperative_lower_bound(fewer), rtol=1e-3)


@pytest.mark.slow
def test_best_designs_leave_blind_antennas_out(arrays):
    wide, fewer = arrays
    blind = fig4.with_antennas(wide, 4)
    for curve in (setup.TRANSMIT, setup.PASSIVE, setup.PROPOSED):
        design = setup.DESIGNS[curve]
        np.testing.assert_allclose(design(blind, 1), design(fewer, 1), rtol=1e-3)


@pytest.mark.slow
def test_isotropic_transmission_leaves_blind_antennas_out(arrays):
    wide, fewer = arrays
    blind = fig4.with_antennas(wide, 4)
    reflect = float(reflective_only(fewer, seed=1).worst_crb)
    np.testing.assert_allclose(fig4.reflective_only(blind, 4, 1), reflect, rtol=1e-6)
    np.testing.assert_allclose(setup.only_reflect(fewer, 1), reflect, rtol=1e-12)


EXPECTED = {
    # figure: whether each claim holds, in order; None: undecided with this number of draws
    "fig2": [True, True, None, True, False],
    "fig3": [True, True, True, True, True],
    "fig4": [True, True, False, True, None],
    "patterns": [True, True, True],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_verdicts_are_those_found_before(name):
    study = find(f"sensing/{name}")
    with local_workers() as engine:
        dataset = study.run(engine=engine)
    verdicts = study.verdicts(dataset)
    assert [v.holds for v in verdicts] == EXPECTED[name], [v.finding for v in verdicts]
    assert all(any(c.isdigit() for c in v.finding) for v in verdicts)  # measured values
    study.draw(dataset)
