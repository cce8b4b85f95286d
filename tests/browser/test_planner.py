"""The planner, used as a person would: by mouse, keys and touch."""

import math
import random
import re

import pytest
from playwright.sync_api import expect

import heliostat as hs
from heliostat.scenario import parse
from heliostat.units import format_quantity
from tests.browser.conftest import running
from tests.browser.page import (
    AXE,
    SITE,
    drag,
    faults_of_access,
    handle,
    middle,
    open_file,
    pixels_per_meter,
    position,
    settle,
    value_at,
)
from tests.support.hall import HALL

pytestmark = pytest.mark.browser


def test_a_drag_moves_the_object_and_the_map_shows_its_bounds(opened, planner):
    page = opened(planner)
    settle(page)
    drag(page, "base_station", (-2, 1.5))
    settle(page)
    moved = position(page, "base_station")
    assert moved == pytest.approx([8, -3.5, 8], abs=0.1)
    assert [round(c, 2) for c in moved] == moved
    x, y = middle(page, "user")
    value, place, shown = value_at(page, x - 60, y + 40)
    there = {"base_station.position": moved, "user.position": [*map(float, place), 1.0]}
    expected = hs.pose_bounds(parse(HALL, there)).peb
    assert value == pytest.approx(expected, rel=1e-6)
    number, unit = re.search(r"\(PEB\) (\S+) (\S+)$", shown.text_content()).groups()
    assert f"{number} {unit}" == format_quantity(expected, "length")
    page.mouse.click(x - 60, y + 40)
    pinned = page.locator("#pins td")
    expect(pinned).to_have_count(6)
    place = [float(each.removesuffix(" m")) for each in pinned.first.text_content().split(", ")]
    expected = hs.pose_bounds(parse(HALL, there | {"user.position": place})).peb
    assert pinned.nth(1).text_content() == format_quantity(expected, "length")


def test_keys_move_by_a_tenth_and_with_shift_by_a_meter(opened, planner):
    page = opened(planner)
    settle(page)
    handle(page, "user").focus()
    for key in ("ArrowRight", "Shift+ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    settle(page)
    assert position(page, "user") == pytest.approx([8.1, 6.9, 1])
    label = handle(page, "user").get_attribute("aria-label")
    assert label.startswith("user, x 8.1 m, y 6.9 m, z 1 m.")


def fingers(page):
    """Function that sends touch events to the page."""
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        session.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": px, "y": py} for px, py in points]},
        )

    return touch


def free_place(page):
    """A place on the map that is at least 60 pixels from every object and from the border."""
    box = page.locator("#plan").bounding_box()
    objects = [middle(page, key) for key in ("base_station", "surface", "user")]
    places = [
        (box["x"] + column / 10 * box["width"], box["y"] + row / 10 * box["height"])
        for column in range(2, 9)
        for row in range(2, 9)
    ]
    return max(places, key=lambda place: min(math.dist(place, each) for each in objects))


def test_two_fingers_zoom_by_the_ratio_of_their_distances(opened, planner):
    page = opened(planner, has_touch=True, viewport={"width": 600, "height": 900})
    settle(page)
    before, touch = pixels_per_meter(page), fingers(page)
    x, y = free_place(page)
    touch("touchStart", (x - 20, y))
    touch("touchStart", (x - 20, y), (x + 20, y))
    for i in range(1, 6):
        touch("touchMove", (x - 20 - 2 * i, y), (x + 20 + 2 * i, y))  # 40 to 60 pixels apart
    touch("touchEnd")
    page.wait_for_timeout(100)
    assert pixels_per_meter(page) == pytest.approx(1.5 * before, rel=0.02)
    assert page.evaluate("import('/static/state.js').then(({ plan }) => plan.pins)") == []


def test_the_ruler_measures_meters(opened, planner):
    page = opened(planner)
    settle(page)
    scale, at = pixels_per_meter(page), middle(page, "user")
    page.click("#ruler")
    x, y = free_place(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y - 40, steps=3)
    page.mouse.up()
    found = re.fullmatch(r"Ruler: (\S+) m", page.locator("#readout").text_content())
    assert float(found[1]) == pytest.approx(50 / scale, abs=0.01)
    assert middle(page, "user") == at  # the view does not move
    page.click("#ruler")
    assert page.locator("#ruler").get_attribute("aria-pressed") == "false"


