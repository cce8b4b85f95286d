"""Every figure of a paper, and what its claims are worth."""

from collections.abc import Callable
from pathlib import Path

from heliostat.studies import NAMES, find
from heliostat.studies.study import Verdict, save


def reproduce(
    system: str,
    out: Path,
    *,
    names: list[str] | None = None,
    trials: int | None = None,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[Verdict]:
    """Run a paper's studies, each written as soon as it is done.

    Args:
        system: ``localization``.
        out: Folder for data, pictures and verdicts; made if it is not there.
        names: Figures, such as ``fig4``; default all.
        trials: Trials at each point; default the paper's.
        seed: Of the trials' keys.
        on_progress: Called with the study's name, the points done and the points in all.

    Raises:
        KeyError: A figure is not known.
    """
    studies = [find(f"{system}/{name}") for name in names or NAMES[system]]
    out.mkdir(parents=True, exist_ok=True)
    verdicts = []
    for study in studies:
        dataset = study.run(trials=trials, seed=seed, on_progress=on_progress)
        verdicts += save(study, dataset, out)
    return verdicts
