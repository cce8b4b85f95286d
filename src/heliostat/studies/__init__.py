"""Studies of the papers' figures and of the estimators, with a verdict on each claim."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heliostat.studies.study import Study

NAMES = {
    "localization": ["fig4", "fig5", "fig6", "fig7", "fig8", "fig9"],
    "sensing": ["fig2", "fig3", "fig4", "patterns", "scaling"],
    "estimators": ["pose", "direction", "position", "protocol", "dwells"],
}
BY_NAME = {"sensing": ["patterns", "scaling"], "estimators": ["dwells"]}
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
