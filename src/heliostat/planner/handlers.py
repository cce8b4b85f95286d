"""Answers to the requests of the page.

There is no state of a page: each request contains the scenario, as a name or text with overrides.
When the page drops a request, its computation stops at the next part.
"""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from heliostat.planner.cancellation import CancelledError, Check
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
    text_of,
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

if TYPE_CHECKING:
    from heliostat.planner.studies import OnProgress

MOST_PLACES = 50
LONGEST = 60.0
"""Time after which a computation stops at its next part. [s]"""
LONGEST_STUDY = 300.0
"""The same for placements and sweeps. [s]"""
WAIT = 5.0
"""Time that a study waits for another one, such as a canceled one, to end. [s]"""
MOST_WALLS = 1000
AT_ONCE = 2
"""Number of computations, and of studies, at the same time."""
SAVED = "attachment; filename=report.html"
"""The report is saved, because it is not subject to the page's content policy."""


class Planner:
    """Handlers of the requests."""

    def __init__(self, own: AnyScenario | None = None) -> None:
        self.library = Library(own)
        self.own = own
        self._lock = threading.Lock()  # of the library
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._studies = threading.BoundedSemaphore(AT_ONCE)
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
            with _refusing_arguments():
                found = results.compute_map(scenario, check, wanted, design=design)
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
        """Design for the target of a sensing scenario, kept for later maps; with progress."""
        asked = asked_of(await body_of(request))

        def work(advance: "OnProgress") -> dict[str, Any]:
            scenario = self._scenario(asked, asked.overrides)
            if not isinstance(scenario, SensingScenario):
                raise RefusedError("only sensing scenarios have designs")
            found = self._design_of(
                asked.key, scenario, lambda done, total: advance("step", done, total)
            )
            return {"status": found.status, "excess_db": str(found.excess_db)}

        return self._streamed(work)

    # Files and code

    async def export(self, request: Request) -> Response:
        """A file of the map, see `takeaway.map_file`."""
        asked = asked_of(await body_of(request))
        wanted, threshold = map_arguments(asked), positive(asked, "threshold")
        suffix = text_of(asked, "format")

        def work(check: Check) -> Response:
            from heliostat.planner import takeaway  # noqa: PLC0415 - imports JAX

            if suffix not in takeaway.FORMATS:
                raise RefusedError(f"format is none of {', '.join(takeaway.FORMATS)}")
            scenario, design, _ = self._prepared(asked, check)
            with _refusing_arguments():
                content = takeaway.map_file(
                    scenario, check, suffix, wanted, threshold=threshold, design=design
                )
            return Response(content, media_type=takeaway.FORMATS[suffix])

        return await self._computed(request, work)

    async def report(self, request: Request) -> Response:
        """The one-page report of the scenario."""
        asked = asked_of(await body_of(request))

        def work(check: Check) -> Response:
            from heliostat.planner import results, takeaway  # noqa: PLC0415 - imports JAX

            scenario = self._scenario(asked, asked.overrides)
            if isinstance(scenario, SensingScenario):
                results.refuse_large(scenario)
            check()
            page = takeaway.report_page(scenario, asked.overrides)
            return Response(page, media_type="text/html", headers={"Content-Disposition": SAVED})

        return await self._computed(request, work)

    async def snippets(self, request: Request) -> Response:
        """Python code and commands that compute the same."""
        asked = asked_of(await body_of(request))
        wanted, threshold = map_arguments(asked), positive(asked, "threshold")

        def work(check: Check) -> Response:
            from heliostat.api.map_quantities import QUANTITIES  # noqa: PLC0415 - imports JAX
            from heliostat.planner import takeaway  # noqa: PLC0415

            check()
            if wanted.quantity not in (None, *QUANTITIES):
                raise RefusedError("quantity is not one of a map")
            scenario = self._scenario(asked, asked.overrides)
            with self._lock:
                name = self.library.written_as(asked.name, asked.text)
            designed_for = checked_overrides(asked.body.get("design", asked.overrides))
            source = takeaway.Source(name, asked.overrides, designed_for)
            return JSONResponse(takeaway.snippets(scenario, source, wanted, threshold))

        return await self._computed(request, work)

    # Studies

    async def place(self, request: Request) -> Response:
        """Where a surface should be, see `studies.best_places`; with progress."""
        asked = asked_of(await body_of(request))
        area, walls = map_arguments(asked).area, asked.body.get("walls")
        surface, goal = text_of(asked, "surface"), text_of(asked, "goal")
        if not isinstance(walls, list) or not 0 < len(walls) <= MOST_WALLS:
            raise RefusedError(f"walls is not a list of 1 to {MOST_WALLS} walls")
        if not all(isinstance(name, str) for name in walls):
            raise RefusedError("a wall is not a name")

        def work(advance: "OnProgress") -> dict[str, Any]:
            from heliostat.planner import studies  # noqa: PLC0415 - imports JAX

            scenario = self._scenario(asked, asked.overrides)
            if isinstance(scenario, SensingScenario):
                raise RefusedError("placement is for localization scenarios")
            return studies.best_places(scenario, surface, goal, walls, area, advance)

        return self._streamed(work)

    async def sweep(self, request: Request) -> Response:
        """A quantity over the values of one field, see `studies.curve`; with progress."""
        asked = asked_of(await body_of(request))
        key, output = text_of(asked, "field"), text_of(asked, "output")
        start, end = text_of(asked, "from"), text_of(asked, "to")
        count, whole = asked.body.get("count"), asked.body.get("whole") is True
        if not isinstance(count, int):
            raise RefusedError("count is not a whole number")

        def work(advance: "OnProgress") -> dict[str, Any]:
            from heliostat.planner import studies  # noqa: PLC0415 - imports JAX

            values, unit = studies.field_values(start, end, count, whole=whole)
            scenario = self._scenario(asked, asked.overrides)
            found = studies.curve(scenario, key, values, output, advance)
            return found | {"x_unit": unit}

        return self._streamed(work)

    def _streamed(self, work: "Callable[[OnProgress], dict[str, Any]]") -> Response:
        """Run a study in a thread, and send its progress and its result as lines of JSON.

        The study stops at its next progress when the page drops the request.
        """
        dropped, lines = threading.Event(), asyncio.Queue[dict[str, Any] | None]()
        loop, begun = asyncio.get_running_loop(), time.monotonic()

        def send(line: dict[str, Any] | None) -> None:
            loop.call_soon_threadsafe(lines.put_nowait, line)

        def advance(stage: str, done: int, total: int) -> None:
            if dropped.is_set():
                raise CancelledError
            if time.monotonic() > begun + LONGEST_STUDY:
                raise RefusedError(f"the study takes longer than {LONGEST_STUDY:g} s")
            send({"stage": stage, "done": done, "total": total})

        def run() -> None:
            if not self._studies.acquire(timeout=WAIT):
                send({"refused": "Two other studies are running; wait for them, or cancel one."})
                send(None)
                return
            try:
                send({"result": without_infinities(work(advance))})
            except ScenarioError as error:
                send({"problems": problems_of(error)})
            except CancelledError:
                pass
            except (ValueError, RefusedError) as error:
                send({"refused": f"{str(error).removesuffix('.')}."})
            finally:
                self._studies.release()
                send(None)

        async def content() -> AsyncIterator[str]:
            running = asyncio.ensure_future(asyncio.to_thread(run))
            try:
                while (line := await lines.get()) is not None:
                    yield json.dumps(line) + "\n"
                await running
            finally:
                dropped.set()

        return StreamingResponse(content(), media_type="application/x-ndjson")

    def _scenario(self, asked: Asked, overrides: Mapping[str, Any]) -> AnyScenario:
        with self._lock:
            return self.library.scenario(asked.name, asked.text, overrides)

    def _design_of(
        self, key: str, scenario: SensingScenario, on_progress: Callable[[int, int], None]
    ) -> Any:
        from heliostat.planner import results  # noqa: PLC0415 - imports JAX

        if self._designs is None:
            self._designs = results.Designs()
        return self._designs.of(key, scenario, on_progress)

    def _prepared(self, asked: Asked, check: Check) -> tuple[AnyScenario, Any, bool]:
        """The scenario, its design if it is one of sensing, and whether the held design fits it."""
        from heliostat.planner import results  # noqa: PLC0415 - imports JAX

        wavefront = asked.body.get("wavefront")
        scenario = results.held(self._scenario(asked, asked.overrides), wavefront)
        if not isinstance(scenario, SensingScenario):
            return scenario, None, True

        def going(done: int, total: int) -> None:
            check()

        overrides = checked_overrides(asked.body.get("design", asked.overrides))
        of = self._scenario(asked, overrides)
        if isinstance(of, SensingScenario) and results.same_sizes(of, scenario):
            key = key_of(asked.name, asked.text, overrides)
            return scenario, self._design_of(key, of, going), True
        return scenario, self._design_of(asked.key, scenario, going), False

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


@contextlib.contextmanager
def _refusing_arguments() -> Iterator[None]:
    """Refuse the request where a public function does not accept its arguments."""
    try:
        yield
    except ScenarioError:
        raise
    except ValueError as error:
        raise RefusedError(str(error)) from None


async def _disconnected(request: Request) -> None:
    """Return when the page has dropped the request."""
    with contextlib.suppress(ClientDisconnect):
        while (await request.receive())["type"] != "http.disconnect":
            pass
