"""Figures: their data, against the results from which they were drawn."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import heliostat as hs
from heliostat.api.localization import build
from heliostat.api.localization_results import TimeAllocation, TradeOff
from heliostat.plots import localization as localization_plots
from heliostat.plots.scene import draw_scene
from heliostat.plots.style import SUFFIXES, save_figure
from tests.support.scenes import localization_scene

SCENE = localization_scene(heading=np.pi / 6)


def labels(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def trade_off():
    peb = np.array([0.5, 0.4, 0.3, 0.2])
    rate = np.array([2e6, 5e6, 4e6, 4e6])
    share, beaten = np.array([0.1, 0.2, 0.3, 0.4]), np.array([True, False, True, False])
    return TradeOff(np.arange(1, 5), share, peb, 0.1 * peb, rate, beaten)


def allocation(active_antennas, choices):
    return TimeAllocation(0.35, active_antennas, 0.0, 0.0, 0.0, 0.25, choices)


# scenes


def test_scene_shows_each_thing_where_it_is():
    figure = draw_scene(localization_plots.sketch(SCENE))
    above, space = figure.axes
    lines = {line.get_label(): line.get_xydata() for line in above.lines}
    base_station, surface, user = [0.0, 0.0], [-20.0, 20.0], [20.0, 40.0]
    np.testing.assert_allclose(lines["blocked line of sight"], [base_station, user])
    np.testing.assert_allclose(lines["signal path, 30 m and 53.9 m"], [base_station, surface, user])
    np.testing.assert_allclose(lines["surface and its normal"], [surface])
    np.testing.assert_allclose(lines["user and its array, heading 30 deg"], [user])
    normal, heading = above.collections
    assert normal.U[0] > 0
    assert normal.V[0] == 0
    assert heading.V[0] / heading.U[0] == pytest.approx(-np.tan(np.pi / 6))  # clockwise
    assert above.get_aspect() == 1
    assert space.get_zlim()[0] == pytest.approx(0.0, abs=1.0)


# trade-offs


def test_trade_off_shows_all_choices_dominated_ones_hollow():
    choices = trade_off()
    figure = localization_plots.trade_off_figure(choices, allocation(4, choices))
    plane, upper, lower = figure.axes
    for axes, across, up in (
        (plane, choices.eadr / 1e6, 100 * choices.peb),
        (upper, choices.ratio, choices.eadr / 1e6),
        (lower, choices.ratio, 100 * choices.peb),
    ):
        shown = {line.get_label(): line for line in axes.lines}
        points = np.stack([across, up], axis=1)
        beaten, kept = shown["dominated"], shown["not dominated"]
        np.testing.assert_allclose(beaten.get_xydata(), points[choices.dominated])
        np.testing.assert_allclose(kept.get_xydata(), points[~choices.dominated])
        assert beaten.get_markerfacecolor() == "white" != kept.get_markerfacecolor()
        np.testing.assert_allclose(
            shown["largest rate: 2 active antennas"].get_xydata(), points[1:2]
        )
        np.testing.assert_allclose(
            shown["best allocation: 4 active antennas"].get_xydata(), points[3:]
        )
    assert plane.get_ylabel() == "position error bound (PEB) [cm]"
    ratios = {line.get_label(): line.get_xdata()[0] for line in upper.lines}
    assert ratios["optimal share, continuous"] == 0.35
    assert ratios["share of largest rate, continuous"] == 0.25


def test_trade_off_marks_one_choice_that_is_best_in_both():
    choices = trade_off()
    figure = localization_plots.trade_off_figure(choices, allocation(2, choices))
    assert "best allocation, also of largest rate: 2 active antennas" in labels(figure)


def test_shares_that_coincide_are_one_line():
    choices = trade_off()
    both = TimeAllocation(0.3501, 4, 0.0, 0.0, 0.0, 0.35, choices)
    _, upper, lower = localization_plots.trade_off_figure(choices, both).axes
    for axes in (upper, lower):
        shares = [line.get_label() for line in axes.lines if "continuous" in line.get_label()]
        assert shares == ["optimal share, also of largest rate, continuous"]


def test_trade_off_without_bound_says_why_and_shows_the_rate():
    choices = trade_off()
    choices.peb[:] = np.inf
    plane, upper, _ = localization_plots.trade_off_figure(choices, None, "Nothing moves.").axes
    assert plane.texts[0].get_text() == "No PEB exists. Nothing moves."
    heights = np.concatenate([line.get_ydata() for line in upper.lines[:2]])
    np.testing.assert_allclose(np.sort(heights), np.sort(choices.eadr / 1e6))


# files


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_figure_gives_the_same_bytes(tmp_path, suffix):
    for name in ("one", "two"):
        figure = localization_plots.trade_off_figure(trade_off(), None)
        save_figure(figure, tmp_path / f"{name}{suffix}")
    one, two = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert one == two
    assert len(one) > 1000


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.jpg ends in none of \.png, \.pdf, \.svg"):
        save_figure(Figure(), tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["factory-hall", "street-canyon", "sub-thz-room"])
def test_shipped_scenes_can_be_drawn(tmp_path, name):
    save_figure(draw_scene(localization_plots.sketch(build(hs.load(name)))), tmp_path / "scene.png")


def test_a_scene_shows_all_users():
    axes = hs.plot.scene("factory-hall-racks")
    users = [user.position[:2] for user in hs.load("factory-hall-racks").all_users]
    drawn = {str(line.get_label()): line.get_xydata() for line in axes.get_lines()}
    np.testing.assert_array_equal(drawn["user and its array, heading 80 deg"], users[:1])
    np.testing.assert_array_equal(drawn["other users"], users[1:])
