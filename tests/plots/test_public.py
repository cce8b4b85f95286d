"""`heliostat.plot` on given axes: the data they show, against results and plain sums."""

import inspect

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

import heliostat as hs
from heliostat.plots.style import styled
from tests.support.hall import hall
from tests.support.sensing_designs import cheap_design, yard


@pytest.fixture
def axes():
    return Figure().subplots()


def labeled(axes, start):
    (line,) = (line for line in axes.lines if str(line.get_label()).startswith(start))
    return np.stack(line.get_data())


def test_a_scene_shows_all_nodes_in_the_given_axes(axes):
    scenario = yard()
    assert hs.plot.scene(scenario, ax=axes) is axes
    surfaces = np.array([surface.position for surface in scenario.surfaces])
    np.testing.assert_array_equal(labeled(axes, "surfaces"), surfaces[:, :2].T)
    target = np.array(scenario.target.position)
    np.testing.assert_array_equal(labeled(axes, "target")[:, 0], target[:2])
    space = Figure().add_subplot(projection="3d")
    assert hs.plot.scene(hall(), ax=space) is space
    (user,) = (line for line in space.lines if str(line.get_label()).startswith("user"))
    np.testing.assert_array_equal(np.ravel(user.get_data_3d()), hall().user.position)


def test_a_trade_off_shows_all_choices_and_marks_the_best(axes):
    best = hs.allocate_time(hall(), balance=0.4)
    assert hs.plot.trade_off(best, ax=axes) is axes
    choices = best.trade_off
    unit = {"m": 1, "cm": 1e2, "mm": 1e3, "µm": 1e6}[axes.get_ylabel().split("[")[1][:-1]]
    kept = np.stack([choices.eadr / 1e6, unit * choices.peb])[:, ~choices.dominated]
    np.testing.assert_allclose(labeled(axes, "not dominated"), kept, rtol=1e-12)
    at = best.active_antennas - 1
    marked = [choices.eadr[at] / 1e6, unit * choices.peb[at]]
    np.testing.assert_allclose(labeled(axes, "best allocation"), np.array([marked]).T, rtol=1e-12)
    without = hs.plot.trade_off(choices, ax=Figure().subplots())
    assert not any(str(line.get_label()).startswith("best") for line in without.lines)


def test_something_else_is_not_a_trade_off():
    with pytest.raises(TypeError, match=r"the result of heliostat\.allocate_time.*not int"):
        inspect.unwrap(hs.plot.trade_off)(3)  # without the type checks of the tests


def test_a_beampattern_is_the_literal_sum_over_the_elements(axes):
    scenario = yard(dwell__patterns=2)
    design, scene = cheap_design(scenario), scenario.build()
    assert hs.plot.beampattern(scenario, design, surface=1, ax=axes) is axes
    shown = axes.images[0].get_array()
    theta, phi = np.radians([70.0, 130.0])  # one degree a row and column
    array = scene.surfaces[1].array
    a = np.exp(
        1j
        * np.pi
        * np.array(
            [
                h * np.sin(theta) * np.cos(phi) + v * np.cos(theta)
                for v in range(array.rows)
                for h in range(array.columns)
            ]
        )
    )
    G, power = np.asarray(scene.bs_to_irs[1]), 0.0
    for psi, R in zip(design.reflection[1], design.covariance[1], strict=True):
        towards = a @ np.diag(psi) @ G
        power += (towards @ np.asarray(R) @ towards.conj()).real / 2
    assert shown[70, 130] == pytest.approx(10 * np.log10(1e3 * power), abs=1e-9)
    elevation, azimuth = np.degrees(np.asarray(scene.angles())[1])
    np.testing.assert_allclose(axes.lines[0].get_data(), [[azimuth], [elevation]])
    with pytest.raises(ValueError, match="surface is 2; scenario has surfaces 0 to 1"):
        hs.plot.beampattern(scenario, design, surface=2)


def test_without_axes_a_new_figure_is_made():
    before = plt.get_fignums()
    drawn = hs.plot.scene(hall())
    (new,) = set(plt.get_fignums()) - set(before)
    assert drawn.figure is plt.figure(new)
    plt.close(new)


def test_a_backend_may_switch_to_interactive_mode_while_a_figure_is_drawn():
    # Backends of notebooks do so when the first figure is made, and show no figure otherwise.
    before = mpl.is_interactive()
    try:
        for mode in (True, False):
            with styled():
                mpl.interactive(mode)
            assert mpl.is_interactive() is mode
    finally:
        mpl.interactive(before)
