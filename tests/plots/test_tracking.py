"""Figures of a tracked user: the data they show, against their input."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from heliostat.plots.style import save_figure
from heliostat.plots.tracking import enlargement, path_figure, periods_figure

BASE_STATION = (15.0, 6.0)


def track_of(count=6, *, spread=1e-4, lost=(), step=5.0, error=1.0):
    """A straight walk whose errors are ``error`` standard deviations along x."""
    covariance = np.tile(spread**2 * np.diag([4.0, 1.0]), (count, 1, 1))
    x, y = 10 + step * np.arange(count), np.full(count, 3.0)
    found = np.isin(np.arange(count), lost, invert=True)
    rate = np.where(found, 1e8 + 1e6 * np.arange(count), 0.0)
    columns = {
        "x": x,
        "y": y,
        "x_estimate": x + error * 2 * spread,
        "y_estimate": y,
        "position_error": np.full(count, error * 2 * spread),
        "heading_error": np.full(count, -0.02),
        "peb": np.full(count, np.sqrt(5.0) * spread),
        "reb": np.full(count, 0.01),
        "eadr": rate,
        "active_antennas": np.full(count, 3),
        "found": found,
        "serving": np.where(found, 0, -1),
    }
    variables = {name: ("period", values) for name, values in columns.items()}
    variables["bound_covariance"] = (("period", "axis", "axis_too"), covariance)
    variables["visible"] = (("period", "path"), np.ones((count, 1), dtype=bool))
    return xr.Dataset(variables, {"period": np.arange(count), "path": ["surface"]})


def labels(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def drawn(axes, start):
    """Points of the line whose label starts so."""
    (line,) = (line for line in axes.lines if str(line.get_label()).startswith(start))
    return np.stack([np.asarray(line.get_xdata()), np.asarray(line.get_ydata())], axis=1)


@pytest.mark.parametrize(
    ("ellipse", "extent", "factor"),
    [(1e-4, 10.0, 5000), (0.01, 10.0, 50), (0.29, 10.0, 2), (0.6, 10.0, 1), (0, 1, 1), (1, 0, 1)],
)
def test_errors_are_enlarged_by_a_round_factor_and_never_shrunk(ellipse, extent, factor):
    assert enlargement(ellipse, extent) == factor


def test_path_shows_errors_and_ellipses_enlarged_alike():
    track = track_of()
    figure = path_figure(track, BASE_STATION, {"surface": (12.0, 8.0)}, "one; two")
    (axes,) = figure.axes
    walk = np.stack([track.x.values, track.y.values], axis=1)
    np.testing.assert_allclose(drawn(axes, "path"), walk)
    ellipses = [patch for patch in axes.patches if isinstance(patch, Ellipse)]
    assert len(ellipses) == 6
    # 95 % of Gaussian errors in a plane are within sqrt(5.991) deviations.
    factor = enlargement(2e-4 * np.sqrt(5.991), 25.0)
    assert factor == 2000
    for ellipse, place in zip(ellipses, walk, strict=True):
        np.testing.assert_allclose(ellipse.get_center(), place)
        size = 2 * factor * np.sqrt(5.991) * np.array([2e-4, 1e-4])
        np.testing.assert_allclose([ellipse.width, ellipse.height], size, rtol=1e-3)
        assert ellipse.angle % 180 == pytest.approx(0, abs=1e-9)
    off = drawn(axes, "estimate") - walk
    np.testing.assert_allclose(off, np.tile([factor * 2e-4, 0], (6, 1)), rtol=1e-6)
    texts = labels(figure)
    assert "estimate, error enlarged 2,000 times" in texts
    assert "bound, 95 % ellipse, enlarged 2,000 times" in texts
    assert "surface" in texts
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x [m]", "y [m]")
    np.testing.assert_array_equal(drawn(axes, "base station"), [BASE_STATION])


@pytest.mark.parametrize("step", [5.0, 0.01])
def test_an_arrow_points_to_a_node_far_from_the_path(step):
    figure = path_figure(track_of(step=step), (10.0, -4997.0), {"surface": (500.0, 8.0)}, "far")
    (axes,) = figure.axes
    assert not {"base station", "surface"} & set(labels(figure))
    below, right = (text for text in axes.texts if text.get_text())
    assert below.get_text().startswith("base station, 5 km")
    assert below.xy[1] < 0.1
    assert right.get_text().startswith("surface, 4")
    assert right.xy[0] > 0.9


def test_lost_periods_are_marked_and_their_estimates_not_shown():
    track = track_of(lost=(1, 2, 4))
    axes = path_figure(track, BASE_STATION, {"surface": (12.0, 8.0)}, "t").axes[0]
    np.testing.assert_allclose(drawn(axes, "lost")[:, 0], track.x.values[[1, 2, 4]])
    assert len(drawn(axes, "estimate")) == 3
    figure = periods_figure(track, "t")
    position, heading, rate, _ = figure.axes
    assert "lost: no data" in labels(figure)
    for axes in figure.axes:
        spans = [(p.get_x(), p.get_x() + p.get_width()) for p in axes.patches if p.get_alpha()]
        assert spans == [(1.5, 3.5), (4.5, 5.5)]
    np.testing.assert_array_equal(drawn(position, "error of")[:, 0], [1, 4, 6])
    np.testing.assert_array_equal(drawn(heading, "error of")[:, 0], [1, 4, 6])
    assert rate.get_ylim()[0] == 0


def test_periods_show_errors_and_bounds_in_fitting_units():
    track = track_of()
    position, heading, rate, antennas = periods_figure(track, "t").axes
    assert position.get_ylabel() == "position error [µm]"
    np.testing.assert_allclose(drawn(position, "bound")[:, 1], 1e6 * track.peb)
    np.testing.assert_allclose(drawn(position, "error of")[:, 1], 200.0)
    assert position.get_yscale() == "log"
    assert heading.get_ylabel() == "heading error [deg]"
    np.testing.assert_allclose(drawn(heading, "bound")[:, 1], np.degrees(0.01))
    np.testing.assert_allclose(drawn(heading, "error of")[:, 1], np.degrees(0.02))
    assert rate.get_ylabel() == "rate [Mbit/s]"
    np.testing.assert_allclose(drawn(rate, "_dots")[:, 1], 1e-6 * track.eadr)
    np.testing.assert_array_equal(antennas.lines[0].get_ydata(), 3)


@pytest.mark.parametrize(
    "track",
    [
        track_of(1),
        track_of(lost=range(6)),
        track_of(step=0.0),
        track_of(step=1e-3, error=0.0),
        track_of(error=1e6),
        track_of().assign(
            peb=("period", np.full(6, np.inf)),
            reb=("period", np.full(6, np.inf)),
            bound_covariance=(
                ("period", "axis", "axis_too"),
                np.tile(np.diag([np.inf, np.inf]), (6, 1, 1)),
            ),
        ),
    ],
    ids=["one", "all lost", "still", "exact", "wild", "no bound"],
)
def test_odd_tracks_are_drawn_too(tmp_path, track):
    for name, figure in (
        ("path", path_figure(track, BASE_STATION, {"surface": (12.0, 8.0)}, "t")),
        ("periods", periods_figure(track, "t")),
    ):
        assert isinstance(figure, Figure)
        save_figure(figure, tmp_path / f"{name}.png")
    assert mpl.rcParams["figure.constrained_layout.use"] is False
