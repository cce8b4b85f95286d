"""Exported designs: the stored beams and coefficients give the same covariances and bounds."""

import numpy as np
import pytest
import scipy.io

import heliostat as hs
from heliostat.reports.export import NAMES, PHASE_NAMES, beams_of
from heliostat.scenario import parse
from tests.support.hall import hall
from tests.support.sensing_designs import cheap_design, yard


def far_hall(**overrides):
    """Base station and user in the far field of the surface."""
    far = {"base_station__position": [300, -150, 8], "user__position": [800, 600, 1]}
    return hall(**far, **overrides)


@pytest.fixture(scope="module", params=[1, 2])
def saved(request, tmp_path_factory):
    folder, scenario = tmp_path_factory.mktemp("design"), yard(dwell__patterns=request.param)
    design = cheap_design(scenario)
    for suffix in ("npz", "mat"):
        hs.export(design, folder / f"design.{suffix}", scenario)
    return scenario, design, folder


def test_both_files_hold_what_the_list_of_names_says(saved):
    _, _, folder = saved
    numpy, matlab = np.load(folder / "design.npz"), scipy.io.loadmat(folder / "design.mat")
    assert set(numpy.files) == set(NAMES) == {name for name in matlab if name[0] != "_"}
    for name in set(NAMES) - {"scenario_text", "names"}:
        np.testing.assert_array_equal(np.squeeze(matlab[name]), np.squeeze(numpy[name]))
    assert all(f"{name}: " in str(numpy["names"]) for name in NAMES)
    assert matlab["names"][0] == str(numpy["names"])


def test_beams_sum_up_to_the_covariances(saved):
    scenario, design, folder = saved
    read = np.load(folder / "design.npz")
    beams, patterns = read["beams"], scenario.dwell.patterns
    assert beams.shape == (2, patterns, 4, 2)  # of rank 2
    summed = sum(np.einsum("spa,spb->spab", w, w.conj()) for w in np.moveaxis(beams, -1, 0))
    whole = np.asarray(design.covariance).reshape(summed.shape)
    np.testing.assert_allclose(summed, whole, atol=1e-10 * np.abs(whole).max())
    power = (np.abs(beams) ** 2).sum(axis=2)
    assert np.all(np.diff(power, axis=-1) <= 0)


def test_coefficients_are_those_of_amplitude_and_phase_with_zeros_where_there_are_none(saved):
    _, design, folder = saved
    read = np.load(folder / "design.npz")
    rebuilt = read["amplitude"] * np.exp(1j * np.pi / 180 * read["phase_deg"])
    np.testing.assert_allclose(rebuilt, read["reflection"], atol=1e-12)
    np.testing.assert_array_equal(np.rad2deg(read["phase_rad"]), read["phase_deg"])
    counts = read["rows"] * read["columns"]
    assert counts.tolist() == [4, 6]
    assert not read["reflection"][0, :, 4:].any()
    for i, own in enumerate(design.reflection):
        np.testing.assert_array_equal(read["reflection"][i, :, : counts[i]], np.atleast_2d(own))


def test_bounds_of_what_was_saved_are_those_that_were_saved(saved):
    _, _, folder = saved
    read = np.load(folder / "design.npz")
    counts = read["rows"] * read["columns"]
    reflection = [psi[:, :n] for psi, n in zip(read["reflection"], counts, strict=True)]
    scenario = parse(str(read["scenario_text"]))
    bounds = hs.direction_bounds(scenario, read["covariance"], reflection)
    np.testing.assert_allclose(bounds.crb, read["crb_rad2"], rtol=1e-9)
    np.testing.assert_allclose(bounds.direction_std, read["direction_std_rad"], rtol=1e-9)
    np.testing.assert_allclose(bounds.snr, read["snr"], rtol=1e-9)


def test_a_surface_without_power_has_one_beam_of_none():
    np.testing.assert_array_equal(beams_of(np.zeros((1, 3, 3), dtype=complex)), 0)
    assert beams_of(np.zeros((1, 3, 3), dtype=complex)).shape == (1, 3, 1)


