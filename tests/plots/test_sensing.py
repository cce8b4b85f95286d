"""Figures of sensing: their data, against the results from which they were drawn."""

import numpy as np
import pytest

import heliostat as hs
from heliostat.api.sensing import DirectionBounds
from heliostat.plots import sensing as sensing_plots
from heliostat.plots.scene import draw_scene
from heliostat.plots.style import save_figure
from tests.support.sensing_scenes import sensing_scene

SCENE = sensing_scene()


def bounds(elevation=(1e-3, 2e-3)):
    std = np.array([elevation, (3e-3, 1e-3)]).T
    lost = tuple(("elevation",) if np.isinf(e) else () for e in elevation)
    return DirectionBounds((std**2).sum(axis=1), std, np.ones(2), lost, 0.1, np.zeros((0, 3)))


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def test_a_scene_shows_every_surface_and_its_path():
    above, space = draw_scene(sensing_plots.sketch(SCENE)).axes
    shown = lines(above)
    np.testing.assert_allclose(shown["target"].get_xydata(), [[5, 15]])
    np.testing.assert_allclose(
        shown["surfaces and their normals"].get_xydata(), [[-5, 10], [-5, 20]]
    )
    np.testing.assert_allclose(shown["signal path"].get_xydata(), [[0, 0], [-5, 10], [5, 15]])
    paths = [line.get_xydata().tolist() for line in above.lines]
    assert [[0, 0], [-5, 20], [5, 15]] in paths
    assert space.get_zlim()[0] <= 0


def test_beampatterns_are_in_dbm_with_the_target_marked():
    elevation, azimuth = np.linspace(0, np.pi, 3), np.linspace(0, np.pi, 5)
    power = np.geomspace(1e-6, 1.0, 30).reshape(2, 3, 5)
    target = np.array([[np.pi / 2, np.pi / 4], [1.0, 2.0]])
    figure = sensing_plots.beampattern_figure(power, elevation, azimuth, target, of=12)
    one, two, bar = figure.axes
    np.testing.assert_allclose(two.images[0].get_array(), 10 * np.log10(1e3 * power[1]))
    assert two.images[0].get_clim() == one.images[0].get_clim() == (-10.0, 30.0)
    np.testing.assert_allclose(one.lines[0].get_xydata(), [[45, 90]])
    assert one.images[0].get_extent() == [-22.5, 202.5, 225.0, -45.0]
    assert bar.get_ylabel().endswith("(EIRP) [dBm]")
    assert "first 2 of 12" in figure._supxlabel.get_text()


def test_bounds_by_surface_are_in_degrees_beside_the_lower_bound():
    (axes,) = sensing_plots.bounds_figure(bounds(), 1e-6).axes
    shown = lines(axes)
    root = shown["root of the Cramér-Rao bound (CRB)"]
    np.testing.assert_allclose(shown["elevation"].get_ydata(), np.degrees([1e-3, 2e-3]))
    np.testing.assert_allclose(shown["azimuth"].get_ydata(), np.degrees([3e-3, 1e-3]))
    np.testing.assert_allclose(root.get_ydata(), np.degrees(np.sqrt([10e-6, 5e-6])))
    below = shown["lower bound on the largest root CRB of any design"]
    np.testing.assert_allclose(below.get_ydata(), np.degrees(1e-3))
    assert axes.get_ylim()[0] == 0


def test_a_lost_angle_is_written_where_its_mark_would_be():
    (axes,) = sensing_plots.bounds_figure(bounds((np.inf, 1e-5)), np.inf).axes
    assert axes.get_yscale() == "log"
    assert np.isnan(lines(axes)["elevation"].get_ydata()[0])
    (text,) = axes.texts
    assert text.get_text() == "no bound:\nelevation"
    assert text.xy[0] == 0
    blind = DirectionBounds(
        np.full(1, np.inf), np.full((1, 2), np.inf), np.zeros(1), (("elevation", "azimuth"),),
        np.inf, np.eye(3),
    )  # fmt: skip
    (axes,) = sensing_plots.bounds_figure(blind, np.inf).axes
    assert "elevation, azimuth" in axes.texts[0].get_text()


def test_convergence_is_in_db_above_the_lower_bound():
    (axes,) = sensing_plots.convergence_figure(np.array([np.inf, 1e-4, 1e-5]), 1e-6).axes
    shown = lines(axes)
    np.testing.assert_allclose(shown["best design so far"].get_ydata(), [np.nan, -40, -50])
    np.testing.assert_allclose(shown["lower bound on any design"].get_ydata(), -60)
    (axes,) = sensing_plots.convergence_figure(np.array([np.inf]), np.inf).axes
    assert axes.texts[0].get_text() == "No CRB exists."


@pytest.mark.parametrize(
    "name", ["drone-corridor", "indoor-three-surfaces", "sensing-two-surfaces"]
)
def test_shipped_scenes_can_be_drawn(tmp_path, name):
    save_figure(draw_scene(sensing_plots.sketch(hs.load(name).build())), tmp_path / "scene.png")
