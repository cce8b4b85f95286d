"""The planner's web application: the page, and answers to its requests.

Only requests with the expected ``Host`` and ``Origin`` are answered, so that other pages in the
browser cannot use the planner. On an address other than loopback they also need the token that the
printed address contains.
"""

import contextlib
import importlib
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from typing import NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from heliostat.planner.guard import Guard
from heliostat.planner.handlers import Planner
from heliostat.planner.library import problems_of
from heliostat.planner.requests import RefusedError
from heliostat.scenario import AnyScenario, ScenarioError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}


# The application ---------------------------------------------------------------------------------


def application(
    own: AnyScenario | None = None, *, hosts: tuple[str, ...], token: str | None = None
) -> Starlette:
    """Return the web application.

    Args:
        own: Scenario given at the start.
        hosts: Accepted values of the header ``Host``.
        token: Token that requests need; None for loopback.
    """
    planner = Planner(own)

    def handler(
        answer: Callable[[Request], Awaitable[Response]],
    ) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            try:
                return await answer(request)
            except RefusedError as error:
                large = "larger than" in str(error)
                return JSONResponse({"refused": f"{error}."}, 413 if large else 400)
            except ScenarioError as error:
                return JSONResponse({"problems": problems_of(error)})

        return handle

    page = _static_files()

    async def static(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in page:
            return Response("There is no such page.", 404, media_type="text/plain")
        content, kind = page[name]
        return Response(content, media_type=kind)

    posts = {
        "/scene": planner.scene,
        "/map": planner.map,
        "/numbers": planner.numbers,
        "/design": planner.design,
        "/export": planner.export,
        "/report": planner.report,
        "/snippets": planner.snippets,
        "/place": planner.place,
        "/sweep": planner.sweep,
    }
    routes = [
        Route("/", static),
        Route("/static/{name}", static),
        Route("/alive", planner.alive),
        Route("/start", planner.start),
        *(Route(path, handler(answer), methods=["POST"]) for path, answer in posts.items()),
    ]
    guard = Middleware(Guard, hosts=tuple(h.lower() for h in hosts), token=token)
    return Starlette(routes=routes, middleware=[guard])


def _static_files() -> dict[str, tuple[bytes, str]]:
    """Content and type of each file of the page; no other file is ever sent."""
    folder = files("heliostat.planner") / "static"
    return {
        entry.name: (entry.read_bytes(), kind)
        for entry in folder.iterdir()
        if (kind := TYPES.get(entry.name[entry.name.rfind(".") :]))
    }


class Server(uvicorn.Server):
    """Server that leaves signals to their present handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave Ctrl-C to `heliostat.interruption`, or to the notebook."""
        yield


class Opened(NamedTuple):
    """A server with its socket, ready to run."""

    server: Server
    socket: socket.socket
    address: str
    """Address of the page, with the token if one is needed."""

    def run(self) -> None:
        """Answer requests until the process ends or ``server.should_exit`` is set."""
        threading.Thread(target=_import_results, daemon=True).start()
        self.server.run(sockets=[self.socket])


def opened(own: AnyScenario | None, host: str = "127.0.0.1", port: int = 0) -> Opened:
    """Open a port for the planner.

    Args:
        own: Scenario given at the start.
        host: Address of this machine to listen on.
        port: Port; 0 for a free one.

    Raises:
        OSError: The address or the port is not available.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    port = listening.getsockname()[1]
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    local = host in LOOPBACK
    token = None if local else secrets.token_urlsafe(24)
    hosts = (shown, f"127.0.0.1:{port}", f"localhost:{port}") if local else (shown,)
    app = application(own, hosts=hosts, token=token)
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=64,
        timeout_keep_alive=30,
    )
    address = f"http://{shown}/" + (f"?token={token}" if token else "")
    return Opened(Server(config), listening, address)


def _import_results() -> None:
    """Import what computations need, while the page is loading."""
    importlib.import_module("heliostat.planner.results")
