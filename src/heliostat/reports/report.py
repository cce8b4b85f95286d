"""Common structure of all reports: tables, notes, JSON document, data files and HTML page."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import jinja2
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from heliostat.plots.style import save_figures
from heliostat.provenance import citation
from heliostat.reports.export import write_arrays
from heliostat.reports.tables import (
    Table,
    without_infinities,
    write_columns,
    write_dataset,
)
from heliostat.scenario import AnyScenario, provenance_of


@dataclass(frozen=True)
class Report:
    """Results of one scenario, as they are printed and written.

    The files are ``NAME.nc``, the figures, and, if there is content for them, ``NAME.csv``,
    ``design.npz``, ``design.mat``, further texts and ``report.html``.
    """

    name: str
    """Name of the data files, without suffix."""
    title: str
    scenario: AnyScenario
    overrides: Mapping[str, str]
    """Overrides with which the scenario was loaded."""
    tables: Sequence[Table]
    """Tables; those without lines are not shown."""
    notes: Sequence[str]
    """Reasons for missing results, and warnings about strained assumptions."""
    numbers: Mapping[str, Any]
    """Entries of the JSON document besides the first table, the notes and the provenance."""
    dataset: xr.Dataset
    figures: Mapping[str, tuple[str, Callable[[], Figure]]]
    """Caption and drawing function of each figure, by file name."""
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Columns of a CSV file."""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The design, for other programs."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Further text files by name, such as scenarios."""
    lead: str = ""
    """Introduction of the HTML page; there is no page without one."""

    @property
    def files(self) -> list[str]:
        """Names of the written files, the most important first."""
        return [
            *(["report.html"] if self.lead else []),
            *self.texts,
            *(f"{name}.png" for name in self.figures),
            *(["design.npz", "design.mat"] if self.arrays else []),
            *([f"{self.name}.csv"] if self.columns else []),
            f"{self.name}.nc",
        ]

    @property
    def origin(self) -> dict[str, Any]:
        """Provenance of the results: version, commit, scenario, seed and overrides."""
        own = {"seed": self.scenario.link.seed, "overrides": dict(self.overrides)}
        return provenance_of(self.scenario) | own

    def document(self) -> dict[str, Any]:
        """All results for JSON; null stands for infinity."""
        rows = [row for line in self.tables[0].lines for row in line.cells]
        content = {row.key: row.value for row in rows} | dict(self.numbers)
        content |= {"warnings": list(self.notes), "provenance": self.origin}
        return cast("dict[str, Any]", without_infinities(content))

    def html(self, pictures: Mapping[str, bytes]) -> str:
        """The page as self-contained HTML.

        Args:
            pictures: PNG images by caption.
        """
        template = files("heliostat.reports") / "report.html.j2"
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        return environment.from_string(template.read_text(encoding="utf-8")).render(
            report=self,
            origin=self.origin,
            pictures={
                caption: base64.b64encode(image).decode() for caption, image in pictures.items()
            },
            citation=citation(),
        )

    def write(self, folder: Path, *, pdf: bool = False) -> None:
        """Write all files.

        Args:
            folder: An existing folder.
            pdf: Write the figures as PDF too.
        """
        figures = {name: draw() for name, (_, draw) in self.figures.items()}
        save_figures(figures, folder, pdf=pdf)
        # netCDF cannot store a dict as an attribute.
        origin = self.origin | {"title": self.title, "overrides": json.dumps(dict(self.overrides))}
        write_dataset(self.dataset.assign_attrs(origin), folder / f"{self.name}.nc")
        if self.columns:
            write_columns(self.columns, folder / f"{self.name}.csv")
        if self.arrays:
            write_arrays(self.arrays, folder / "design.npz")
            write_arrays(self.arrays, folder / "design.mat")
        for name, text in self.texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        if self.lead:
            pictures = {
                caption: (folder / f"{name}.png").read_bytes()
                for name, (caption, _) in self.figures.items()
            }
            (folder / "report.html").write_text(self.html(pictures), encoding="utf-8")
