"""`heliostat.report` against the API and files as other libraries read them; columns as CSV."""

import csv
import json

import numpy as np
import scipy.io
import xarray as xr

import heliostat as hs
from heliostat.api import sensing as sensing_api
from heliostat.reports.tables import write_columns
from tests.support.hall import hall
from tests.support.sensing_designs import cheap_design, yard


def test_a_report_of_each_system_writes_the_files_it_names(tmp_path, monkeypatch):
    monkeypatch.setattr(sensing_api, "design_beamforming", cheap_design)
    for scenario in (hall(), yard()):
        folder = tmp_path / "new" / scenario.system
        report = hs.report(scenario, folder)
        assert {path.name for path in folder.iterdir()} == set(report.files)
        assert report.files[0] == "report.html"
        json.dumps(report.document(), allow_nan=False)
    bounds = hs.pose_bounds(hall())
    with xr.open_dataset(tmp_path / "new/localization/results.nc", engine="h5netcdf") as stored:
        assert stored.peb.item() == bounds.peb
    design, read = cheap_design(yard()), scipy.io.loadmat(folder / "design.mat")
    np.testing.assert_allclose(read["crb_rad2"].ravel(), design.crb, rtol=1e-12)


def test_a_column_of_lists_becomes_one_column_for_each_entry(tmp_path):
    columns = {"n": range(1, 3), "snr": [[1.5, 2.0], [float("inf"), 4.0]], "found": [True, False]}
    write_columns(columns, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as opened:
        first, second = csv.DictReader(opened)
    assert first == {"n": "1", "snr_0": "1.5", "snr_1": "2.0", "found": "1"}
    assert second == {"n": "2", "snr_0": "inf", "snr_1": "4.0", "found": "0"}
