"""Studies of the papers' figures, of estimators and of sites, with a verdict on each claim."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heliostat.studies.study import Study

TITLES = {
    "localization": {
        "fig4": "Position and heading error bounds (PEB, REB) against the time ratio",
        "fig5": "Effective rate against the time ratio",
        "fig6": "Effective rate against position and heading error bounds (PEB, REB)",
        "fig7": "Designed against random surface phases",
        "fig8": "Best time ratio over surface side and antennas",
        "fig9": "Rate and errors at the best time ratio",
    },
    "sensing": {
        "fig2": "Worst Cramér-Rao bound (CRB) against the power of the base station",
        "fig3": "Worst Cramér-Rao bound (CRB) against the power of the surfaces",
        "fig4": "Worst Cramér-Rao bound (CRB) against the antennas of the base station",
        "patterns": "Worst Cramér-Rao bound (CRB) against reflection patterns and K-factor",
        "scaling": "Convergence and run time of the paper's alternation and of the direct design",
        "certificates": "Gap between joint designs and the lower bound on every design",
    },
    "estimators": {
        "pose": "Errors of a user's position and heading against their bounds",
        "direction": "Errors of a target's direction against their bound",
        "position": "Errors of a target's position against their bound",
        "protocol": "Closed loop over periods, with estimates and with the paper's error model",
        "dwells": "Target search over dwells, against designs for the true position",
        "calibration": "Calibration of reported covariances and flags",
    },
    "sites": {
        "paths": "Identifiability and position error bound (PEB) with one path or several",
        "near_field": "Focused and steered panels in the near field",
    },
}
"""Title of every study by system and name; `heliostat list` shows them without importing JAX."""
NAMES = {system: list(titles) for system, titles in TITLES.items()}
BY_NAME = {
    "sensing": ["patterns", "scaling", "certificates"],
    "estimators": ["dwells", "calibration"],
}
"""Studies that are computed only on request: not figures of a paper, or slow."""


def default_names(system: str) -> list[str]:
    """Names of the studies of a system that are computed by default.

    Args:
        system: Key of `NAMES`.
    """
    return [name for name in NAMES[system] if name not in BY_NAME.get(system, [])]


def find(name: str) -> "Study":
    """Study with a given name, such as ``localization/fig4``.

    Args:
        name: System and name, separated by a slash.

    Raises:
        KeyError: No study has this name.
    """
    system, _, figure = name.partition("/")
    if figure not in NAMES.get(system, []):
        known = ", ".join(f"{s}/{f}" for s, figures in NAMES.items() for f in figures)
        raise KeyError(f"There is no study {name!r}; the studies are {known}.")
    study: Study = import_module(f"heliostat.studies.{system}.{figure}").STUDY
    return study
