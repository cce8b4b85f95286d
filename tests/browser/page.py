"""What a person does on the page of the planner."""

import os
from pathlib import Path

from playwright.sync_api import expect

from tests.support.hall import HALL

SITE = (
    HALL
    + "obstacles: [{name: block, footprint: [[-4, 8], [4, 8], [4, 10], [-4, 10]], height: 6 m}]\n"
)


def settle(page):
    """Wait until map and numbers are current."""
    page.wait_for_selector("#handles .handle")
    page.wait_for_selector("#plan:not(.stale)", timeout=60_000)  # compiles, the first time
    page.wait_for_selector("#numbers-panel:not(.stale)", timeout=60_000)


def open_file(page, file):
    page.wait_for_selector("#handles .handle")
    page.set_input_files("#file", file)
    expect(page.locator("#scenario")).to_have_value(file.stem)
    settle(page)


def handle(page, key):
    return page.locator(f'#handles [data-key="{key}"]')


def middle(page, key):
    page.locator("#plan").scroll_into_view_if_needed()
    box = handle(page, key).locator(".grip").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def position(page, key):
    inputs = page.locator(f'#objects [data-key="{key}"] input')
    return [float(inputs.nth(i).input_value()) for i in range(3)]


def pixels_per_meter(page):
    (x, _), (x2, _) = middle(page, "surface"), middle(page, "user")
    return (x2 - x) / (position(page, "user")[0] - position(page, "surface")[0])


def drag(page, key, meters, steps=5):
    x, y = middle(page, key)
    scale = pixels_per_meter(page)
    page.mouse.move(x, y)
    page.mouse.down()
    for i in range(1, steps + 1):
        page.mouse.move(x + i / steps * scale * meters[0], y - i / steps * scale * meters[1])
        page.wait_for_timeout(30)
    page.mouse.up()


def value_at(page, x, y):
    """Point at a place on the screen; the value that is shown, its place and the text."""
    page.mouse.move(x, y)
    shown = page.locator("#readout")
    data = shown.evaluate("element => ({...element.dataset})")
    return float(data["value"].replace("Infinity", "inf")), (data["x"], data["y"]), shown


AXE = os.environ.get("AXE_CORE")


def faults_of_access(page):
    """What axe-core finds on the page, and the texts whose contrast it cannot judge.

    It never judges a single character or sign, marks on the map that overlap, and what a table in a
    narrow window does not show.
    """
    page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    return page.evaluate("""async () => {
      const { violations, incomplete } = await axe.run();
      const nodes = (rules) => rules.flatMap(({ id, nodes }) => nodes.map((node) => [id, node]));
      const undecided = nodes(incomplete).filter(([id, { any: [check], target }]) =>
        id === "color-contrast" && !["shortTextContent", "nonBmp"].includes(check.data.messageKey)
        && !document.querySelector(target).closest("#candidates")
        && !(innerWidth < 800 && document.querySelector(target).closest(".scroll, pre")));
      return [...nodes(violations), ...undecided].map(([id, { html }]) => [id, html]);
    }""")