@pytest.mark.parametrize("phases", ["designed", "random"])
def test_exported_phases_focus_the_signal_on_the_user(tmp_path, phases):
    # Truth: the sum over the elements, with the length of the path through each of them; phases
    # increase along the path.
    scenario = far_hall(surface__phases=phases)
    hs.export(scenario, tmp_path / "a.mat")
    hs.export(scenario, tmp_path / "a.npz")
    matlab, numpy = scipy.io.loadmat(tmp_path / "a.mat"), np.load(tmp_path / "a.npz")
    assert set(numpy.files) == set(PHASE_NAMES) == {name for name in matlab if name[0] != "_"}
    for name in set(PHASE_NAMES) - {"scenario_text", "names"}:
        np.testing.assert_array_equal(np.squeeze(matlab[name]), np.squeeze(numpy[name]))
    surface = scenario.surface
    assert matlab["rows"].item() == surface.rows
    assert parse(str(matlab["scenario_text"][0])).dump() == scenario.dump()
    for stage in ("alignment", "data"):
        degrees = np.degrees(matlab[f"{stage}_phase_rad"])
        np.testing.assert_allclose(degrees, matlab[f"{stage}_phase_deg"], rtol=1e-12)
    phase = matlab["data_phase_rad"].ravel()
    wavelength = 299_792_458 / scenario.carrier.frequency
    array = scenario.build().surface.array
    step = wavelength * np.asarray(array.spacing)
    places = np.array(
        [
            np.asarray(surface.position)
            + column * step[0] * np.asarray(array.horizontal)
            + row * step[1] * np.asarray(array.vertical)
            for row in range(surface.rows)
            for column in range(surface.columns)
        ]
    )
    length = sum(
        np.linalg.norm(places - np.asarray(end), axis=1)
        for end in (scenario.base_station.position, scenario.user.position)
    )
    aligned = abs(np.exp(1j * (phase + 2 * np.pi * length / wavelength)).mean())
    assert aligned > 0.999 if phases == "designed" else aligned < 0.9


def test_a_design_without_its_scenario_lacks_only_the_panels(tmp_path):
    hs.export(cheap_design(yard()), tmp_path / "a.mat")
    read = scipy.io.loadmat(tmp_path / "a.mat")
    missing = {"rows", "columns", "scenario_text"}
    assert {name for name in read if name[0] != "_"} == set(NAMES) - missing


def test_a_design_for_a_region_has_its_bounds_at_every_position(tmp_path):
    # Truth: `direction_bounds` of the exported arrays for a target at each position.
    scenario, places = yard(), [[5.0, 15.0, 0.0], [6.0, 14.0, 0.0]]
    hs.export(hs.design_for_region(scenario, places), tmp_path / "a.npz", scenario)
    read = np.load(tmp_path / "a.npz")
    counts = read["rows"] * read["columns"]
    reflection = [psi[:, :n] for psi, n in zip(read["reflection"], counts, strict=True)]
    for place, crb in zip(places, read["crb_rad2"], strict=True):
        there = scenario.updated({"target.position": place})
        bounds = hs.direction_bounds(there, read["covariance"], reflection)
        np.testing.assert_allclose(bounds.crb, crb, rtol=1e-9)
    assert set(read.files) == set(NAMES) - {"history_rad2"}


@pytest.mark.parametrize("suffix", ["npz", "mat"])
def test_a_missing_folder_is_named(tmp_path, suffix):
    file = tmp_path / "missing" / f"phases.{suffix}"
    with pytest.raises(FileNotFoundError, match="missing"):
        hs.export(hall(), file)


def test_what_cannot_be_exported_is_refused(tmp_path):
    other = yard(surfaces__1__columns=5)
    with pytest.raises(TypeError, match="export"):
        hs.export(yard(), tmp_path / "b.npz")
    with pytest.raises(ValueError, match=r"reflection\[1\] has the shape .* needs \(10,\)"):
        hs.export(cheap_design(yard()), tmp_path / "b.npz", other)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"a\.csv must end in \.npz or \.mat"):
        hs.export(hall(), tmp_path / "a.csv")
