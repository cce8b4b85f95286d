"""The planner in Debian's Chromium: one server for most tests, a fresh page for each test."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.page import SITE
from tests.support.hall import HALL
from tests.support.sensing_designs import YARD

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
QUIET = ["disable-gpu", "disable-background-networking", "disable-component-update"]
QUIET += ["disable-sync", "no-first-run", "no-sandbox"]


@pytest.fixture(scope="session")
def chromium():
    """The browser."""
    if PROGRAM is None:
        pytest.fail("Chromium is missing; install the package chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=PROGRAM, args=[f"--{name}" for name in QUIET]
        )
        yield browser
        browser.close()


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """A planner in a process of its own, and its address; its log must stay empty."""
    process = subprocess.Popen(
        [sys.executable, "-m", "heliostat", "plan", *arguments, "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "default"},
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, process.stderr.read()
        yield process, found[0]
    finally:
        process.terminate()
        _, log = process.communicate(timeout=10)
    assert log.strip() in ("", "Stopped.")


class Watched:
    """A page that records errors and the addresses it asks."""

    def __init__(self, context, address):
        self.page, self.address = context.new_page(), address.partition("#")[0]
        self.errors, self.asked = [], []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._note)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def _note(self, message):
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def checked(self):
        assert self.errors == []
        assert all(url.startswith((self.address, "blob:", "data:")) for url in self.asked)


@pytest.fixture
def opened(chromium):
    """Function that opens a page; at the end no page may have an error or a foreign request."""
    contexts, pages = [], []

    def open_page(address, checked=True, **options):
        options = {"viewport": {"width": 1280, "height": 900}} | options
        contexts.append(chromium.new_context(**options))
        pages.append((Watched(contexts[-1], address), checked))
        page = pages[-1][0].page
        page.set_default_timeout(20_000)
        return page

    yield open_page
    for watched, checked in pages:
        if checked:
            watched.checked()
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planner")
    for name, text in (("hall", HALL), ("site", SITE), ("yard", YARD)):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    (folder / "wrong.yaml").write_text(HALL.replace("20 dBm", "20 m"), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def planner(files):
    """Address of a planner that was started with the hall."""
    with running(str(files / "hall.yaml")) as (_, address):
        yield address
