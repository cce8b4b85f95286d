"""Maps and distributions, against the arrays that they show."""

import numpy as np
import pytest
from matplotlib.colors import LogNorm

import heliostat as hs
from heliostat.plots.coverage import (
    coverage,
    coverage_figure,
    distribution,
    share_of,
    shares_of_causes,
)
from heliostat.plots.style import CATEGORIES
from tests.plots.test_localization import labels
from tests.support.fake_maps import fake_map
from tests.support.hall import hall


def test_bounds_have_a_fitting_unit_and_a_logarithmic_scale():
    value = np.geomspace(2e-3, 6e-3, 20).reshape(4, 5)
    axes, _, bar = coverage_figure(fake_map("peb", value)).axes
    (image,) = axes.images
    np.testing.assert_allclose(image.get_array(), 1e3 * value, rtol=1e-12)
    assert isinstance(image.norm, LogNorm)
    assert image.norm.vmin == pytest.approx(2.0)
    assert bar.get_ylabel() == "position error bound (PEB) [mm]"
    assert image.get_extent() == [-30.0, 20.0, -5.0, 35.0]  # centers in the middle of cells


@pytest.mark.parametrize(
    ("name", "value", "shown", "label"),
    [
        ("reb", 0.3, np.degrees(0.3), "heading error bound (REB) [deg]"),
        ("rate", 2e7, 20.0, "effective rate [Mbit/s]"),
        ("snr", 100.0, 20.0, "signal-to-noise ratio (SNR) of the data [dB]"),
        ("position", 3e-3, 3.0, "position error bound [mm]"),
        ("crb", 1e-4, 1e-4, "Cramér-Rao bound (CRB) of the direction, worst surface [rad²]"),
    ],
)
def test_each_quantity_has_its_unit(name, value, shown, label):
    values = np.linspace(1, 2, 20).reshape(4, 5) * value
    axes, beside, bar = coverage_figure(fake_map(name, values)).axes
    assert axes.images[0].get_array()[0, 0] == pytest.approx(shown)
    assert bar.get_ylabel() == beside.get_xlabel() == label


@pytest.mark.parametrize(("ratio", "logarithmic"), [(2.0, False), (1e3, True)])
def test_rates_over_more_than_a_decade_have_a_logarithmic_scale(ratio, logarithmic):
    value = np.geomspace(1e6, ratio * 1e6, 20).reshape(4, 5)
    value[0, 0] = 0.0
    (image,) = coverage(fake_map("rate", value)).images
    assert isinstance(image.norm, LogNorm) == logarithmic


def test_the_scale_of_angles_ends_at_1_rad():
    value = np.linspace(0.1, 4.0, 20).reshape(4, 5)
    (image,) = coverage(fake_map("direction", value)).images
    assert image.norm.vmax == pytest.approx(np.degrees(1.0))


def test_positions_without_bound_differ_from_those_behind_the_surface():
    value, served = np.ones((4, 5)), np.ones((4, 5), dtype=bool)
    served[:, 0], value[:, 0], value[1, 2] = False, np.inf, np.inf
    figure = coverage_figure(fake_map("peb", value, served))
    finite, infinite = figure.axes[0].images
    np.testing.assert_array_equal(finite.get_array().mask, ~served | np.isinf(value))
    np.testing.assert_array_equal(~infinite.get_array().mask, served & np.isinf(value))
    assert {"no bound exists", "behind the surface"} <= set(labels(figure))
    each = fake_map("position", value, served, steering="each point")
    assert "no bound, or SNR out of reach" in labels(coverage_figure(each))


def test_a_map_without_any_bound_has_no_scale_but_its_frame():
    figure = coverage_figure(fake_map("peb", np.full((4, 5), np.inf)), below=1.0)
    axes, beside = figure.axes
    assert axes.get_xlim() == (-30.0, 20.0)
    assert "no bound exists" in labels(figure)
    assert not beside.lines[0].get_label().startswith("step")


def test_nodes_in_view_are_marked():
    figure = coverage_figure(fake_map("rate", np.ones((4, 5)), user=(20.0, 400.0, 0.0)))
    assert labels(figure) == ["base station", "surface and its normal"]
    marks = {line.get_label(): line.get_xydata()[0].tolist() for line in figure.axes[0].lines}
    assert marks == {"base station": [0.0, 0.0], "surface and its normal": [-20.0, 20.0]}
    assert figure.get_suptitle() == "a\nb"


def test_the_near_field_is_marked():
    near = np.zeros((4, 5), dtype=bool)
    value = np.linspace(1, 2, 20).reshape(4, 5)
    assert not [text for text in labels(coverage_figure(fake_map("peb", value))) if "near" in text]
    near[:2, :2] = True
    legend = labels(coverage_figure(fake_map("peb", value, near=near)))
    assert "near field of a surface: bounds may be wrong" in legend


