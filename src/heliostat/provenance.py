"""The commit that a result was computed with."""

import subprocess
from pathlib import Path


def commit() -> str:
    """The commit of the checkout that heliostat runs from, or ``none`` where it is installed."""

    def git(*words: str) -> str:
        here = Path(__file__)
        done = subprocess.run(
            ["git", *words], cwd=here.parent, capture_output=True, text=True, timeout=5, check=True
        )
        return done.stdout.strip()

    try:
        # A checkout that happens to hold an installed heliostat does not track this file.
        tracked = git("ls-files", Path(__file__).name)
        return git("describe", "--always", "--dirty", "--abbrev=12") if tracked else "none"
    except (OSError, subprocess.SubprocessError):
        return "none"
