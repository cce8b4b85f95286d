"""The picture of any study. Truth: the numbers that were put in, read off the lines."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from heliostat.batch.summary_plot import summary_figure


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def dataset(lost=()):
    power, rows, kind = [1.0, 10.0, 100.0], [4, 8], ["a"]
    values = np.arange(1.0, 25.0).reshape(3, 2, 1, 4)
    for at in lost:
        values[at] = np.inf
    dims = ("power", "rows", "kind", "trial")
    vector = np.stack([values, 3 * values], axis=-1)
    return xr.Dataset(
        {
            "peb": (dims, values, {"units": "m", "long_name": "bound"}),
            "crb": ((*dims, "surface"), vector, {"units": "rad2", "long_name": "CRB"}),
            "failed": (dims, np.isinf(values).astype(np.int8)),
            "remark": (dims, np.full(values.shape, "", dtype=object)),
        },
        {"power": ("power", power, {"units": "W"}), "rows": rows, "kind": kind},
        {"title": "A $tudy"},
    )


def solid(axes):
    return [line for line in axes.lines if line.get_linestyle() != "None"]


def test_curves_are_means_over_trials_and_the_largest_of_an_outputs_own_dimension():
    data = dataset()
    peb, crb = summary_figure(data).axes
    assert peb.get_xlabel() == "power [W]"
    assert (peb.get_ylabel(), crb.get_ylabel()) == ("bound [m]", "largest CRB [rad2]")
    assert peb.get_xscale() == "log"
    for axes, factor in ((peb, 1), (crb, 3)):
        lines = solid(axes)
        assert [line.get_label() for line in lines] == ["rows: 4", "rows: 8"]
        for i, line in enumerate(lines):
            expected = factor * data.peb.values[:, i, 0].mean(axis=-1)
            np.testing.assert_allclose(line.get_ydata(), expected)


def test_points_without_a_result_are_gaps_and_such_with_some_are_hollow_and_counted():
    figure = summary_figure(dataset([(0, 0), (1, 1, 0, 2)]))
    four, eight = solid(figure.axes[0])
    assert np.isnan(four.get_ydata()[0])
    assert np.isfinite(eight.get_ydata()).all()
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    places = np.concatenate([line.get_xdata()[np.isfinite(line.get_ydata())] for line in hollow])
    np.testing.assert_array_equal(places, [10.0])
    assert "5 of 24 trials lack results" in figure.get_suptitle()


def test_nothing_at_all_is_said():
    data = dataset([(slice(None),)])
    figure = summary_figure(data)
    assert [text.get_text() for text in figure.axes[0].texts] == ["no result"]


def test_legends_stay_on_the_page():
    data = dataset()
    data = data.assign_coords(rows=("rows", [4, 8], {"long_name": "surface.rows, surface." * 3}))
    figure = summary_figure(data)
    figure.canvas.draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
