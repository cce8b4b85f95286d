"""Comparison of two states of a scenario."""

import re

import pytest
from playwright.sync_api import expect

import heliostat as hs
from heliostat.scenario import parse
from heliostat.units import format_quantity
from tests.browser.page import drag, middle, position, settle, value_at
from tests.support.hall import HALL

pytestmark = pytest.mark.browser

AT = "import('/static/state.js').then(({ plan }) => [plan.other, plan.showing])"


def pick(page, name):
    page.get_by_role("group", name="Comparison").get_by_role("button", name=name).click()


def color_at(page, x, y):
    """The color of the map at a place on the screen."""
    return page.evaluate(
        """([x, y]) => {
          const canvas = document.querySelector("#canvas"), box = canvas.getBoundingClientRect();
          const context = new OffscreenCanvas(1, 1).getContext("2d");
          context.drawImage(canvas, box.left - x, box.top - y);
          return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
        }""",
        [x, y],
    )


def test_two_states_and_their_ratio(opened, planner):
    page = opened(planner)
    settle(page)
    page.get_by_role("button", name="Keep as A").click()
    pick(page, "B / A")
    x, y = middle(page, "user")
    place = (x - 60, y + 40)
    expect(page.locator("#legend")).to_contain_text("B is better")
    page.wait_for_timeout(200)
    assert color_at(page, *place) == [247, 247, 247]  # equal: the middle of the scale
    drag(page, "base_station", (-3, 2))
    settle(page)
    pick(page, "B / A")
    value, at, shown = value_at(page, *place)
    user = {"user.position": [*map(float, at), 1.0]}
    moved = {"base_station.position": position(page, "base_station")}
    a, b = hs.pose_bounds(parse(HALL, user)).peb, hs.pose_bounds(parse(HALL, user | moved)).peb
    assert value == pytest.approx(b / a, rel=1e-5)
    assert value != pytest.approx(1, rel=0.02)
    first, second = (format_quantity(each, "length") for each in (a, b))
    assert f"A {first}, B {second}; B relative to A: × " in shown.text_content()
    red, green, _ = color_at(page, *place)
    assert (green > red) == (b < a)

    scales = []
    for name, bound, letter in (("A, the kept", a, "A: "), ("B, the present", b, "B: ")):
        pick(page, name)
        value, there, _ = value_at(page, *place)
        assert (value, there) == (pytest.approx(bound, rel=1e-6), at)
        scales.append(page.locator("#ticks").inner_text())
        assert page.locator("#scale-label").inner_text().startswith(letter)
    assert scales[0] == scales[1]
    assert page.locator("#cdf polyline").count() == 2
    assert re.search(r"% .* in B \(solid\); .* % in A", page.locator("#share").text_content())


def test_a_comparison_is_undone_swapped_and_ended(opened, planner):
    page = opened(planner)
    settle(page)
    page.get_by_role("button", name="Keep as A").click()
    drag(page, "base_station", (-2, 1))
    settle(page)
    moved = position(page, "base_station")
    pick(page, "Swap")
    settle(page)
    assert position(page, "base_station") == [10, -5, 8]
    other, _ = page.evaluate(AT)
    assert other["overrides"] == {"base_station.position": moved}
    page.keyboard.press("Control+z")
    settle(page)
    assert position(page, "base_station") == moved
    pick(page, "End")
    assert page.evaluate(AT) == [None, "present"]
    assert page.locator("#cdf polyline").count() == 1
    page.keyboard.press("Control+z")
    expect(page.locator("#cdf polyline")).to_have_count(2)


def test_the_ratio_of_an_snr_is_in_decibels(opened, planner):
    page = opened(planner)
    settle(page)
    page.select_option("#quantity", "snr")
    settle(page)
    page.get_by_role("button", name="Keep as A").click()
    page.click('#fields summary:has-text("base station")')
    page.fill('[id="field-base_station.power"]', "23 dBm")
    page.press('[id="field-base_station.power"]', "Enter")
    settle(page)
    pick(page, "B / A")
    x, y = middle(page, "user")
    value, _, shown = value_at(page, x - 60, y + 40)
    assert value == pytest.approx(10**0.3, rel=1e-5)  # the SNR is proportional to the power
    assert shown.text_content().endswith("B relative to A: +3.0 dB")
    page.wait_for_timeout(200)
    red, green, _ = color_at(page, x - 60, y + 40)
    assert green > red