def test_shares_below_a_threshold_are_counted():
    value, served = np.arange(20.0).reshape(4, 5), np.ones((4, 5), dtype=bool)
    value[3, 4], served[0] = np.inf, False  # 5 to 18 and inf remain
    data = fake_map("peb", value, served)
    assert share_of(data, 7.5) == 3 / 15
    assert share_of(data, 1e9) == 14 / 15
    axes = distribution(data, below=7.5)
    curve = axes.lines[0]
    np.testing.assert_allclose(curve.get_xdata(), np.arange(5.0, 19.0))
    np.testing.assert_allclose(curve.get_ydata(), np.arange(1, 15) / 15)
    assert axes.get_title() == "20 % below 7.5 m"
    (contour,) = [c for c in coverage(data, below=7.5).collections if hasattr(c, "levels")]
    assert contour.levels.tolist() == [7.5]


def test_listed_positions_are_dots_with_names():
    data = hs.coverage(
        "factory-hall", positions=[[5, 8], [8, 12], [-3, 8]], names=["dock", "gate", "outside"]
    )
    axes, beside, _ = coverage_figure(data, below=1e-3).axes
    assert {text.get_text() for text in axes.texts} >= {"dock", "gate", "outside"}
    (dots,) = [c for c in axes.collections if c.get_array() is not None]
    np.testing.assert_allclose(dots.get_offsets(), [[5, 8], [8, 12]])
    assert beside.get_ylabel() == "share of the served places below the value"


def test_a_map_of_causes_shows_each_set_of_paths_once_and_its_share():
    data = hs.coverage("street-crossing", "cause", points=400)
    names = data.cause.attrs["flag_meanings"].split("; ")
    shares = shares_of_causes(data)
    served = data.served.values
    for name, share in shares.items():  # counted by hand
        count = sum(names[value] == name for value in data.cause.values[served])
        np.testing.assert_allclose(share, count / served.sum())
    np.testing.assert_allclose(sum(shares.values()), 1)
    above, beside = coverage_figure(data).axes
    legend = [text.get_text() for text in above.figure.legends[0].get_texts()]
    assert set(shares) <= set(legend)
    assert len(legend) == len(set(legend))
    assert {"obstacle", "base station"} <= set(legend)
    bars = [bar.get_width() / 100 for bar in beside.patches]
    np.testing.assert_allclose(bars, list(shares.values()))
    assert len({_look(bar) for bar in beside.patches}) == len(shares)


def test_sets_of_paths_have_different_looks_even_if_there_are_more_of_them_than_colors():
    data = hs.coverage("factory-hall-racks", "cause", area=[0, 56, 0, 34], points=1000)
    above, beside = coverage_figure(data).axes
    shares = shares_of_causes(data)
    assert len(shares) > len(CATEGORIES) + 1
    assert len({_look(bar) for bar in beside.patches}) == len(shares)
    legend = above.figure.legends[0]
    texts = [text.get_text() for text in legend.get_texts()]
    patches = dict(zip(texts, legend.legend_handles, strict=True))
    bars = dict(zip(shares, beside.patches, strict=True))
    assert all(_look(patches[name]) == _look(bars[name]) for name in shares)


def test_users_are_marked_except_where_their_values_are_shown():
    def marks(data):
        axes = coverage(data)
        lines = {str(line.get_label()): line for line in axes.get_lines()}
        return axes, {name: line for name, line in lines.items() if name.startswith("user")}

    users = [
        {"position": [8, 6, 1], "heading": "30 deg", "antennas": 2},
        {"position": [9, -4, 2], "heading": "70 deg", "antennas": 2},
    ]
    scenario = hall(user=None, users=users)
    _, over_area = marks(hs.coverage(scenario, points=9))
    (line,) = over_area.values()
    assert line.get_label() == "users of the scenario"
    np.testing.assert_array_equal(line.get_xydata(), [[8, 6], [9, -4]])
    axes, at_users = marks(hs.coverage(scenario, at_users=True))
    assert not at_users
    (dots,) = [c for c in axes.collections if c.get_array() is not None]
    np.testing.assert_array_equal(dots.get_offsets(), [[8, 6], [9, -4]])
    _, elsewhere = marks(hs.coverage(scenario, positions=[[8, 6, 1], [5, 5, 1]]))
    (line,) = elsewhere.values()
    assert line.get_label() == "user of the scenario"
    np.testing.assert_array_equal(line.get_xydata(), [[9, -4]])


def test_the_paths_at_listed_places_have_the_names_of_the_places():
    data = hs.coverage("factory-hall-racks", "cause", at_users=True)
    axes = coverage_figure(data).axes[0]
    names = [user.name for user in hs.load("factory-hall-racks").users]
    assert [text.get_text() for text in axes.texts if text.get_text()] == names
    points = np.concatenate([dots.get_offsets() for dots in axes.collections])
    assert len(points) == len(names)


def _look(patch):
    return tuple(patch.get_facecolor()), patch.get_hatch()
