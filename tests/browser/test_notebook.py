"""The planner in the frame that a notebook shows."""

import pytest

import heliostat as hs
from heliostat.units import format_quantity
from tests.browser.page import settle
from tests.support.hall import hall

pytestmark = pytest.mark.browser


def test_the_page_works_in_the_frame_of_a_notebook(chromium):
    planner = hs.plan(hall())
    page = chromium.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        page.set_content(planner._repr_html_())
        frame = page.frame_locator("iframe")
        settle(page.frames[1])
        row = frame.locator("#numbers tr").nth(1)
        assert row.locator("th").text_content() == "Position error bound (PEB)"
        assert row.locator("td").text_content() == format_quantity(
            hs.pose_bounds(hall()).peb, "length"
        )
        frame.locator("#takeaway summary").click()
        frame.get_by_role("button", name="Copy: Python").click()
        frame.get_by_text("Selected").or_(frame.get_by_text("Copied")).wait_for()
    finally:
        planner.stop()
        page.close()
    assert errors == []
