"""Computations end when the page drops their request, or when they take too long."""

import asyncio
import json
import time

import pytest

from heliostat.planner import handlers, results, server
from tests.support.hall import hall

HOST = "127.0.0.1:8000"


async def posted(body, drop_after=None):
    """Status and content of a request to /map; the page drops it after some seconds."""
    app = server.application(hall(), hosts=(HOST,))
    headers = [(b"host", HOST.encode()), (b"origin", f"http://{HOST}".encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/map",
        "raw_path": b"/map",
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 9),
        "root_path": "",
    }
    messages = [{"type": "http.request", "body": json.dumps(body).encode()}]
    sent = []

    async def receive():
        if messages:
            return messages.pop()
        await asyncio.sleep(60 if drop_after is None else drop_after)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture
def stopped(monkeypatch):
    """Maps that never end by themselves; a list that tells when one was stopped."""
    found = []

    def compute_map(scenario, check, wanted, design):
        try:
            while True:
                time.sleep(0.01)
                check()
        except BaseException as error:
            found.append(type(error).__name__)
            raise

    monkeypatch.setattr(results, "compute_map", compute_map)
    return found


def test_a_dropped_request_stops_its_computation(stopped):
    status, _ = asyncio.run(posted({"name": "scenario"}, drop_after=0.2))
    assert status == 499
    assert stopped == ["CancelledError"]


def test_a_computation_that_takes_too_long_is_refused(stopped, monkeypatch):
    monkeypatch.setattr(handlers, "LONGEST", 0.2)
    status, content = asyncio.run(posted({"name": "scenario"}))
    assert status == 400
    assert "takes longer than 0.2 s" in json.loads(content)["refused"]
    assert len(stopped) == 1
