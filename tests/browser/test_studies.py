"""Placement and sweeps on the page."""

import re

import pytest
from playwright.sync_api import expect

import heliostat as hs
from heliostat.scenario import parse
from heliostat.units import format_quantity
from tests.browser.conftest import running
from tests.browser.page import position, settle
from tests.support.hall import HALL

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(files):
    """Address of a planner that was started with the hall and a block in it."""
    with running(str(files / "site.yaml")) as (_, address):
        yield address


def unfold(page, name):
    page.locator(f"#{name} > summary").click()


def prepare_placement(page):
    """Ask for places on the southern side of the block only."""
    settle(page)
    unfold(page, "placement")
    page.fill("#place-goal", "peb below 3 m")
    page.get_by_role("button", name="None", exact=True).click()
    start = page.get_by_role("button", name="Where should it go?", exact=True)
    assert start.is_disabled()
    assert page.locator("#place-off").text_content() == "Mark at least one wall."
    page.get_by_role("checkbox", name="block/south").check()
    return start


def test_a_ranked_place_is_adopted_by_one_click_and_undone(opened, site):
    page = opened(site)
    prepare_placement(page).click()
    rows = page.locator("#placement table tr")
    expect(rows.nth(1)).to_contain_text("block/south", timeout=60_000)
    marks = page.get_by_role("group", name="Ranked places").get_by_role("button")
    assert marks.count() == rows.count() - 1
    before = position(page, "surface")
    marks.nth(1).click()
    settle(page)
    x, y, z = position(page, "surface")
    assert rows.nth(2).locator("td").nth(3).text_content() == f"{x:g} m, {y:g} m, {z:g} m"
    assert y == 8
    page.keyboard.press("Control+z")
    settle(page)
    assert position(page, "surface") == before
    page.get_by_role("button", name="Adopt place 1", exact=True).last.focus()
    page.keyboard.press("Enter")
    settle(page)
    assert position(page, "surface")[1] == 8


def test_a_new_surface_is_added_and_another_place_tried(opened, site):
    page = opened(site)
    start = prepare_placement(page)
    page.select_option("#place-surface", "new")
    start.click()
    rows = page.locator("#placement table tr")
    expect(rows.nth(2)).to_contain_text("block/south", timeout=60_000)
    for i in (1, 2):
        page.get_by_role("button", name=f"Adopt place {i}", exact=True).last.click()
        settle(page)
        expect(page.locator("#handles .surface")).to_have_count(2)
        x, y, z = position(page, "surfaces.1")
        place = rows.nth(i).locator("td").nth(3).text_content()
        found = [float(each.removesuffix(" m")) for each in place.split(", ")]
        assert found == pytest.approx([x, y, z], abs=0.006)
        assert y == 8
        assert position(page, "surfaces.0") == [0, 0, 3]
    for _ in range(2):
        page.keyboard.press("Control+z")
    settle(page)
    expect(page.locator("#handles .surface")).to_have_count(1)


def test_a_placement_is_cancelled(opened, site):
    page = opened(site)
    settle(page)
    unfold(page, "placement")
    page.get_by_role("button", name="Where should it go?", exact=True).click()
    page.get_by_role("button", name="Cancel: Where should it go?").click()
    expect(page.locator("#placement .buttons [role=status]")).to_have_text("Canceled")
    assert page.get_by_role("button", name="Where should it go?", exact=True).is_enabled()
    assert page.locator("#placement table").count() == 0


def test_a_scenario_without_walls_says_why_there_is_no_placement(opened, planner):
    page = opened(planner)
    settle(page)
    unfold(page, "placement")
    assert page.get_by_role("button", name="Where should it go?", exact=True).is_disabled()
    assert "has no obstacles, so there are no walls" in page.locator("#place-off").text_content()


def test_a_curve_over_a_field_has_the_bounds_of_the_api(opened, planner):
    page = opened(planner)
    settle(page)
    unfold(page, "sweep")
    assert page.locator("#sweep-field").input_value() == "base_station.power"
    for label, value in (("From", "10 dBm"), ("To", "20 dBm"), ("Values", "3")):
        page.locator("#sweep").get_by_label(label).fill(value)
    page.get_by_role("button", name="Draw the curve", exact=True).click()
    expect(page.locator("#curve circle")).to_have_count(3, timeout=60_000)
    unfold(page, "curve details")
    assert "[dBm]" in page.locator("#curve .axis").text_content()
    rows = page.locator("#curve tr")
    for i, power in enumerate(("10 dBm", "15 dBm", "20 dBm")):
        assert rows.nth(i).locator("th").text_content() == power
        bound = hs.pose_bounds(parse(HALL, {"base_station.power": power})).peb
        number, unit = rows.nth(i).locator("td").text_content().split()
        expected, same = format_quantity(bound, "length").split()
        assert unit == same
        assert float(number) == pytest.approx(float(expected), rel=5e-3)


def test_a_curve_of_an_impossible_value_says_why(opened, planner):
    page = opened(planner)
    settle(page)
    unfold(page, "sweep")
    page.locator("#sweep").get_by_label("From").fill("10 m")
    page.locator("#sweep").get_by_label("To").fill("20 m")
    page.get_by_role("button", name="Draw the curve", exact=True).click()
    page.wait_for_selector("#refused:not([hidden])")
    assert re.search("is a length, not a power", page.locator("#refused").text_content())
