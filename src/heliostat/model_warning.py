"""The warning that a model assumption holds only roughly, in a module that imports nothing else."""

import warnings


class ModelWarning(UserWarning):
    """An assumption of the model is violated, so that results may not hold in reality.

    Python shows each text once. ``warnings.simplefilter("ignore", heliostat.ModelWarning)`` hides
    all of them, ``"error"`` in place of ``"ignore"`` raises them. Results list them as ``notes``.
    """


# Appended, so that the filters of the user precede it.
warnings.simplefilter("once", ModelWarning, append=True)