def test_a_finger_moves_an_object(opened, planner):
    page = opened(planner, has_touch=True, viewport={"width": 400, "height": 800})
    settle(page)
    x, y = middle(page, "user")
    scale = pixels_per_meter(page)
    touch = fingers(page)
    touch("touchStart", (x, y))
    for i in range(1, 6):
        touch("touchMove", (x - i * scale / 5, y))
    touch("touchEnd")
    settle(page)
    assert position(page, "user") == pytest.approx([7, 6, 1], abs=0.1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_surface_snaps_to_a_wall_and_faces_away_from_it(opened, planner, files):
    page = opened(planner)
    open_file(page, files / "site.yaml")
    drag(page, "surface", (2, 7.9))
    settle(page)
    assert position(page, "surface") == pytest.approx([2, 8, 3], abs=0.1)
    assert position(page, "surface")[1] == 8  # on the southern wall
    page.click('#fields summary:has-text("surface")')
    azimuth = page.locator('[id="field-surface.azimuth"]')
    assert azimuth.input_value().removesuffix(" deg") in ("-90", "-90.0")


def test_an_invalid_place_keeps_the_last_map_and_says_why_at_the_object(opened, planner):
    page = opened(planner)
    settle(page)
    drag(page, "user", (-12, 0))
    page.wait_for_selector(".handle.faulty")
    fault = page.locator('#objects [data-key="user"] .fault')
    assert "is behind the surface" in fault.text_content()
    assert "is behind the surface" in page.locator("#status").text_content()
    assert "not current" in page.locator("#numbers-title").inner_text()
    page.click('#fields summary:has-text("user")')
    assert "is behind" in page.locator('[id="fault-user.position"]').text_content()
    drag(page, "user", (12, 0))
    settle(page)
    assert fault.text_content() == ""
    assert page.locator("#problems li").count() == 0


def test_a_field_refuses_what_the_checker_refuses(opened, planner):
    page = opened(planner)
    settle(page)
    page.click('#fields summary:has-text("base station")')
    power = page.locator('[id="field-base_station.power"]')
    power.fill("20 m")
    power.press("Tab")
    expect(page.locator('[id="fault-base_station.power"]')).not_to_be_empty()
    with pytest.raises(hs.ScenarioError) as refusal:
        parse(HALL, {"base_station.power": "20 m"})
    sentence = page.locator('[id="fault-base_station.power"]').text_content()
    assert sentence == f"{refusal.value.problems[0].sentence}."
    before = page.locator("#numbers td").nth(1).text_content()
    power.fill("26 dBm")
    power.press("Tab")
    settle(page)
    after = page.locator("#numbers td").nth(1).text_content()
    assert after != before


def test_the_share_below_the_threshold_is_counted(opened, planner):
    page = opened(planner)
    settle(page)
    page.fill("#threshold", "1 m")
    page.press("#threshold", "Enter")
    counts = """async () => {
      const { plan, shown } = await import("/static/state.js");
      const served = [...shown.map.values].filter((_, i) => shown.map.flags[i] & 1);
      return [served.filter((v) => v < 1).length, served.length, shown.map.values.length];
    }"""
    below, served, whole = page.evaluate(counts)
    assert 0 < below < served < whole
    share = page.locator("#share")
    assert f"({below} of {served} cells) below 1 m" in share.text_content()
    page.select_option("#denominator", "whole")
    assert f"of the whole area ({below} of {whole} cells)" in share.text_content()
    page.locator("#limit").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#limit").get_attribute("aria-valuetext") != "1 m"


def test_a_missing_bound_says_why(opened, planner):
    page = opened(planner)
    settle(page)
    page.click('#fields summary:has-text("surface")')
    sweep = page.locator('[id="field-surface.sweep"]')
    sweep.fill("[[0, 0]]")
    sweep.press("Tab")
    settle(page)
    assert "no bound exists" in page.locator("#legend").text_content()
    x, y = middle(page, "user")
    value, _, _ = value_at(page, x + 40, y)
    assert value == math.inf
    expect(page.locator("#readout")).to_contain_text("do not change the received pilots")


def test_two_tabs_do_not_disturb_each_other(opened, planner):
    first, second = opened(planner), opened(planner)
    settle(first), settle(second)
    for _ in range(3):
        drag(first, "user", (0.5, 0), steps=2)
        drag(second, "base_station", (0, 0.5), steps=2)
    settle(first), settle(second)
    assert position(first, "base_station") == [10, -5, 8]
    assert position(second, "user") == [8, 6, 1]
    bounds = hs.pose_bounds(parse(HALL, {"user.position": position(first, "user")}))
    assert f"{bounds.peb:.3g} m" in first.locator("#numbers").text_content()


def test_a_page_whose_planner_was_killed_says_so(opened, files):
    with running(str(files / "hall.yaml")) as (process, address):
        page = opened(address, checked=False)
        settle(page)
        process.kill()
        page.wait_for_selector("#gone:not([hidden])")
        assert "has ended" in page.locator("#gone").text_content()


def test_an_opened_file_is_checked_and_a_saved_one_is_the_scenario(opened, planner, files):
    page = opened(planner)
    settle(page)
    page.set_input_files("#file", files / "wrong.yaml")
    page.wait_for_selector("#refused:not([hidden])")
    assert "is a length, not a power" in page.locator("#refused").text_content()
    page.click("#refused button")
    open_file(page, files / "site.yaml")
    with page.expect_download() as saved:
        page.click("#save")
    text = saved.value.path().read_text(encoding="utf-8")
    assert parse(text) == parse(SITE)


def test_a_target_is_moved_under_the_held_design(opened, planner, files):
    page = opened(planner)
    open_file(page, files / "yard.yaml")
    assert "for this target" in page.locator("#design-text").text_content()
    handle(page, "target").focus()
    page.keyboard.press("Shift+ArrowUp")
    settle(page)
    assert "earlier place" in page.locator("#design-text").text_content()
    again = page.get_by_role("button", name="Design again", exact=True)
    again.click()
    expect(page.locator("#design-text")).to_contain_text("for this target")
    settle(page)
    page.keyboard.press("Control+z")  # a design is a step of its own
    settle(page)
    assert "earlier place" in page.locator("#design-text").text_content()


def test_a_design_is_canceled(opened, planner, files):
    page = opened(planner)
    open_file(page, files / "yard.yaml")
    handle(page, "target").focus()
    page.keyboard.press("Shift+ArrowDown")
    settle(page)
    page.get_by_role("button", name="Design again", exact=True).click()
    page.get_by_role("button", name="Cancel: Design again").click()
    expect(page.locator("#design [role=status]")).to_have_text("Canceled")
    assert "earlier place" in page.locator("#design-text").text_content()
    assert page.get_by_role("button", name="Design again", exact=True).is_enabled()


def test_two_hundred_random_actions_leave_no_error(opened, planner):
    page = opened(planner)
    settle(page)
    chance = random.Random(4)
    keys = ["user", "surface", "base_station"]
    box = page.locator("#plan").bounding_box()

    def somewhere():
        return (
            box["x"] + chance.uniform(5, box["width"] - 5),
            box["y"] + chance.uniform(5, box["height"] - 5),
        )

    def drag_anything():
        page.mouse.move(*somewhere())
        page.mouse.down()
        page.mouse.move(*somewhere())
        page.mouse.up()

    def drag_object():
        target = middle(page, chance.choice(keys))
        page.mouse.move(*target)
        page.mouse.down()
        page.mouse.move(*somewhere(), steps=3)
        page.mouse.up()

    def press():
        handle(page, chance.choice(keys)).focus()
        page.keyboard.press(chance.choice(["ArrowUp", "ArrowLeft", "Shift+ArrowRight"]))

    def field():
        key, value = chance.choice(
            [
                ("base_station.power", "25 dBm"),
                ("surface.rows", "x"),
                ("surface.rows", "4"),
                ("user.heading", "-40 deg"),
                ("user.antennas", "0"),
                ("user.antennas", ""),
            ]
        )
        page.evaluate(
            "([key, value]) => import('/static/state.js').then(({edit}) => edit({[key]: value}))",
            [key, value],
        )

    def quantity():
        options = page.locator("#quantity option")
        if options.count():
            page.select_option("#quantity", index=chance.randrange(options.count()))

    def button():
        names = ["#zoom-in", "#zoom-out", "#show-all", "#map-view", "#ruler", "#fit", "#theme"]
        page.click(chance.choice(names))

    def step():
        page.keyboard.press(chance.choice(["Control+z", "Control+z", "Control+Shift+z"]))

    def compare():
        shown = page.locator("#map-buttons button:visible:enabled")
        if shown.count():
            shown.nth(chance.randrange(shown.count())).click()

    actions = [drag_anything, drag_object, press, field, quantity, button, step, compare]
    for _ in range(200):
        chance.choices(actions, weights=[3, 4, 4, 2, 1, 2, 3, 2])[0]()
    page.click("#show-all")
    page.wait_for_timeout(500)


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(opened, planner, width, scheme, tmp_path):
    page = opened(planner, viewport={"width": width, "height": 900}, color_scheme=scheme)
    settle(page)
    page.screenshot(path=tmp_path / f"planner-{width}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    order = "[...document.querySelectorAll('#plan, #numbers')].map(e => e.getBoundingClientRect())"
    plan, numbers = page.evaluate(f"{order}.map(r => [r.left, r.bottom, r.top])")
    if width == 400:
        assert numbers[2] > plan[1]


@pytest.mark.skipif(not AXE, reason="AXE_CORE names no axe.min.js; make test-browser fetches it")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_keeps_people_out(opened, planner, scheme):
    # All of the start page is in the window: what is partly outside cannot be judged.
    page = opened(planner, color_scheme=scheme, viewport={"width": 1280, "height": 1300})
    settle(page)
    x, y = middle(page, "user")
    page.mouse.click(x - 60, y)
    settle(page)
    for group in page.query_selector_all("#fields summary"):
        group.click()
    assert faults_of_access(page) == []
    drag(page, "user", (-12, 0))
    page.wait_for_selector("#problems li")
    page.click("#tour")
    assert faults_of_access(page) == []
    page.click("text=End tour")
    page.select_option("#scenario", "")
    assert faults_of_access(page) == []
