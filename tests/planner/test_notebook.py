"""The planner in a notebook: in a kernel of its own, as Jupyter runs it."""

import re
import socket
import time
from urllib.parse import urlsplit

import httpx
import nbformat
import pytest
from nbclient import NotebookClient

import heliostat as hs
from heliostat.planner import notebook

CELLS = [
    "import heliostat as hs\nplanner = hs.plan('factory-hall')\nplanner",
    "import urllib.request\nurllib.request.urlopen(planner.address + 'start').status",
    "planner.stop()\nprint(planner.address)",
]


def answers(address):
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname, parts.port), 1).close()
    except OSError:
        return False
    return True


def test_a_kernel_shows_the_page_in_a_frame_and_ends_it():
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = NotebookClient(book, timeout=120, kernel_name="python3")
    with client.setup_kernel():
        for i, cell in enumerate(book.cells[:2]):
            client.execute_cell(cell, i)
        (output,) = book.cells[0].outputs
        frame = output["data"]["text/html"]
        address = re.search(r'<iframe src="(http://127\.0\.0\.1:\d+/)"', frame)[1]
        assert httpx.get(address).text.startswith("<!doctype html>")
        assert book.cells[1].outputs[0]["data"]["text/plain"] == "200"
        client.execute_cell(book.cells[2], 2)
        assert book.cells[2].outputs[0]["text"].strip() == address
        assert not answers(address)


def test_a_planner_ends_with_its_kernel():
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELLS[0])])
    client = NotebookClient(book, timeout=120, kernel_name="python3")
    with client.setup_kernel():
        client.execute_cell(book.cells[0], 0)
        address = re.search(r'src="([^"]+)"', book.cells[0].outputs[0]["data"]["text/html"])[1]
        assert answers(address)
    for _ in range(50):
        if not answers(address):
            break
        time.sleep(0.1)
    assert not answers(address)


@pytest.mark.parametrize("variable", notebook.HUBS)
def test_on_a_hub_it_says_what_to_do_in_place_of_a_frame(monkeypatch, variable):
    planner = hs.plan("factory-hall")
    try:
        assert "<iframe" in planner._repr_html_()
        monkeypatch.setenv(variable, "x")
        text = planner._repr_html_()
        port = urlsplit(planner.address).port
        assert "<iframe" not in text
        assert f"ssh -L {port}:127.0.0.1:{port}" in text
        assert "heliostat plan" in text
    finally:
        planner.stop()
    assert not answers(planner.address)


def test_an_invalid_scenario_is_refused():
    with pytest.raises(hs.ScenarioError):
        hs.plan({"system": "localization"})
