"""Which of several answers the page waits for, when the planner answers slowly."""

import time

import pytest

import heliostat as hs
from heliostat.scenario import parse
from heliostat.units import format_quantity
from tests.browser.page import pixels_per_meter, settle
from tests.support.hall import HALL

pytestmark = pytest.mark.browser

SLOW_NUMBERS = """const asked = window.fetch;
window.fetch = async (path, options) => {
  if (path === "/numbers") await new Promise((done) => setTimeout(done, 1500));
  return asked(path, options);
}; null"""
SET = """(power) =>
  import("/static/state.js").then(({ edit }) => edit({"base_station.power": power}))"""


def test_preparing_a_drag_does_not_replace_numbers_that_are_waited_for(opened, planner):
    page = opened(planner)
    settle(page)
    page.wait_for_timeout(1000)
    page.evaluate(SLOW_NUMBERS)
    page.evaluate(SET, "23 dBm")
    page.wait_for_timeout(300)  # these numbers are under way; those for 26 dBm will have to wait
    page.evaluate(SET, "26 dBm")
    page.wait_for_selector("#numbers-panel:not(.stale)", timeout=10_000)
    bound = hs.pose_bounds(parse(HALL, {"base_station.power": "26 dBm"})).peb
    assert format_quantity(bound, "length") in page.locator("#numbers").text_content()


def test_numbers_are_not_current_before_those_of_a_new_pin(opened, planner):
    page = opened(planner)
    settle(page)
    page.evaluate(SLOW_NUMBERS)
    page.locator("#plan").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")  # pins a place
    page.wait_for_selector("#numbers-panel.stale", timeout=1000)
    assert "…" in page.locator("#pins").text_content()
    settle(page)
    assert "…" not in page.locator("#pins").text_content()


def test_all_is_in_view_where_the_map_comes_before_the_scene(opened, planner):
    page = opened(planner)
    settle(page)
    page.route("**/scene", lambda route: (time.sleep(1.5), route.continue_()))
    page.reload()
    settle(page)
    scale = pixels_per_meter(page)
    page.click("#show-all")
    page.wait_for_timeout(100)
    assert pixels_per_meter(page) == pytest.approx(scale, rel=0.01)
