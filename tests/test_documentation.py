"""The sources of the documentation: links, tables of contents, generated tables."""

import inspect
import json
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import heliostat
from docs.generate import command_line, gallery
from docs.generate.outside_requests import outside_requests
from docs.generate.scenario_keys import scenario_keys
from heliostat import studies
from heliostat.scenario import SYSTEMS
from heliostat.scenario.fields import Section

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)
TEXTS = {page: page.read_text("utf-8") for page in PAGES}
OTHERS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]


def prose(text: str) -> str:
    """The text without code blocks and formulas."""
    return re.sub(r"```.*?```|\$\$.*?\$\$|\$[^$\n]*\$|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(text: str) -> set[str]:
    """Anchors of the headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in headings)
    return {re.sub(r"\s", "-", heading.strip()) for heading in plain}


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text("utf-8")), target


def test_every_page_is_in_a_table_of_contents():
    listed = {DOCS / "index.md"}
    for page, text in TEXTS.items():
        for body in re.findall(r"```\{toctree\}\n(.*?)```", text, flags=re.DOTALL):
            for entry in body.splitlines():
                if entry and not entry.startswith(":"):
                    listed |= set(page.parent.glob(f"{entry}.md") if "*" in entry else [])
                    listed.add((page.parent / f"{entry}.md").resolve())
    assert set(PAGES) <= listed
    assert all(page.exists() for page in listed if "*" not in page.name)


def keys_of(section: type[Section], prefix: str = "") -> Iterator[str]:
    """Dotted keys of a section; an entry of a list has the number 0."""
    for name, field in section.model_fields.items():
        sections = [kind for kind in _types(field.annotation) if issubclass(kind, Section)]
        many = any(typing.get_origin(part) is tuple for part in _parts(field.annotation))
        if not sections:
            yield prefix + name
        elif name != "users" and (name, section.__name__) != ("surfaces", "LocalizationScenario"):
            yield from keys_of(sections[0], f"{prefix}{name}.{'0.' * many}")
        else:  # the keys of its entries are those of user and of surface
            yield name


def _parts(annotation: object) -> Iterator[object]:
    yield annotation
    for part in typing.get_args(annotation):
        yield from _parts(part)


def _types(annotation: object) -> Iterator[type]:
    return (part for part in _parts(annotation) if inspect.isclass(part))


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_table_has_every_key_of_the_schema_and_no_other(system):
    shown = re.findall(r"^\| `([\w.]+)` \|", scenario_keys(system), flags=re.M)
    assert sorted(shown) == sorted(keys_of(SYSTEMS[system]))


def test_the_table_shows_units_ranges_and_defaults():
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", scenario_keys("localization"), re.M))
    assert rows["link.noise"].startswith("power, e.g. `-80 dBm` | required | ")
    assert rows["errors.heading"].startswith("angle, e.g. `30 deg` | `0 deg` | ")
    assert rows["surface.bits"].startswith("integer from 1 to 8 | see meaning | ")
    assert rows["surface.reflection"].startswith("number above 0 to 1 | `1.0` | ")
    assert rows["link.gain_phase"].startswith("angle, e.g. `45 deg`, or `random` | `random` | ")


def test_all_commands_and_options_are_described():
    text = command_line.command_line()
    shown = re.findall(r"^## heliostat ([\w ]+)$", text, flags=re.M)
    listed = subprocess.run(
        [sys.executable, "-m", "heliostat", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert len(shown) > 10
    assert all(re.search(rf"│ {name.split()[0]} ", listed) for name in shown)
    assert len(re.findall(r"^│ [a-z]+ ", listed, flags=re.M)) == len(
        {name.split()[0] for name in shown}
    )
    assert "| `--set KEY=VALUE` | Override, e.g. surface.rows=16; repeatable. |  |" in text
    assert "| `--trials, --draws INTEGER` |" in text
    assert "| `--json` |" in text
    assert "heliostat reproduce localization|sensing" not in text  # arguments by name
    assert "| `[NAMES...]` |" not in text


def test_the_gallery_shows_every_study():
    shown = [
        name for page in (DOCS / "gallery").glob("*.md") for name in gallery.marked(TEXTS[page])
    ]
    every = [f"{system}/{name}" for system, names in studies.NAMES.items() for name in names]
    assert sorted(shown) == sorted(every)
    assert set(gallery.TRIALS) | set(gallery.NOT_COMPUTED) <= set(every)


def test_modules_of_the_physics_are_documented():
    package = ROOT / "src" / "heliostat"
    for page in (DOCS / "reference" / "modules").glob("[!i]*.md"):
        modules = re.findall(r"automodule:: heliostat\.([\w.]+)", TEXTS[page])
        files = (package / page.stem).glob("[!_]*.py")
        expected = [f"{page.stem}.{file.stem}" for file in sorted(files)] or [page.stem]
        assert modules == expected


def test_the_python_interface_is_documented():
    text = "\n".join(TEXTS[page] for page in (DOCS / "reference" / "api").glob("*.md"))
    for name in set(heliostat.__all__) - {"plot"}:
        assert re.search(rf"auto\w+:: heliostat\.{name}$", text, re.M), name
    for name in heliostat.plot.__all__:
        assert re.search(rf"autofunction:: heliostat\.plots\.\w+\.{name}$", text, re.M), name


def test_requests_to_other_servers_are_found():
    assert outside_requests('<script async src="https://a.org/x.js">') == ["https://a.org/x.js"]
    assert outside_requests("<link rel='stylesheet' href='//b.org/x.css'>") == ["//b.org/x.css"]
    assert outside_requests("src: url(http://c.org/f.woff2)") == ["http://c.org/f.woff2"]
    assert not outside_requests('<a href="https://d.org">d</a> <img src="_images/d.png">')
    assert not outside_requests('<link rel="canonical" href="https://e.org/">')


def test_archives_get_what_the_citation_file_says():
    archive = json.loads((ROOT / ".zenodo.json").read_text("utf-8"))
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert archive["title"] == cited["title"]
    assert archive["description"].split() == cited["abstract"].split()
    assert archive["license"] == cited["license"]
    assert archive["keywords"] == cited["keywords"]
    assert [a["name"] for a in archive["creators"]] == [a["name"] for a in cited["authors"]]
    papers = [each["identifier"] for each in archive["related_identifiers"]]
    assert papers == [each["identifiers"][0]["value"] for each in cited["references"]]


def test_every_test_that_the_theory_names_exists():
    named = 0
    for page in (DOCS / "theory").glob("*.md"):
        for line in TEXTS[page].splitlines():
            files = [ROOT / file for file in re.findall(r"`(tests/[\w/]+\.py)", line)]
            assert all(file.exists() for file in files), line
            sources = [f.read_text("utf-8") for f in files or (ROOT / "tests").rglob("test_*.py")]
            for name in re.findall(r"`(test_\w+)`", line):
                named += 1
                assert any(f"def {name}(" in source for source in sources), name
    assert named > 30
