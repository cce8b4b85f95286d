"""Truths: what is computed here, numbers known beforehand, the environment of a worker."""

import json
import os
import time

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from heliostat.batch.workers import ATTEMPTS, local_workers
from heliostat.studies.engine import Lost
from heliostat.studies.study import Quantity, Study
from tests.support import tasks


def sample(key):
    return float(jax.random.normal(key))


def point(noise, *, shift, kind):
    if kind == "fails" and shift == 2.0:
        raise ValueError("two is too many")
    if kind == "breaks" and shift == 3.0:
        return {"total": np.nan, "line": np.zeros(3)}
    return {"total": shift + noise, "line": shift * np.arange(3.0)}


def wrong(noise, *, shift, kind):
    raise TypeError("a mistake of the program")


def verdicts(dataset):
    return []


def draw(dataset):
    return plt.subplots()[0]


def study(point=point, kinds=("works", "fails", "breaks")):
    return Study(
        name="toy/host",
        title="A sum",
        sample=sample,
        point=point,
        axes={"kind": list(kinds), "shift": [1.0, 2.0, 3.0]},
        traced=False,
        outputs={"total": Quantity("m"), "line": Quantity("s", ("place",))},
        inner={"place": np.arange(3)},
        trials=4,
        verdicts=verdicts,
        draw=draw,
    )


@pytest.fixture(scope="module", params=[1, 2])
def engine(request):
    with local_workers(request.param) as engine:
        yield engine


@pytest.fixture(scope="module")
def computed_by_workers():
    with local_workers(2) as engine:
        return study().run(engine=engine)


def test_results_are_the_same_to_the_last_bit_wherever_they_are_computed(computed_by_workers):
    xr.testing.assert_identical(computed_by_workers, study().run())


def test_a_point_is_where_its_coordinates_say():
    dataset = study().run(trials=2)
    root = jax.random.key(0)
    for trial in (0, 1):
        noise = sample(jax.random.fold_in(root, trial))
        at = dataset.sel(kind="works", shift=2.0).isel(trial=trial)
        assert float(at.total) == 2.0 + noise
        np.testing.assert_array_equal(at.line, [0.0, 2.0, 4.0])


def test_a_point_that_fails_is_stored_as_infinite_and_counted(computed_by_workers):
    dataset = computed_by_workers
    assert dataset.attrs["failures"] == 8
    reasons = json.loads(dataset.attrs["failure_reasons"])
    assert reasons == {"two is too many": 4, "a result is not a number": 4}
    lost = np.isinf(dataset.total)
    assert int(lost.sum()) == 8
    assert bool(lost.sel(kind="fails", shift=2.0).all())
    assert bool(np.isinf(dataset.line.sel(kind="breaks", shift=3.0)).all())
    assert not any(np.isnan(v).any() for v in dataset.values())


def test_a_mistake_of_the_program_is_no_result():
    with pytest.raises(TypeError, match="a mistake"):
        study(wrong, ["works"]).run()


def test_progress_counts_trials():
    told = []
    study(kinds=["works"]).run(trials=2, on_progress=lambda *what: told.append(what))
    assert told == [("toy/host", i, 6) for i in range(7)]


def test_workers_are_processes_with_one_thread_and_one_cache(engine):
    before = dict(os.environ)
    assert os.getpid() not in dict(engine(tasks.process_id, range(2))).values()
    names = ["OMP_NUM_THREADS", "XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR"] * 4
    found = [value for _, value in sorted(engine(tasks.environment, names))]
    assert set(found[::3]) == {"1"}
    assert all("--xla_cpu_multi_thread_eigen=false" in flags for flags in found[1::3])
    assert len(set(found[2::3])) == 1
    assert os.environ == before


def test_leaving_ends_workers_at_once():
    begun = time.monotonic()
    with local_workers(1) as engine:
        results = engine(tasks.wait_if_told, ["return", "wait"])
        assert next(results) == (0, "return")
    assert time.monotonic() - begun < 60


def test_a_task_whose_process_is_killed_is_computed_by_another(engine, tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    found = dict(engine(tasks.die_at_first, [str(folder) for folder in folders]))
    assert found == {0: "survived", 1: "survived", 2: "survived"}


def test_a_task_that_kills_every_process_is_given_up_and_no_other_is(engine):
    found = dict(engine(tasks.die_or_double, range(6)))
    lost = found.pop(3)
    assert isinstance(lost, Lost)
    assert f"died {ATTEMPTS} times" in lost.reason
    assert found == {0: 0, 1: 2, 2: 4, 4: 8, 5: 10}
