"""The panels below the map, all open at once: width and accessibility."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import running
from tests.browser.page import AXE, faults_of_access, handle, settle

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(files):
    with running(str(files / "site.yaml")) as (_, address):
        yield address


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_open_panels_fit_the_window_and_keep_nobody_out(opened, site, width, scheme):
    page = opened(site, viewport={"width": width, "height": 900}, color_scheme=scheme)
    settle(page)
    page.get_by_role("button", name="Keep as A").click()
    handle(page, "base_station").focus()
    page.keyboard.press("Shift+ArrowLeft")
    settle(page)
    page.get_by_role("button", name="B / A").click()
    for name in ("placement", "sweep", "takeaway"):
        page.locator(f"#{name} > summary").focus()
        page.keyboard.press("Enter")
    page.get_by_role("button", name="None", exact=True).click()
    page.get_by_role("checkbox", name="block/south").check()
    page.get_by_role("button", name="Where should it go?", exact=True).press("Enter")
    expect(page.locator("#placement table tr").nth(1)).to_be_visible(timeout=60_000)
    page.get_by_label("Values").fill("3")
    page.get_by_role("button", name="Draw the curve", exact=True).press("Enter")
    page.locator("#curve summary").click(timeout=60_000)
    expect(page.get_by_role("region", name="Python", exact=True)).not_to_be_empty()
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if AXE:
        assert faults_of_access(page) == []
