"""Version, commit and citation: where a result comes from and how to cite it."""

import functools
import subprocess
from pathlib import Path

from heliostat._version import __version__

_BIBTEX = """\
@software{heliostat,
  author  = {{The heliostat developers}},
  title   = {heliostat: error bounds and certified designs for intelligent reflecting surfaces},
  version = {VERSION},
}

% The localization system.
@misc{wang2021,
  author = {Wang, Rui and Xing, Zhe and Liu, Erwu},
  title  = {Joint Location and Communication Study for Intelligent Reflecting Surface
            Aided Wireless Communication System},
  year   = {2021},
  eprint = {2103.01063},
  archiveprefix = {arXiv},
}

% The sensing system.
@misc{fang2024,
  author = {Fang, Yuan and Yu, Xianghao and Xu, Jie},
  title  = {Joint Transmit and Reflective Beamforming for Multi-Active-{IRS}-Assisted
            Cooperative Sensing},
  year   = {2024},
  eprint = {2404.13536},
  archiveprefix = {arXiv},
}
"""


def citation() -> str:
    """BibTeX of heliostat, in this version, and of the papers."""
    return _BIBTEX.replace("VERSION", __version__)


@functools.cache
def commit() -> str:
    """The commit of the checkout heliostat runs from; ``none`` where it is installed otherwise."""

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


def software() -> dict[str, str]:
    """Version and commit, as attributes of results."""
    return {"heliostat_version": __version__, "commit": commit()}
