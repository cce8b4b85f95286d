"""Truths: what was written comes back; a wrong file is named with both shapes."""

import doctest

import numpy as np
import pytest
from scipy.io import savemat

from heliostat.channel import imported
from heliostat.channel.imported import read_channels


def channels(*shape):
    rng = np.random.default_rng(0)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


@pytest.mark.parametrize("suffix", ["npz", "mat"])
def test_what_was_saved_comes_back(tmp_path, suffix):
    path, g, beta = tmp_path / f"hall.{suffix}", channels(2, 6, 4), channels(2)
    if suffix == "npz":
        np.savez(path, bs_to_irs=g, target_gain=beta)
    else:
        savemat(path, {"bs_to_irs": g, "target_gain": beta})
    read = read_channels(path, [6, 5], 4)
    np.testing.assert_array_equal(read.bs_to_irs[0], g[0])
    np.testing.assert_array_equal(read.bs_to_irs[1], g[1, :5])
    np.testing.assert_array_equal(read.target_gain, beta)


def test_one_surface_from_matlab_keeps_its_axes(tmp_path):
    g = channels(1, 6, 1)
    savemat(tmp_path / "one.mat", {"bs_to_irs": g[:, :, 0]})  # as MATLAB drops a last axis
    read = read_channels(tmp_path / "one.mat", [6], 1)
    np.testing.assert_array_equal(read.bs_to_irs[0], g[0])
    assert read.target_gain is None


def test_wrong_shapes_name_both(tmp_path):
    path = tmp_path / "hall.npz"
    np.savez(path, bs_to_irs=channels(2, 4, 6))
    with pytest.raises(ValueError, match=r"\(2, 4, 6\).*\(2, 6, 4\)"):
        read_channels(path, [6, 6], 4)
    np.savez(path, bs_to_irs=channels(2, 6, 4), target_gain=channels(3))
    with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
        read_channels(path, [6, 6], 4)


def test_unusable_files_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", other=np.zeros(3))
    with pytest.raises(ValueError, match="bs_to_irs"):
        read_channels(tmp_path / "a.npz", [6], 4)
    with pytest.raises(ValueError, match=r"\.npz and \.mat"):
        read_channels(tmp_path / "a.csv", [6], 4)
    np.savez(tmp_path / "b.npz", bs_to_irs=np.full((1, 2, 2), np.nan))
    with pytest.raises(ValueError, match="finite"):
        read_channels(tmp_path / "b.npz", [2], 2)


def test_the_example_for_sionna_holds():
    assert doctest.testmod(imported).failed == 0
