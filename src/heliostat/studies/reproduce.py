"""Every figure of a paper, and what its claims are worth."""

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
    """Run a paper's studies, each written as soon as it is done.

    Args:
        system: ``localization`` or ``sensing``.
        out: Folder for data, pictures and verdicts; made if it is not there.
        names: Figures, such as ``fig4``; default all of the paper's.
        trials: Trials at each point, for sensing draws of the channels; default each study's.
        seed: Of the trials' keys.
        on_progress: Called with the study's name, the points done and the points in all.
        engine: Where points run that JAX cannot trace; default serial, one after the other.

    Raises:
        KeyError: A figure is not known.
    """
    studies = [find(f"{system}/{name}") for name in names or default_names(system)]
    out.mkdir(parents=True, exist_ok=True)
    verdicts = []
    for study in studies:
        dataset = study.run(trials=trials, seed=seed, on_progress=on_progress, engine=engine)
        verdicts += save(study, dataset, out)
    return verdicts
