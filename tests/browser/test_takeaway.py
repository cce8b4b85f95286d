"""Files, report and code that the page offers."""

import contextlib
import io
import json
import re

import numpy as np
import pytest
import xarray as xr
from playwright.sync_api import expect

from heliostat.scenario import parse
from heliostat.units import format_quantity
from tests.browser.page import drag, position, settle, value_at
from tests.support.hall import HALL

pytestmark = pytest.mark.browser


def saved(page, name):
    with page.expect_download() as found:
        page.locator("#takeaway").get_by_role("button", name=name, exact=True).click()
    return found.value


def test_saved_files_and_the_shown_code_give_the_values_of_the_page(
    opened, planner, files, monkeypatch
):
    page = opened(planner)
    settle(page)
    drag(page, "user", (0.5, -1))
    settle(page)
    page.locator("#takeaway summary").focus()
    page.keyboard.press("Enter")
    code = page.get_by_role("region", name="Python")
    expect(code).to_contain_text("user.position")
    box = page.locator("#plan").bounding_box()
    value, (x, y), _ = value_at(page, box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"])

    found = saved(page, "netCDF")
    assert found.suggested_filename == "hall-peb.nc"
    with xr.open_dataset(found.path()) as data:
        there = data["peb"].sel(x=float(x), y=float(y), method="nearest")
        assert float(there) == pytest.approx(value, rel=1e-6)
        assert data["peb"].shape == tuple(
            page.evaluate("""import("/static/state.js").then(
            ({ shown }) => [shown.map.rows, shown.map.columns])""")
        )
    assert saved(page, "PNG").path().read_bytes().startswith(b"\x89PNG")
    assert "<svg" in saved(page, "SVG").path().read_text(encoding="utf-8")
    features = json.loads(saved(page, "GeoJSON").path().read_text(encoding="utf-8"))["features"]
    assert len(features) == len(saved(page, "CSV").path().read_text().splitlines()) - 1
    moved = {"user.position": position(page, "user")}
    text = saved(page, "YAML").path().read_text(encoding="utf-8")
    assert parse(text) == parse(HALL, moved)
    shown = page.locator("#numbers td").nth(1).text_content()
    assert shown in saved(page, "Report").path().read_text(encoding="utf-8")

    monkeypatch.chdir(files)
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code.text_content(), names)
    assert format_quantity(float(printed.getvalue().split()[0]), "length") == shown
    there = names["data"]["peb"].sel(x=float(x), y=float(y), method="nearest")
    np.testing.assert_allclose(there, value, rtol=1e-6)
    command = page.get_by_role("region", name="Command line").text_content()
    assert re.match(r"heliostat map hall.yaml --set 'user.position=", command)
