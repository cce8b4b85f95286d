"""The command ``heliostat`` with a study of 60 trials that take a known time and little work.

Run with ``python -m tests.support.toy_sweep sweep toy/sum``. Worker processes import this module
again as ``__mp_main__``, workers of a Dask scheduler with ``--preload``.
"""

import sys
import time
import types

import jax
import numpy as np
from matplotlib.figure import Figure

from heliostat import studies
from heliostat.__main__ import main
from heliostat.studies.study import Quantity, Study

NAME = "toy/sum"
POINTS, TRIALS = 6, 10


def sample(key):
    return np.random.default_rng(np.asarray(jax.random.key_data(key))).normal()


def point(noise, *, shift):
    time.sleep(0.03)
    return {"total": shift + noise}


STUDY = Study(
    name=NAME,
    title="A sum",
    sample=sample,
    point=point,
    axes={"shift": [float(shift) for shift in range(POINTS)]},
    outputs={"total": Quantity("m")},
    trials=TRIALS,
    verdicts=lambda dataset: [],
    draw=lambda dataset: Figure(),
    traced=False,
)


def register(names=studies.NAMES, modules=sys.modules):
    """Make the study known by its name.

    Args:
        names: Names of studies, by system.
        modules: Modules, by name.
    """
    module = types.ModuleType("heliostat.studies.toy.sum")
    module.STUDY = STUDY
    modules[module.__name__] = module
    names["toy"] = ["sum"]


def dask_setup(worker):
    register()


if __name__ in ("__main__", "__mp_main__"):
    register()
if __name__ == "__main__":
    sys.exit(main())
