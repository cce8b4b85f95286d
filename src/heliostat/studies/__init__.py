"""Studies: a point function over named axes and trials, its figure, and a verdict on each claim."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heliostat.studies.study import Study

NAMES = {
    "localization": ["fig4", "fig5", "fig6", "fig7", "fig8", "fig9"],
    "sensing": ["fig2", "fig3", "fig4", "patterns", "scaling"],
    "estimators": ["pose", "direction", "position", "protocol", "dwells", "calibration"],
}
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
