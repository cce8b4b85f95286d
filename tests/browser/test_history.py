"""Undo, redo, and the address of the page."""

import re
import time

import pytest
from playwright.sync_api import expect

from tests.browser.page import drag, handle, position, settle

pytestmark = pytest.mark.browser

STATE = "import('/static/state.js').then(({ plan }) => plan)"


def test_everything_is_undone_to_the_first_state_and_done_again(opened, planner):
    page = opened(planner)
    settle(page)
    page.wait_for_timeout(200)
    first = page.evaluate(STATE)
    undo, redo = (page.get_by_role("button", name=name, exact=True) for name in ("Undo", "Redo"))
    assert undo.is_disabled()
    drag(page, "user", (1, 0))  # one drag is one step
    settle(page)
    handle(page, "surface").focus()
    page.keyboard.press("ArrowUp")
    settle(page)
    page.click('#fields summary:has-text("base station")')
    power = page.locator('[id="field-base_station.power"]')
    power.fill("23 dBm")
    power.press("Enter")
    settle(page)
    page.select_option("#quantity", "rate")
    settle(page)
    page.fill("#threshold", "5 Mbit/s")
    page.press("#threshold", "Enter")
    page.select_option("#denominator", "whole")
    page.locator("#plan").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")  # pins a place
    last = page.evaluate(STATE)
    for _ in range(7):
        assert undo.is_enabled()
        page.keyboard.press("Control+z")
    settle(page)
    assert undo.is_disabled()
    assert page.evaluate(STATE) == first
    assert position(page, "user") == [8, 6, 1]
    assert power.input_value() == "20 dBm"
    assert page.locator("#quantity").input_value() == "peb"
    for _ in range(6):
        page.keyboard.press("Control+Shift+z")
    redo.click()
    settle(page)
    assert redo.is_disabled()
    assert page.evaluate(STATE) == last
    assert power.input_value() == "23 dBm"
    undo.click()
    handle(page, "user").focus()
    page.keyboard.press("ArrowRight")  # another step replaces the undone one
    assert redo.is_disabled()


def test_the_plan_counts_as_computed_only_with_its_objects_at_their_places(opened, planner):
    page = opened(planner)
    settle(page)
    drag(page, "user", (1, 0))
    settle(page)

    def answer_late(route):
        time.sleep(1)
        route.continue_()

    page.route("**/scene", answer_late)
    page.keyboard.press("Control+z")
    settle(page)
    assert position(page, "user") == [8, 6, 1]


def test_text_that_is_not_entered_keeps_the_browsers_undo(opened, planner):
    page = opened(planner)
    settle(page)
    drag(page, "user", (1, 0))
    settle(page)
    moved = position(page, "user")
    page.focus("#threshold")
    page.keyboard.type("5")
    page.keyboard.press("Control+z")
    assert position(page, "user") == moved


def test_a_reloaded_or_shared_address_shows_an_equal_page(opened, planner):
    page = opened(planner)
    settle(page)
    page.get_by_role("button", name="Keep as A").click()
    drag(page, "base_station", (-1, 1))
    settle(page)
    page.select_option("#quantity", "snr")
    page.select_option("#steering", "fixed")
    settle(page)
    page.click("#zoom-in")
    page.click("#map-view")
    settle(page)
    page.fill("#threshold", "3 dB")
    page.press("#threshold", "Enter")
    page.select_option("#denominator", "whole")
    page.locator("#plan").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")  # pins a place
    page.get_by_role("button", name="B / A").click()
    page.wait_for_url(re.compile("ratio"))
    settle(page)
    parts = ["#numbers", "#pins", "#share", "#scale-label", "#ticks", "#legend", "#map-buttons"]

    def shown(of):
        expect(of.locator("#scale-label")).to_contain_text("B relative to A")
        expect(of.locator("#map-buttons [role=status]")).to_have_text("")  # A is computed
        of.click("#fit")  # the scale is not a part of the state
        return [of.locator(part).inner_text() for part in parts]

    state, text = page.evaluate(STATE), shown(page)
    assert [*state["overrides"], *state["other"]["overrides"]] == ["base_station.position"]
    assert None not in (state["area"], state["steering"], state["other"])
    assert state["whole"]
    assert len(state["pins"]) == 1
    page.route("**/start", lambda route: (time.sleep(0.4), route.continue_()))  # a slow start
    page.reload()
    settle(page)
    other = opened(page.url)
    settle(other)
    for each in (page, other):
        assert shown(each) == text
        assert each.evaluate(STATE) == state
        assert each.locator("#threshold").input_value() == "3.0 dB"
    other.evaluate("location.hash = 'scenario=hall&quantity=reb'")  # a link that is followed
    other.wait_for_selector("#plan.stale")
    settle(other)
    assert position(other, "base_station") == [10, -5, 8]
    assert other.locator("#quantity").input_value() == "reb"


def test_a_part_of_an_address_that_cannot_be_read_is_left_out(opened, planner):
    page = opened(f"{planner}#scenario=hall&area=[1,2]&quantity=rate")
    settle(page)
    assert "The part area of the address" in page.locator("#refused").text_content()
    assert page.locator("#quantity").input_value() == "rate"


def test_an_address_of_a_file_asks_for_it_in_another_tab(opened, planner, files):
    page = opened(planner)
    settle(page)
    page.set_input_files("#file", files / "site.yaml")
    page.wait_for_url(re.compile("site"))
    settle(page)
    page.reload()
    settle(page)
    assert page.locator("#scenario").input_value() == "site"
    other = opened(page.url)
    other.wait_for_selector("#refused:not([hidden])")
    assert "Open that file first." in other.locator("#refused").text_content()
    assert other.locator("#scenario").input_value() == "hall"
