"""The planner's web application: the page, and answers to its requests.

The application keeps no state of a page: each request contains the scenario, as a name or text with
overrides. When the page drops a request, its computation stops at the next part.

Only requests with the expected ``Host`` and ``Origin`` are answered, so that other pages in the
browser cannot use the planner. On an address other than loopback they also need the token that the
printed address contains.
"""

import asyncio
import contextlib
import importlib
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from heliostat.planner.cancellation import CancelledError, Check
from heliostat.planner.guard import Guard
from heliostat.planner.library import Library, key_of, problems_of
from heliostat.planner.requests import (
    Asked,
    RefusedError,
    are_numbers,
    asked_of,
    body_of,
    checked_overrides,
    map_arguments,
    positive,
)
from heliostat.planner.scene import fields_of, scene_of
from heliostat.reports.tables import without_infinities
from heliostat.scenario import (
    AnyScenario,
    ScenarioError,
    SensingScenario,
    scenario_names,
    scenario_summary,
)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_PLACES = 50
LONGEST = 60.0
"""Time after which a computation stops at its next part. [s]"""
AT_ONCE = 2
"""Number of computations at the same time."""
SAVED = "attachment; filename=report.html"
"""The report is saved, because it is not subject to the page's content policy."""
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}


class Planner:
    """Handlers of the requests."""

    def __init__(self, own: AnyScenario | None = None) -> None:
        self.library = Library(own)
        self.own = own
        self._lock = threading.Lock()  # of the library
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._designs: Any = None

    # Requests without a computation

    async def start(self, _: Request) -> Response:
        """The scenario given at the start, and all packaged ones as pictures."""
        packaged = []
        for name in scenario_names():
            scene = scene_of(self.library.scenario(name, None, {}))
            packaged.append(scene | {"summary": scenario_summary(name)})
        return JSONResponse({"own": self.own.name if self.own else None, "packaged": packaged})

    async def alive(self, _: Request) -> Response:
        """An empty answer, by which the page sees that the server runs."""
        return Response(status_code=204)

    async def scene(self, request: Request) -> Response:
        """Objects, fields, notes and problems of a scenario."""
        asked = asked_of(await body_of(request))

        def described() -> Response:
            answer: dict[str, Any] = {"problems": []}
            try:
                with self._lock:
                    data = self.library.written(asked.name, asked.text, asked.overrides)
                answer["fields"] = fields_of(data)
                scenario = self._scenario(asked, asked.overrides)
                answer |= scene_of(scenario)
                answer |= {"notes": list(scenario.notes), "yaml": scenario.dump()}
            except ScenarioError as error:
                answer["problems"] = problems_of(error)
            return JSONResponse(answer)

        return await asyncio.to_thread(described)

    # Computations

    async def map(self, request: Request) -> Response:
        """A map, see `results.packed`, or the problems of the scenario."""
        asked = asked_of(await body_of(request))
        wanted = map_arguments(asked)

        def work(check: Check) -> Response:
            from heliostat.planner import results  # noqa: PLC0415 - imports JAX

            scenario, design, fitting = self._prepared(asked, check)
            try:
                found = results.compute_map(scenario, check, **wanted._asdict(), design=design)
            except ScenarioError:
                raise
            except ValueError as error:
                raise RefusedError(str(error)) from None
            found.header["redesigned"] = not fitting
            return Response(results.packed(found), media_type="application/octet-stream")

        return await self._computed(request, work)

    async def numbers(self, request: Request) -> Response:
        """Tables of the user or target, numbers of further places, and notes."""
        asked = asked_of(await body_of(request))
        places = asked.body.get("places", [])
        if not isinstance(places, list) or len(places) > MOST_PLACES:
            raise RefusedError(f"places is not a list of at most {MOST_PLACES} positions")
        if not all(are_numbers(place, 3) for place in places):
            raise RefusedError("a place is not a list of three numbers")

        def work(check: Check) -> Response:
            from heliostat.planner import results  # noqa: PLC0415 - imports JAX

            scenario, design, fitting = self._prepared(asked, check)
            here = not fitting or asked.body.get("design", asked.overrides) == asked.overrides
            found = results.compute_numbers(
                scenario, check, places=places, design=design, designed_here=here
            )
            return JSONResponse(without_infinities(found))

        return await self._computed(request, work)

    async def design(self, request: Request) -> Response:
        """Design for the target of a sensing scenario, kept for later maps."""
        asked = asked_of(await body_of(request))

        def work(check: Check) -> Response:
            scenario = self._scenario(asked, asked.overrides)
            if not isinstance(scenario, SensingScenario):
                raise RefusedError("only sensing scenarios have designs")
            found = self._design_of(asked.key, scenario, check)
            return JSONResponse({"status": found.status, "excess_db": str(found.excess_db)})

        return await self._computed(request, work)

    # Files and code

    async def export(self, request: Request) -> Response:
        """A file of the map, see `takeaway.map_file`."""
        asked = asked_of(await body_of(request))
        wanted, threshold = map_arguments(asked), positive(asked, "threshold")
        suffix = asked.body.get("format")

        def work(check: Check) -> Response:
            from heliostat.planner import takeaway  # noqa: PLC0415 - imports JAX

            if suffix not in takeaway.FORMATS:
                raise RefusedError(f"format is none of {', '.join(takeaway.FORMATS)}")
            scenario, design, _ = self._prepared(asked, check)
            try:
                content = takeaway.map_file(
                    scenario, check, suffix, wanted, threshold=threshold, design=design
                )
            except ScenarioError:
                raise
            except ValueError as error:
                raise RefusedError(str(error)) from None
            return Response(content, media_type=takeaway.FORMATS[suffix])

        return await self._computed(request, work)

    async def report(self, request: Request) -> Response:
        """The one-page report of the scenario."""
        asked = asked_of(await body_of(request))

        def work(check: Check) -> Response:
            from heliostat.planner import takeaway  # noqa: PLC0415 - imports JAX

            scenario = self._scenario(asked, asked.overrides)
            check()
            page = takeaway.report_page(scenario, asked.overrides)
            return Response(page, media_type="text/html", headers={"Content-Disposition": SAVED})

        return await self._computed(request, work)

    async def snippets(self, request: Request) -> Response:
        """Python code and commands that compute the same."""
        asked = asked_of(await body_of(request))
        wanted, threshold = map_arguments(asked), positive(asked, "threshold")

        def work(check: Check) -> Response:
            from heliostat.planner import takeaway  # noqa: PLC0415 - imports JAX

            check()
            if wanted.quantity not in (None, *takeaway.QUANTITIES):
                raise RefusedError("quantity is not one of a map")
            scenario = self._scenario(asked, asked.overrides)
            with self._lock:
                name = self.library.written_as(asked.name, asked.text)
            designed_for = checked_overrides(asked.body.get("design", asked.overrides))
            source = takeaway.Source(name, asked.overrides, designed_for)
            return JSONResponse(takeaway.snippets(scenario, source, wanted, threshold))

        return await self._computed(request, work)

    def _scenario(self, asked: Asked, overrides: Mapping[str, Any]) -> AnyScenario:
        with self._lock:
            return self.library.scenario(asked.name, asked.text, overrides)

    def _design_of(self, key: str, scenario: SensingScenario, check: Check) -> Any:
        from heliostat.planner import results  # noqa: PLC0415 - imports JAX

        if self._designs is None:
            self._designs = results.Designs()
        return self._designs.of(key, scenario, check)

    def _prepared(self, asked: Asked, check: Check) -> tuple[AnyScenario, Any, bool]:
        """The scenario, its design if it is one of sensing, and whether the held design fits it."""
        from heliostat.planner import results  # noqa: PLC0415 - imports JAX

        wavefront = asked.body.get("wavefront")
        scenario = results.held(self._scenario(asked, asked.overrides), wavefront)
        if not isinstance(scenario, SensingScenario):
            return scenario, None, True
        overrides = checked_overrides(asked.body.get("design", asked.overrides))
        of = self._scenario(asked, overrides)
        if isinstance(of, SensingScenario) and results.same_sizes(of, scenario):
            key = key_of(asked.name, asked.text, overrides)
            return scenario, self._design_of(key, of, check), True
        return scenario, self._design_of(asked.key, scenario, check), False

    async def _computed(self, request: Request, work: Callable[[Check], Response]) -> Response:
        """Run a computation in a thread, and stop it when the page drops the request."""
        dropped = threading.Event()
        gone = asyncio.ensure_future(_disconnected(request))
        ends = time.monotonic() + LONGEST

        def check() -> None:
            if dropped.is_set():
                raise CancelledError
            if time.monotonic() > ends:
                raise RefusedError(f"the computation takes longer than {LONGEST:g} s")

        try:
            async with self._slots:
                if gone.done():
                    return Response(status_code=499)
                running = asyncio.ensure_future(asyncio.to_thread(work, check))
                await asyncio.wait({running, gone}, return_when=asyncio.FIRST_COMPLETED)
                dropped.set() if not running.done() else None
                try:
                    return await running
                except CancelledError:
                    return Response(status_code=499)
                except ScenarioError as error:
                    return JSONResponse({"problems": problems_of(error)})
        finally:
            gone.cancel()


async def _disconnected(request: Request) -> None:
    """Return when the page has dropped the request."""
    with contextlib.suppress(ClientDisconnect):
        while (await request.receive())["type"] != "http.disconnect":
            pass


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
