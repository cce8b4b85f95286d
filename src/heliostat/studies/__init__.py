"""Studies: a point function over named axes and trials, its figure, and a verdict on each claim."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heliostat.studies.study import Study

TITLES = {
    "localization": {
        "fig4": "PEB and REB against the time ratio",
        "fig5": "Effective rate against the time ratio",
        "fig6": "Effective rate against PEB and REB",
        "fig7": "Designed against random surface phases",
        "fig8": "Best time ratio over surface side and antennas",
        "fig9": "Rate and errors at the best time ratio",
    },
    "sensing": {
        "fig2": "Worst CRB against the power of the base station",
        "fig3": "Worst CRB against the power of the surfaces",
        "fig4": "Worst CRB against the antennas of the base station",
        "patterns": "Worst CRB over reflection patterns in each dwell and K-factor",
        "scaling": "Convergence and run time of the paper's alternation and of the direct design",
    },
    "estimators": {
        "pose": "Errors of a user's position and heading against their bounds",
        "direction": "Errors of a target's direction against their bound",
        "position": "Errors of a target's position against their bound",
        "protocol": "Tracking of a user over periods, with real estimates and with random errors",
        "dwells": "Search for a target over several dwells, against designs for its true position",
        "calibration": "Calibration of reported covariances and flags",
    },
}
"""Title of every study by system and name; `heliostat list` shows them without importing JAX."""
NAMES = {system: list(titles) for system, titles in TITLES.items()}
BY_NAME = {"sensing": ["patterns", "scaling"], "estimators": ["dwells", "calibration"]}
"""Studies beyond a paper's figures, or long ones, computed only if named."""


def default_names(system: str) -> list[str]:
    """The figures of a system's paper.

    Args:
        system: One of `NAMES`.
    """
    return [name for name in NAMES[system] if name not in BY_NAME.get(system, [])]


def find(name: str) -> "Study":
    """The study of that name, such as ``localization/fig4``.

    Args:
        name: System and figure.

    Raises:
        KeyError: There is no such study.
    """
    system, _, figure = name.partition("/")
    if figure not in NAMES.get(system, []):
        known = ", ".join(f"{s}/{f}" for s, figures in NAMES.items() for f in figures)
        raise KeyError(f"There is no study {name!r}; there are {known}.")
    study: Study = import_module(f"heliostat.studies.{system}.{figure}").STUDY
    return study
