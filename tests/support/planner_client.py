"""The page's requests to a planner in this process."""

import asyncio
import json
import struct

import httpx
import numpy as np

from heliostat.planner import server

HOST = "127.0.0.1:8000"


class Client:
    """The page's requests to an application in this process."""

    def __init__(self, app, host):
        self.app, self.base = app, f"http://{host}"
        self.headers = {"Origin": self.base}

    def send(self, method, path, headers=None, **content):
        async def sent():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=self.base) as client:
                return await client.request(method, path, headers=headers, **content)

        return asyncio.run(sent())

    def get(self, path, headers=None):
        return self.send("GET", path, self.headers | (headers or {}))

    def post(self, path, headers=None, **content):
        return self.send("POST", path, self.headers | (headers or {}), **content)


def client(own=None, token=None, host=HOST):
    return Client(server.application(own, hosts=(host,), token=token), host)


def asked(**more):
    return {"name": "scenario", "overrides": {}} | more


def unpacked(content):
    (size,) = struct.unpack_from("<I", content)
    header = json.loads(content[4 : 4 + size])
    count = header["rows"] * header["columns"]
    values = np.frombuffer(content, "<f4", count, 4 + size)
    flags = np.frombuffer(content, np.uint8, count, 4 + size + 4 * count)
    assert len(content) == 4 + size + 5 * count
    shape = header["rows"], header["columns"]
    return header, values.reshape(shape), flags.reshape(shape)
