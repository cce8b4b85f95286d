"""The code in docs/conventions.md, run as it stands; the MATLAB code in its NumPy equivalent."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from heliostat.channel.imported import read_channels

TEXT = (Path(__file__).parents[1] / "docs" / "conventions.md").read_text(encoding="utf-8")
CHANNELS, LAW = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_numpy_writes_the_channels_that_heliostat_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(CHANNELS, "conventions.md", "exec"), names)
    np.testing.assert_array_equal(names["again"], names["channels"])
    first, second = read_channels("hall.npz", [64, 64], 16).bs_to_irs
    assert first[5 + 8 * 3, 2] == 1e-4 * np.exp(-2j)
    assert np.count_nonzero(first) == 1
    np.testing.assert_array_equal(second, 2e-5)


def test_matlab_writes_the_same_channels(tmp_path):
    assert "reshape(channels, surfaces, columns * rows, antennas)" in TEXT
    assert "channels(1, 6, 4, 3) = 1e-4 * exp(-2i);" in TEXT
    channels = np.zeros((2, 8, 8, 16), complex, order="F")  # surfaces, columns, rows, antennas
    channels[0, 6 - 1, 4 - 1, 3 - 1] = 1e-4 * np.exp(-2j)
    channels[1] = 2e-5
    savemat(tmp_path / "hall.mat", {"bs_to_irs": channels.reshape((2, 64, 16), order="F")})
    first, second = read_channels(tmp_path / "hall.mat", [64, 64], 16).bs_to_irs
    assert first[5 + 8 * 3, 2] == 1e-4 * np.exp(-2j)
    assert np.count_nonzero(first) == 1
    np.testing.assert_array_equal(second, 2e-5)


def test_the_path_loss_law_runs(capsys):
    names = {}
    exec(compile(LAW, "conventions.md", "exec"), names)
    peb, unit = capsys.readouterr().out.split()
    assert unit == "m"
    assert 0 < float(peb) < 10
    # Hops of more than a meter lose more than under the product law.
    scene = names["scenario"].build()
    hops = np.array([np.sqrt(144 + 64 + 4), np.sqrt(121 + 49 + 12.25)])
    area = scene.link.wavelength**2 / 4
    expected = area / (4 * np.pi * np.prod(hops) ** 1.2)
    assert float(scene.path_amplitude(scene.link.wavelength * 0 + hops[1])) == pytest.approx(
        float(expected), rel=1e-9
    )
