"""Truths: a study with a known result; results that do not depend on the number of trials."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from heliostat.studies.study import (
    Quantity,
    Study,
    Verdict,
    save,
)

TOY = Study(
    name="toy/sum",
    title="A sum",
    sample=jax.random.normal,
    point=lambda noise, *, power, shift: {
        "total": shift**power + noise,
        "line": jnp.arange(3.0) * shift,
    },
    axes={"power": [1, 2], "shift": [0.5, 2.0, 3.0]},
    static=("power",),
    outputs={"total": Quantity("m"), "line": Quantity("s", ("place",), "a line")},
    trials=4,
    inner={"place": np.arange(3)},
    axis_units={"shift": "m"},
    verdicts=lambda dataset: [Verdict("toy", "is a sum", bool(dataset.total.size), "yes")],
    draw=lambda dataset: plt.subplots()[0],
)


def test_every_point_is_where_its_coordinates_say():
    dataset = TOY.run()
    assert dataset.total.dims == ("power", "shift", "trial")
    assert dataset.line.dims == ("power", "shift", "trial", "place")
    for power in (1, 2):
        for shift in (0.5, 2.0, 3.0):
            at = dataset.sel(power=power, shift=shift)
            np.testing.assert_allclose(
                at.total - dataset.total.sel(power=1, shift=2.0) + 2.0, shift**power, rtol=1e-12
            )
            np.testing.assert_allclose(at.line.isel(trial=0), np.arange(3) * shift)
    assert dataset.total.attrs["units"] == "m"
    assert dataset["shift"].attrs["units"] == "m"
    assert dataset.attrs["study"] == "toy/sum"


def test_a_trial_does_not_depend_on_how_many_there_are():
    few, many = TOY.run(trials=2), TOY.run(trials=7)
    np.testing.assert_array_equal(few.total, many.total.isel(trial=slice(0, 2)))
    other = TOY.run(trials=2, seed=1)
    assert not np.array_equal(few.total, other.total)


def test_progress_counts_every_point():
    told = []
    TOY.run(trials=1, on_progress=lambda *what: told.append(what))
    assert told == [("toy/sum", i, 6) for i in range(7)]


def test_no_trials_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        TOY.run(trials=0)


def test_what_is_saved_can_be_read_back(tmp_path):
    dataset = TOY.run()
    verdicts = save(TOY, dataset, tmp_path)
    assert [v.holds for v in verdicts] == [True]
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"sum.nc", "sum.png", "sum.pdf", "sum.verdicts.json"}
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "sum.nc", engine="h5netcdf"), dataset)
