"""The HTML page of a report: tables, notes, figures and provenance in one file."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from heliostat.plots.style import save_figures
from heliostat.provenance import citation
from heliostat.reports.tables import Table


@dataclass(frozen=True)
class Page:
    """Content of the report of one deployment."""

    lead: str
    """Introductory sentence."""
    tables: list[Table]
    notes: list[str]
    """Reasons for missing results, and warnings about strained assumptions."""
    files: dict[str, str]
    """Other output files and their content."""
    origin: dict[str, Any]
    """See `heliostat.reports.tables.provenance`."""

    def html(self, pictures: Mapping[str, Path]) -> str:
        """The page as self-contained HTML.

        Args:
            pictures: PNG files by caption.
        """
        template = files("heliostat.reports") / "report.html.j2"
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        return environment.from_string(template.read_text(encoding="utf-8")).render(
            name=self.origin["scenario"],
            lead=self.lead,
            tables=[table for table in self.tables if table.lines],
            notes=self.notes,
            pictures={
                caption: base64.b64encode(path.read_bytes()).decode()
                for caption, path in pictures.items()
            },
            files=self.files,
            origin=self.origin,
            citation=citation(),
        )


def write_page(
    page: Page, figures: Mapping[str, tuple[Figure, str]], folder: Path, *, pdf: bool = False
) -> None:
    """Write the figures and ``report.html``, which embeds them.

    Args:
        page: Content of the report.
        figures: Figures and their captions by file name.
        folder: An existing folder.
        pdf: Write the figures as PDF too.
    """
    save_figures({name: figure for name, (figure, _) in figures.items()}, folder, pdf=pdf)
    pictures = {caption: folder / f"{name}.png" for name, (_, caption) in figures.items()}
    (folder / "report.html").write_text(page.html(pictures), encoding="utf-8")
