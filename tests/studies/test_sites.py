"""Studies of sites, against public functions, literal sums and datasets with known verdicts."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import heliostat as hs
from heliostat.studies.sites import near_field, paths

DOCUMENT = Path(__file__).parents[2].joinpath("docs/theory/paths.md").read_text("utf-8")


# Several paths


@pytest.mark.parametrize(
    ("sets", "clock", "configurations", "codes"), [(0, 1, 4, 1), (1, 0, 1, 0), (3, 1, 2, 1)]
)
def test_points_are_the_public_function(sets, clock, configurations, codes):
    axes = {
        "paths": [sets],
        "clock": [clock],
        "configurations": [configurations],
        "codes": [codes],
    }
    found = replace(paths.STUDY, axes=axes).run(trials=2, seed=5).squeeze()
    scenario = paths.scenario(sets, paths.CLOCKS[clock], configurations, paths.CODES[codes])
    assert len(scenario.path_names) == 1 + sets // 2 + sets % 2
    for trial in range(2):
        pose = paths.sample(jax.random.fold_in(jax.random.key(5), trial))
        there = scenario.updated(
            {
                "user.position": np.asarray(pose.position).tolist(),
                "user.heading": f"{float(pose.heading)} rad",
            }
        )
        bounds = hs.pose_bounds(there)
        assert float(found.peb[trial]) == pytest.approx(bounds.peb, rel=1e-9)
        assert bool(found.identifiable[trial]) == bounds.identifiable


def test_all_positions_are_in_the_far_field_and_the_sweep_is_the_default():
    scenario = paths.scenario(3, "unknown", 4, "hadamard")
    for panel in scenario.panels:
        nearest = np.clip(panel.position[:2], *np.transpose(paths.AREA))
        for end in ([*nearest, 1.5], scenario.base_station.position):
            distance = np.linalg.norm(np.subtract(end, panel.position))
            assert distance > panel.fraunhofer_distance(scenario.wavelength)
    default = scenario.updated({"surfaces.0.sweep": None})
    assert default.sweep_of(default.panel) == scenario.panel.sweep


TRIALS = 4
FACTOR = {0: 1.0, 1: 0.1, 2: 0.3, 3: 0.05}
"""PEB with each set of paths over that with one surface."""


def toy(more_configurations=1.5):
    """Results in which every claim holds."""
    values = np.zeros((len(paths.STUDY.grid), TRIALS, 2))
    for i, at in enumerate(paths.STUDY.grid):
        seen = at["configurations"] >= paths.IDENTIFIABLE[at["paths"], at["clock"]]
        peb = FACTOR[at["paths"]] * more_configurations ** np.log2(at["configurations"])
        values[i, :, 0] = peb * (1 + np.arange(TRIALS)) if seen else np.inf
        values[i, :, 1] = seen
    return paths.STUDY.dataset(values, 0)


def answers(dataset):
    return [verdict.holds for verdict in paths.verdicts(dataset)]


def test_verdicts_about_paths_have_both_outcomes():
    assert answers(toy()) == [True] * 5
    seen = toy()
    seen.identifiable[{"paths": 0, "clock": 0, "configurations": 0, "trial": 1}] = 1
    assert answers(seen) == [False, True, True, True, True]
    assert "one surface, clock synchronized, 1" in paths.verdicts(seen)[0].finding
    unseen = toy()
    unseen.identifiable[{"paths": 3, "clock": 1, "configurations": 0, "codes": 0, "trial": 2}] = 0
    assert answers(unseen)[0] is False
    worse = toy()  # the second surface raises the PEB beside the direct path, at one position
    worse.peb[{"paths": 3, "clock": 0, "configurations": 2, "trial": 0}] *= 2.01
    assert answers(worse) == [True, False, False, True, True]
    without_codes = toy()
    without_codes.peb[{"paths": 3, "clock": 0, "configurations": 2, "codes": 0, "trial": 0}] *= 2.01
    assert answers(without_codes) == [True, True, False, False, True]
    assert "raised in 1 of" in paths.verdicts(without_codes)[2].finding
    assert answers(toy(more_configurations=0.9)) == [True, True, True, True, False]


def test_the_figure_of_paths_shows_medians_and_what_is_not_identifiable():
    figure = paths.draw(toy())
    explained = [text.get_text() for text in figure.legends[0].get_texts()]
    assert f"median of {TRIALS} positions, bar: 10 % to 90 %" in explained
    for clock, axes in enumerate(figure.axes):
        medians = [bar[0].get_ydata() for bar in axes.containers]
        expected = [
            paths.median(toy(), sets, clock, count, 1)
            for count in paths.CONFIGURATIONS
            for sets in range(4)
        ]
        finite = [1e3 * each for each in expected if np.isfinite(each)]
        np.testing.assert_allclose(np.concatenate(medians), finite)
        crosses = sum(
            len(line.get_xdata()) for line in axes.get_lines() if line.get_marker() == "x"
        )
        assert crosses == len(expected) - len(finite)
    assert "[mm]" in figure.axes[0].get_ylabel()


def test_the_documentation_has_the_table_of_paths():
    assert "heliostat reproduce sites" in DOCUMENT
    rows = paths.table(toy()).splitlines()
    documented = DOCUMENT[DOCUMENT.index(rows[0]) :].splitlines()[: len(rows)]
    for made, written in zip(rows, documented, strict=True):
        cells = [line.split("|") for line in (made, written)]
        assert cells[0][1] == cells[1][1]
        assert [cell == " – " for cell in cells[0]] == [cell == " – " for cell in cells[1]]


# Near field


@pytest.fixture(scope="module")
def near():
    return near_field.STUDY.run()


@pytest.mark.parametrize(("azimuth", "distance"), [(0.0, 2.0), (60.0, 5.0), (30.0, 1.0)])
def test_the_amplitude_loss_is_that_of_a_literal_sum(near, azimuth, distance):
    # Truth: the sum over all elements of exact phases against plane-wave compensation.
    wavelength = 299792458.0 / 60e9
    steps = (np.arange(64) - 31.5) * wavelength / 2
    y, z = (each.ravel() for each in np.meshgrid(steps, steps))
    angle = np.deg2rad(azimuth)
    user = distance * np.array([np.cos(angle), np.sin(angle)])
    lengths = np.sqrt(100.0**2 + y**2 + z**2) + np.sqrt(user[0] ** 2 + (user[1] - y) ** 2 + z**2)
    phase = 2 * np.pi / wavelength * (lengths + np.sin(angle) * y)
    loss = 1 - abs(np.exp(1j * phase).mean())
    found = near.amplitude_loss.sel(azimuth=azimuth, distance=distance).item()
    assert found == pytest.approx(loss, abs=1e-7)  # the base station is 0.1 m off the axis
    (approximate,) = near_field.fresnel_loss(np.array([azimuth]), np.array([distance]))
    assert approximate == pytest.approx(loss, abs=2e-3)


@pytest.mark.parametrize("clock", [0, 1])
def test_bounds_are_the_public_function(near, clock):
    room = near_field.scenario(near_field.CLOCKS[clock], "spherical")
    at = near.sel(azimuth=30.0, distance=3.0, clock=clock).isel(trial=0)
    center = np.asarray(room.build().reflection_point())
    np.testing.assert_allclose(center[1:] - near_field.PANEL[1:], [-0.0787, 0.0787], atol=1e-4)
    user = center + 3.0 * np.array([-np.cos(np.pi / 6), np.sin(np.pi / 6), 0])
    there = {"user.position": user.tolist(), "user.heading": "90 deg"}
    focused = hs.pose_bounds(room.updated(there))
    assert at.peb_focused.item() == pytest.approx(focused.peb, rel=1e-6)
    moved = {"surface.position": center.tolist(), "model.wavefront": "plane"}
    plane = hs.pose_bounds(room.updated(there | moved))
    assert at.peb_plane.item() == pytest.approx(plane.peb, rel=1e-6)
    assert at.peb_steered > at.peb_focused


def test_verdicts_about_the_near_field_have_both_outcomes(near):
    def changed(name, factor, **where):
        other = near.copy(deep=True)
        other[name].loc[where] = factor * other[name].loc[where]
        return [verdict.holds for verdict in near_field.verdicts(other)]

    assert [verdict.holds for verdict in near_field.verdicts(near)] == [True] * 5
    at_two = {"azimuth": 0.0, "distance": 2.0}
    assert changed("amplitude_loss", 1.05, **at_two) == [False, True, True, True, True]
    assert changed("peb_plane", 0.9, **at_two, clock=0)[1] is False
    assert changed("peb_plane", 1.01, azimuth=0.0, distance=5.0, clock=0)[1] is False
    assert changed("peb_steered", 1.05, azimuth=0.0, distance=5.0, clock=0)[2] is False
    unbounded = changed("peb_focused", np.inf, azimuth=60.0, distance=1.0, clock=1)
    assert unbounded == [True, True, True, False, True]
    assert changed("peb_focused", 2.0, **at_two, clock=1)[4] is False
    finite = near.copy(deep=True)
    finite["peb_plane"].loc[{"clock": 1}] = 5.0
    assert near_field.verdicts(finite)[3].holds is False


def test_the_figure_of_the_near_field_shows_the_dataset(near):
    figure = near_field.draw(near)
    first, second, third = figure.axes
    assert len(first.get_lines()) == 1 + 3
    assert len(second.get_lines()) == 1 + 2  # no bound with plane waves
    marks = [line for line in third.get_lines() if line.get_marker() not in ("None", None, "")]
    loss = 100 * near.amplitude_loss.isel(trial=0)
    np.testing.assert_allclose([line.get_ydata() for line in marks], loss)
    assert all("[" in axes.get_ylabel() and "[m]" in axes.get_xlabel() for axes in figure.axes)


def test_the_documentation_has_the_table_of_the_near_field(near):
    assert near_field.table(near).strip() in DOCUMENT
