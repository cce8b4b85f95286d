"""Figures of a search: the data they show, against their input."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.patches import Ellipse

from heliostat.plots.style import save_figure
from heliostat.plots.target_search import dwells_figure, search_figure

TARGET = np.array([5.0, 15.0, 1.0])
STATION, SURFACES = np.zeros(3), np.array([[-5.0, 10.0, 0.0], [-5.0, 20.0, 0.0]])


def search_of(kinds=("scan", "focused", "focused"), found=(True, True, True), std=(0.5, 0.1, 0.07)):
    std, found, count = np.array(std), np.array(found), len(kinds)
    place = TARGET + np.outer(np.where(np.isfinite(std), std, 3.0), [0.5, -0.5, 0.1])
    covariance = np.stack([np.diag(s**2 * np.array([0.6, 0.3, 0.1])) for s in std])
    known = 0.1 / np.sqrt(np.arange(1, count + 1))
    bound = known * np.array([5.0, 1.5, 1.2, 1.1])[:count]
    columns = {
        "kind": np.array(kinds),
        "x_estimate": place[:, 0],
        "y_estimate": place[:, 1],
        "position_error": np.where(np.isfinite(std), 0.7 * std, np.inf),
        "position_std": std,
        "bound": bound,
        "known_target_bound": known,
        "excess_db": 20 * np.log10(bound / known),
        "found": found,
    }
    variables = {name: ("dwell", values) for name, values in columns.items()}
    variables["covariance"] = (("dwell", "axis", "axis_too"), covariance)
    box = {"region_low": np.array([0.0, 8, -2]), "region_high": np.array([14.0, 22, 4])}
    attrs = {"target": TARGET, "accuracy": 0.1, **box}
    return xr.Dataset(variables, {"dwell": np.arange(1, count + 1)}, attrs)


def labels(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_ellipses_are_the_estimated_95_percent_regions():
    data = search_of()
    figure = search_figure(data, STATION, SURFACES, "yard")
    _, near = figure.axes
    drawn = [patch for patch in near.patches if isinstance(patch, Ellipse)]
    assert len(drawn) == 3
    assert near.get_xlabel() == "x from the target [m]"
    for ellipse, std, x in zip(drawn, data.position_std, data.x_estimate, strict=True):
        # 95 % of a Gaussian: 2.448 standard deviations to each side.
        np.testing.assert_allclose(ellipse.width, 2 * 2.4477 * std * np.sqrt(0.6), rtol=1e-4)
        np.testing.assert_allclose(ellipse.height, 2 * 2.4477 * std * np.sqrt(0.3), rtol=1e-4)
        np.testing.assert_allclose(ellipse.center[0], x - TARGET[0], rtol=1e-9)
    assert "estimated 95 % ellipse" in labels(figure)


def test_rejected_estimates_are_marked(tmp_path):
    data = search_of(("scan", "focused", "scan"), (False, False, False), (np.inf, 0.4, np.inf))
    near = search_figure(data, STATION, SURFACES, "yard").axes[1]
    assert not near.patches
    assert [text.get_text() for text in near.texts] == ["no estimate was accepted"]
    figure = dwells_figure(data, "yard")
    assert "error of a rejected estimate" in labels(figure)
    assert "error" not in labels(figure)
    save_figure(figure, tmp_path / "dwells.png")


@pytest.mark.parametrize("accuracy", [0.0, 0.1])
def test_curves_are_the_data(accuracy):
    data = search_of().assign_attrs(accuracy=accuracy)
    upper, lower = dwells_figure(data, "yard").axes
    drawn = {line.get_label(): np.asarray(line.get_ydata()) for line in upper.lines}
    scale = {"position error, RMS [cm]": 100.0, "position error, RMS [m]": 1.0}
    factor = scale[upper.get_ylabel()]
    np.testing.assert_allclose(drawn["bound of all dwells"], factor * data.bound)
    np.testing.assert_allclose(drawn["error"], factor * data.position_error)
    assert ("requested accuracy" in drawn) == (accuracy > 0)
    heights = sorted(bar.get_height() for bar in lower.patches)
    np.testing.assert_allclose(heights, sorted(data.excess_db.values))
    assert mpl.rcParams["font.size"] == 10.0  # nothing of the style is left behind
