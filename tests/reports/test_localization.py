"""Results of a run against the API; tables, JSON, page and dataset against these results."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

import heliostat as hs
from heliostat.api.localization_evaluation import evaluate_link, evaluate_localization
from heliostat.plots.localization import trade_off_figure
from heliostat.provenance import citation
from heliostat.reports.localization import (
    allocation_rows,
    bounds_rows,
    localization_report,
)
from heliostat.scenario import parse
from tests.support.hall import hall

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def deployment():
    return evaluate_localization(hall(), active_antennas=3, balance=0.4, overrides={"a.b": "<i>"})


@pytest.fixture(scope="module")
def hopeless():
    """One surface configuration and a gain that nobody knows: no bound exists."""
    return evaluate_localization(hall(surface__sweep=[[0, 0]]))


class Page(HTMLParser):
    """What a page shows and what it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.numbers, self.fetched, self.text = {}, [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "data":
            self.numbers[given["id"]] = float(given["value"])
        self.fetched += [given[name] for name in ("src", "href", "srcset", "data") if name in given]

    def handle_data(self, data):
        self.text += data


def page(deployment):
    picture = b"not quite a picture"
    text = localization_report(deployment).html({"Caption & one": picture, "two": picture})
    return Page(text), text


# results


def test_a_deployment_holds_what_the_api_returns(deployment):
    bounds, rate = hs.pose_bounds(hall(), 3), hs.effective_rate(hall(), 3)
    best = hs.allocate_time(hall(), balance=0.4)
    assert (deployment.bounds.peb, deployment.bounds.reb) == (bounds.peb, bounds.reb)
    assert deployment.rate == rate
    assert deployment.allocation.ratio == best.ratio
    assert deployment.allocation.active_antennas == best.active_antennas
    np.testing.assert_array_equal(deployment.trade_off.peb, best.trade_off.peb)


def test_without_a_bound_all_else_is_still_found(hopeless):
    assert hopeless.allocation is None
    assert hopeless.bounds.reason in hopeless.no_allocation
    assert hopeless.rate.eadr == hs.effective_rate(hall(surface__sweep=[[0, 0]])).eadr
    assert np.isinf(hopeless.trade_off.peb).all()
    assert np.isinf(hopeless.area_map.peb).all()


def test_the_default_weight_is_the_apis(hopeless):
    assert hs.allocate_time(hall()).objective == hs.allocate_time(hall(), hopeless.weight).objective


# tables, JSON, page and dataset


def test_json_has_no_infinities_and_says_why(hopeless):
    told = json.loads(json.dumps(localization_report(hopeless).document(), allow_nan=False))
    assert told["peb_m"] is None
    assert told["reason"] == hopeless.bounds.reason
    assert told["allocation"] is None
    assert told["allocation_reason"] == hopeless.no_allocation


def test_every_number_of_the_page_has_an_identifier_of_its_own():
    erring = evaluate_localization(hall(errors__position="10 cm"))
    rows = [line for table in localization_report(erring).tables for line in table.lines]
    shown, _ = page(erring)
    assert len(shown.numbers) == len(rows)
    assert shown.numbers["errors_trials"] == erring.under_errors.trials
    assert shown.numbers["errors_peb_median_m"] == erring.under_errors.peb_median


def test_every_number_of_the_page_is_the_apis(deployment):
    bounds, rate = hs.pose_bounds(hall(), 3), hs.effective_rate(hall(), 3)
    best = hs.allocate_time(hall(), balance=0.4)
    choices, at = best.trade_off, best.active_antennas - 1
    shown, _ = page(deployment)
    expected = {
        "active_antennas": 3,
        "peb_m": bounds.peb,
        "reb_rad": bounds.reb,
        "rank": bounds.rank,
        "eadr_bit_per_s": rate.eadr,
        "eadr_closed_form_bit_per_s": rate.eadr_closed_form,
        "snr_db": 10 * np.log10(rate.snr),
        "time_ratio": rate.time_ratio,
        "best_active_antennas": best.active_antennas,
        "best_peb_m": choices.peb[at],
        "best_reb_rad": choices.reb[at],
        "best_eadr_bit_per_s": choices.eadr[at],
        "best_time_ratio": choices.ratio[at],
        "best_ratio": best.ratio,
        "best_peak_rate_ratio": best.peak_rate_ratio,
        "best_kkt_residual": best.kkt_residual,
        "best_dominated_choices": choices.dominated.sum(),
    }
    assert shown.numbers == pytest.approx(expected, rel=1e-12)


def test_the_texts_of_rows_say_what_their_values_are(deployment):
    for row in bounds_rows(deployment) + allocation_rows(deployment):
        number, unit = re.match(r"(\S+) ?(\S*)", row.text).groups()
        scale = {"µm": 1e-6, "mm": 1e-3, "cm": 1e-2, "Mbit/s": 1e6, "deg": np.pi / 180}
        assert float(number) * scale.get(unit, 1) == pytest.approx(row.value, rel=1e-2), row


def test_the_page_fetches_nothing_and_escapes_what_it_shows(deployment):
    shown, text = page(deployment)
    assert len(shown.fetched) == 2
    assert all(source.startswith("data:image/png;base64,") for source in shown.fetched)
    assert "@import" not in text
    assert "url(" not in text
    assert "<script" not in text
    assert "a.b=<i>" in shown.text
    assert "Caption & one" in shown.text
    assert hall().dump() in shown.text
    assert citation() in shown.text


def test_the_page_tells_why_there_is_no_bound(hopeless):
    shown, _ = page(hopeless)
    assert hopeless.no_allocation in shown.text
    assert "no bound exists" in shown.text
    assert not any(name.startswith("best_") for name in shown.numbers)


def test_pilots_that_leave_no_time_for_data_are_told(deployment):
    told = "Rate: the pilots of 4 active antennas leave no time for data"
    full = evaluate_localization(hall(frame__period=None))
    assert full.rate.eadr == pytest.approx(0, abs=1e-3)
    assert any(note.startswith(told) for note in localization_report(full).notes)
    assert not any(note.startswith("Rate") for note in localization_report(deployment).notes)


def test_the_dataset_has_units_everywhere_and_its_origin(deployment, tmp_path):
    localization_report(deployment).write(tmp_path)
    with xr.open_dataset(tmp_path / "results.nc", engine="h5netcdf") as dataset:
        variables = {**dataset.data_vars, **dataset.coords}
        without = {name for name, variable in variables.items() if "units" not in variable.attrs}
        assert without == {"pose", "pose_too"}
        np.testing.assert_array_equal(dataset.map_peb, deployment.area_map.peb)
        np.testing.assert_array_equal(dataset.information, deployment.bounds.information)
        assert parse(dataset.attrs["scenario_text"]).dump() == hall().dump()
        assert json.loads(dataset.attrs["overrides"]) == {"a.b": "<i>"}


def entries(bibtex):
    """Entries of a BibTeX file by key, as one line each."""
    found = re.findall(r"@\w+\{(\w+),(.*?)\n\}", bibtex, flags=re.DOTALL)
    return {key: " ".join(body.split()) for key, body in found}


def test_what_is_cited_is_what_the_documentation_lists():
    cited = entries(citation())
    listed = entries((ROOT / "docs" / "references.bib").read_text(encoding="utf-8"))
    for paper in ("wang2021", "fang2024"):
        assert cited[paper] == listed[paper]
    stated = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert f"title = {{{stated['title']}}}" in cited["heliostat"]
    assert stated["version"] == hs.__version__
    assert f"version = {{{hs.__version__}}}" in cited["heliostat"]


def test_an_enumerated_optimum_has_no_conditions():
    # Truth: the bound over several paths has no closed form in the share.
    several = evaluate_link(hall(link__direct="clear"))
    names = {row.name for row in allocation_rows(several)}
    assert names.isdisjoint({"ratio", "kkt_residual"})
    assert {"ratio", "kkt_residual"} < {row.name for row in allocation_rows(evaluate_link(hall()))}


def test_without_power_there_is_no_ratio():
    box = {"name": "box", "footprint": [[4, 3], [5, 3], [5, 5], [4, 5]], "height": "20 m"}
    dark = evaluate_link(hall(obstacles=[box], link__direct="blocked"))
    assert {row.name: row.text for row in bounds_rows(dark)}["snr"] == "no power"
    figure = trade_off_figure(dark.trade_off, None, dark.no_allocation)  # warnings are errors
    assert all(low < high for low, high in (axes.get_xlim() for axes in figure.axes))


def test_several_users_have_a_table_of_their_own():
    # Truth: the scenario with each user alone. A wall hides the surface from the second.
    users = [
        {"name": "a", "position": [8, 6, 1], "heading": "30 deg", "antennas": 2},
        {"position": [9, -4, 2], "heading": "70 deg", "antennas": 2},
    ]
    wall = {"name": "wall", "footprint": [[6, -4], [7, -4], [7, -2], [6, -2]], "height": "5 m"}
    changes = {"obstacles": [wall], "link__direct": "blocked"}
    found = evaluate_localization(hall(user=None, users=users, **changes), points=4)
    report = localization_report(found)
    document = report.document()
    alone = hs.pose_bounds(hall(user=users[0], **changes))
    assert document["peb_m"] == alone.peb
    first, second = document["users"]
    assert (first["name"], first["peb_m"], first["paths"]) == ("a", alone.peb, 1)
    assert (second["name"], second["position_m"]) == ("user 2", [9, -4, 2])
    assert (second["peb_m"], second["snr_db"], second["paths"]) == (None, None, 0)
    assert second["snr_by_path_db"] == {"the surface": None}
    table = next(table for table in report.tables if table.title == "Users")
    assert [line[0] for line in table.texts] == ["a", "user 2"]
    assert [line[-1] for line in table.texts] == ["surface", "none"]
    assert report.tables[0].aside == "of a"
    np.testing.assert_array_equal(report.dataset.user_paths, [1, 0])
    assert float(report.dataset.user_peb[0]) == alone.peb
    Page(report.html({"scene": b""}))


def test_one_user_has_no_such_table(deployment):
    report = localization_report(deployment)
    assert report.document()["users"] is None
    assert not next(table for table in report.tables if table.title == "Users").lines
