"""Truths: bounds and rates of the public functions at single points, and verdicts that were found
by other means before this code was written."""

import numpy as np
import pytest

import heliostat as hs
from heliostat.studies import NAMES, find

TRIALS = 20
EXPECTED = {
    # figure: whether each claim holds, in order; None: undecided with this number of trials
    "fig4": [True, True, False, False, True],
    "fig5": [True, True, True, True],
    "fig6": [True, True, False],
    "fig7": [True, True],
    "fig8": [True, True, True, None],
    "fig9": [True, True, None],
}


@pytest.fixture(scope="module", params=NAMES["localization"])
def computed(request):
    study = find(f"localization/{request.param}")
    return request.param, study, study.run(trials=TRIALS)


def test_verdicts_are_those_found_before(computed):
    name, study, dataset = computed
    verdicts = study.verdicts(dataset)
    assert [v.holds for v in verdicts] == EXPECTED[name], [v.finding for v in verdicts]
    assert all(any(c.isdigit() for c in v.finding) for v in verdicts)  # measured values


def test_points_without_errors_are_the_public_functions(computed):
    name, _, dataset = computed
    if name == "fig8":
        case, ratio = dataset.sel(case=4, condition=0), hs.load("localization-table-1")
        ratio = ratio.updated({"surface.rows": 10, "surface.columns": 10})
        expected = hs.allocate_time(ratio, weight=1e-10).ratio
        np.testing.assert_allclose(case.ratio, expected, rtol=1e-9)
        assert float(dataset.residual.max()) < 1e-9
        return
    if name == "fig7":
        at = dataset.sel(phases=0).isel(trial=3)
        side = 8
    else:
        at = dataset.sel(side=16, condition=0).isel(trial=3)
        side = 16
    scenario = hs.load("localization-table-1", {"surface.rows": side, "surface.columns": side})
    if name == "fig9":
        best = hs.allocate_time(scenario, weight=1e-10)
        np.testing.assert_allclose(at.ratio, best.ratio, rtol=1e-9)
        return
    for active in (1, 7, 31):
        point = at.sel(active_antennas=active)
        if "peb" in dataset:
            bounds = hs.pose_bounds(scenario, active)
            np.testing.assert_allclose([point.peb, point.reb], [bounds.peb, bounds.reb], rtol=1e-9)
        if "eadr" in dataset:
            rate = hs.effective_rate(scenario, active)
            np.testing.assert_allclose(point.eadr, rate.eadr, rtol=1e-9)


def test_pictures_are_drawn_from_the_dataset(computed):
    name, study, dataset = computed
    figure = study.draw(dataset)
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    assert lines
    explained = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert any(f"mean of {TRIALS} trials" in text for text in explained)  # bands, or bars
    if name == "fig5":
        closed = dataset.eadr_closed_form.sel(side=4, condition=0).isel(trial=0) / 1e6
        assert any(
            np.shape(line.get_ydata()) == closed.shape and np.allclose(line.get_ydata(), closed)
            for line in lines
        )
    for axes in figure.axes:
        if axes.get_ylabel():
            assert any(unit in axes.get_ylabel() for unit in ("[", " / ", "ratio"))


def test_an_unknown_study_is_refused_with_the_names_of_all():
    with pytest.raises(KeyError, match="localization/fig4"):
        find("localization/fig99")
