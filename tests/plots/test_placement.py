"""Figure of a placement: all parts are drawn and lie within the picture."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import heliostat as hs
from heliostat.plots.placement import placement_figure
from heliostat.plots.style import styled
from tests.support.corner import AREA, corner

PLACES = {
    "area": {"area": AREA, "points": 30},
    "users": {"positions": [[3, -5], [2, -11]], "names": ["kiosk", "bench"]},
}


@pytest.mark.parametrize("kind", PLACES)
def test_positions_candidates_and_surfaces_are_drawn(kind):
    found = hs.place(corner(), "peb below 5 cm", 2, spacing=4, turns=[0.0], **PLACES[kind])
    with styled():
        figure = placement_figure(found)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        ax, beside = figure.axes[:2]
        (legend,) = figure.legends
        box = legend.get_window_extent(canvas.get_renderer())
    assert box.x0 >= -1
    assert box.y0 >= -1
    assert box.x1 <= figure.bbox.x1 + 1
    labels = [text.get_text() for text in legend.get_texts()]
    assert {"goal not met", "goal met with the surfaces", "obstacle", "candidate"} <= set(labels)
    assert "goal met without them" not in labels
    drawn = {text.get_text() for text in ax.texts}
    assert {each.name for each in found.surfaces} <= drawn
    assert set(found.names) <= drawn
    if kind == "area":
        shown = sum(int(np.isfinite(np.asarray(i.get_array(), float)).sum()) for i in ax.images)
        assert shown == len(found.positions)
    curve, *_ = beside.lines
    np.testing.assert_allclose(curve.get_ydata(), 100 * found.share_by_number[0])
