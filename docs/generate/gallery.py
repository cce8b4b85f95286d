"""Figures of the studies with their verdicts, for the pages of the gallery.

Figures that the folder ``results`` contains are shown from there. The others are computed when the
site is built, with the numbers of trials below, and kept until the package changes.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import xarray as xr

from heliostat import studies

ROOT = Path(__file__).parents[2]
TRIALS = {
    "localization/fig7": 200,
    "sensing/fig2": 2,
    "sensing/fig3": 2,
    "sensing/fig4": 2,
    "sensing/patterns": 2,
    "estimators/direction": 20,
}
"""Trials where the site uses fewer than ``heliostat reproduce``."""
NOT_COMPUTED = {
    "sensing/scaling": "about ten minutes",
    "sensing/certificates": "about five minutes",
    "estimators/pose": "some ten minutes",
    "estimators/protocol": "some ten minutes",
    "estimators/dwells": "some ten minutes",
    "estimators/calibration": "about nine minutes",
    "sites/paths": "about three minutes",
}
"""Studies that the site shows only from ``results``, with their run times."""
_MARKER = re.compile(r"<!-- figure: ([a-z]+/\w+) -->")


def marked(text: str) -> list[str]:
    """Names of the studies that a page shows.

    Args:
        text: Source of the page.
    """
    return _MARKER.findall(text)


def filled(text: str, folder: Path) -> str:
    """Replace each comment ``figure: SYSTEM/NAME`` of a page by figure, verdicts and command.

    Args:
        text: Source of the page.
        folder: Folder of the figures, inside the sources of the site.
    """
    return _MARKER.sub(lambda found: _shown(found[1], folder), text)


def _shown(name: str, folder: Path) -> str:
    system, _, figure = name.partition("/")
    command = f"```text\nheliostat reproduce {system} {figure}\n```\n"
    stored, copy = ROOT / "results" / system, folder / system
    if (stored / f"{figure}.verdicts.json").exists():
        copy.mkdir(parents=True, exist_ok=True)
        for suffix in ("nc", "png", "verdicts.json"):
            shutil.copyfile(stored / f"{figure}.{suffix}", copy / f"{figure}.{suffix}")
    elif name not in NOT_COMPUTED:
        _compute(name, copy)
    else:
        return (
            f"{command}\nThis study takes {NOT_COMPUTED[name]}, so it is not computed when the "
            "site is built. A site built after the command shows its results here.\n"
        )
    with xr.open_dataset(copy / f"{figure}.nc", engine="h5netcdf") as data:
        trials, version = data.sizes["trial"], data.attrs["heliostat_version"]
        code = f"heliostat {version}, commit {data.attrs['commit']}"
    full = studies.find(name).trials
    origin = f"Computed with {trials} trial{'s' * (trials > 1)} at each point ({code})"
    origin += "." if trials >= full else f"; the command uses {full} by default."
    image = (copy / f"{figure}.png").relative_to(ROOT / "docs").as_posix()
    verdicts = json.loads((copy / f"{figure}.verdicts.json").read_text("utf-8"))
    rows = [f"| {_cell(v['claim'])} | {v['holds']} | {_cell(v['finding'])} |" for v in verdicts]
    table = "\n".join(["| claim | holds | measured |", "|---|---|---|", *rows])
    title = studies.TITLES[system][figure]
    return f"{command}\n![{title}](/{image})\n\n*{origin}*\n\n{table if rows else ''}\n"


def _trials(name: str) -> int:
    return TRIALS.get(name) or studies.find(name).trials


def _compute(name: str, folder: Path) -> None:
    system, _, figure = name.partition("/")
    if (folder / f"{figure}.verdicts.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "heliostat", "reproduce", system, figure]
    options = ["--trials", str(_trials(name)), "--out", str(folder), "--json"]
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)


def _cell(text: str) -> str:
    return re.sub(r"([|*\[<_$])", r"\\\1", text)
