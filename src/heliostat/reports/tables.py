"""How results are told: rows for people and programs, where they come from, the one page."""

import base64
import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from matplotlib.figure import Figure

from heliostat._version import __version__
from heliostat.plots import localization as localization_plots
from heliostat.provenance import citation, commit
from heliostat.scenario import AnyScenario
from heliostat.units import format_quantity, to_db, to_dbm, to_deg

_SUFFIX = {
    "1": "",
    "m": "_m",
    "rad": "_rad",
    "rad²": "_rad2",
    "W": "_w",
    "bit/s": "_bit_per_s",
    "dB": "_db",
}


class Row(NamedTuple):
    """One number, as people and programs are told it."""

    name: str
    unit: str
    label: str
    text: str
    value: float  # in that unit

    @property
    def key(self) -> str:
        """Its name in JSON, with the unit."""
        return self.name + _SUFFIX[self.unit]


def length(name: str, label: str, value: float) -> Row:
    """A length, or the bound of one."""
    text = format_quantity(value, "length") if math.isfinite(value) else "no bound exists"
    return Row(name, "m", label, text, value)


def angle(name: str, label: str, value: float) -> Row:
    """An angle, or the bound of one, in degrees and radians."""
    text = f"{format_quantity(value, 'angle')} = {value:.3g} rad"
    return Row(name, "rad", label, text if math.isfinite(value) else "no bound exists", value)


def degrees(name: str, label: str, value: float) -> Row:
    """An angle, or the bound of one, in degrees alone where a table is wide."""
    text = f"{to_deg(value):.3g} deg" if math.isfinite(value) else "no bound"
    return Row(name, "rad", label, text, value)


def rate(name: str, label: str, value: float) -> Row:
    """A data rate."""
    return Row(name, "bit/s", label, f"{value / 1e6:.4g} Mbit/s", value)


def share(name: str, label: str, value: float) -> Row:
    """A part of a whole."""
    return Row(name, "1", label, f"{value:.3g}", value)


def dbm(name: str, label: str, value: float) -> Row:
    """A power that is sent or radiated, its unit told above it where a table is wide."""
    return Row(name, "W", label, f"{to_dbm(value):.1f}" if value > 0 else "none", value)


def left_over(name: str, label: str, value: float) -> Row:
    """What a limit of power leaves, ``inf`` where nothing limits it."""
    return Row(name, "W", label, f"{value:.3g} W" if math.isfinite(value) else "no limit", value)


def crb(name: str, label: str, value: float) -> Row:
    """A bound on the variance of directions, in rad² and dB."""
    text = (
        f"{value:.4g} rad² = {to_db(value):.2f} dB" if 0 < value < math.inf else "no bound exists"
    )
    return Row(name, "rad²", label, "0 rad²" if value == 0 else text, value)


def decibels(name: str, label: str, value: float) -> Row:
    """A ratio of powers that comes in dB already; -inf for none at all."""
    return Row(name, "dB", label, f"{value:.1f} dB" if value > -math.inf else "no power", value)


def number(name: str, label: str, value: float) -> Row:
    """A count."""
    return Row(name, "1", label, f"{value:g}", value)


class Line(NamedTuple):
    """A line of a table."""

    label: str
    cells: list[Row]
    prefix: str = ""  # before the names of its numbers, where others would be the same


class Table(NamedTuple):
    """Numbers under one heading."""

    title: str
    lines: list[Line]
    aside: str = ""
    heads: tuple[str, ...] = ()  # of all columns; none where each line has one number

    @property
    def texts(self) -> list[list[str]]:
        """Its lines as text, for a terminal."""
        return [[line.label, *(row.text for row in line.cells)] for line in self.lines]


def listed(title: str, rows: Sequence[Row], aside: str = "", prefix: str = "") -> Table:
    """A table of one number a line, each with its own label.

    Args:
        title: Of the table.
        rows: The numbers.
        aside: What to add to the title.
        prefix: Before the names of the numbers, where others would be the same.
    """
    return Table(title, [Line(row.label, [row], prefix) for row in rows], aside)


def document_of(rows: Sequence[Row]) -> dict[str, float]:
    """Numbers by their names with units.

    Args:
        rows: The numbers.
    """
    return {row.key: row.value for row in rows}


def provenance(scenario: AnyScenario, overrides: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Where a result comes from: enough to compute it again.

    Args:
        scenario: What was evaluated.
        overrides: What it was loaded with.
    """
    return {
        "heliostat_version": __version__,
        "commit": commit(),
        "scenario": scenario.name,
        "overrides": dict(overrides or {}),
        "seed": scenario.link.seed,
        "scenario_text": scenario.dump(),
    }


def without_infinities(value: Any) -> Any:
    """The same with None, which JSON can say, for every number that is not finite.

    Args:
        value: Nested dicts and lists.
    """
    if isinstance(value, dict):
        return {key: without_infinities(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_infinities(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_rows(columns: Mapping[str, Sequence[Any]], file: Path, number: str, first: int) -> None:
    """Write columns as CSV, after one that numbers the rows.

    Args:
        columns: By name, all of one length.
        file: What to write.
        number: Name of the first column.
        first: Number of the first row.
    """
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow([number, *columns])
        for at, row in enumerate(zip(*columns.values(), strict=True), start=first):
            writer.writerow([at, *(int(v) if isinstance(v, bool) else v for v in row)])


@dataclass(frozen=True)
class Page:
    """What one page of HTML tells about a deployment."""

    lead: str
    """What it is about, in a sentence."""
    tables: list[Table]
    notes: list[str]
    """What is missing, and which assumptions are strained."""
    files: dict[str, str]
    """Files beside the page, and what is in them."""
    origin: dict[str, Any]
    """See `provenance`."""

    def html(self, pictures: Mapping[str, Path]) -> str:
        """The page; it needs nothing else.

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
    """Write the pictures and ``report.html``, which embeds them.

    Args:
        page: What is told.
        figures: Pictures and their captions by the names of their files.
        folder: An existing folder.
        pdf: Write the pictures as PDF too.
    """
    localization_plots.save_figures(
        {name: figure for name, (figure, _) in figures.items()}, folder, pdf=pdf
    )
    pictures = {caption: folder / f"{name}.png" for name, (_, caption) in figures.items()}
    (folder / "report.html").write_text(page.html(pictures), encoding="utf-8")
