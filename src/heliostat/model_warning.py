"""The warning that a model assumption holds only roughly, in a module that imports nothing else."""

import warnings


class ModelWarning(UserWarning):
    """An assumption of the model is violated, so that results may not hold in reality.

    Each text is issued once in a process. ``warnings.simplefilter("ignore",
    heliostat.ModelWarning)`` hides all of them; with ``"error"`` in place of ``"ignore"`` they are
    raised, every time. Results list them as ``notes``.
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
