"""Warning about violated model assumptions; this module imports nothing else of heliostat."""

import warnings


class ModelWarning(UserWarning):
    """Warning that an assumption of the model is violated, so that results may be inaccurate.

    Each text is issued once in a process. ``warnings.simplefilter("ignore",
    heliostat.ModelWarning)`` hides these warnings; ``"error"`` instead of ``"ignore"`` raises them
    as exceptions every time. Results contain the texts in ``notes``.
    """


ISSUED: set[str] = set()
"""Texts that were issued. The registries of Python's filters do not suffice: they are cleared
whenever a library changes the filters."""


def issue(text: str, stacklevel: int) -> None:
    """Issue a `ModelWarning` unless the same text was issued before.

    Args:
        text: One sentence.
        stacklevel: As for `warnings.warn`, seen from the caller of this function.
    """
    if text not in ISSUED:
        warnings.warn(text, ModelWarning, stacklevel=stacklevel + 1)
        ISSUED.add(text)
