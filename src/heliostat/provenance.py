"""What to cite: heliostat, and the papers whose systems it has."""

import heliostat

_BIBTEX = """\
@software{heliostat,
  author  = {{The heliostat developers}},
  title   = {heliostat: bounds, designs and proofs for intelligent reflecting surfaces},
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
    return _BIBTEX.replace("VERSION", heliostat.__version__)
