"""Figures of a paper and verdicts on its claims, written to a folder."""

from collections.abc import Callable
from pathlib import Path

from heliostat.studies import default_names, find
from heliostat.studies.engine import Engine, serial
from heliostat.studies.study import Verdict, save


def reproduce(
    system: str,
    out: Path,
    *,
    names: list[str] | None = None,
    trials: int | None = None,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
    engine: Engine = serial,
) -> list[Verdict]:
    """Run studies and write the results of each as soon as it is finished.

    Args:
        system: ``localization``, ``sensing``, ``estimators`` or ``sites``.
        out: Folder for data, figures and verdicts; created if it does not exist.
        names: Names of studies, such as ``fig4``; default those of `default_names`.
        trials: Number of trials at each point (sensing: draws of the channels); default each
            study's own.
        seed: Seed of the random keys.
        on_progress: Called with the study's name, the number of finished blocks and of all blocks.
        engine: Computes the points that JAX cannot trace; default one after the other.

    Raises:
        KeyError: A study does not exist.
    """
    studies = [find(f"{system}/{name}") for name in names or default_names(system)]
    out.mkdir(parents=True, exist_ok=True)
    verdicts = []
    for study in studies:
        dataset = study.run(trials=trials, seed=seed, on_progress=on_progress, engine=engine)
        verdicts += save(study, dataset, out)
    return verdicts
