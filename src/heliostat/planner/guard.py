"""Which requests the planner answers."""

import secrets

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """Middleware that refuses requests from other pages, and adds headers to every answer."""

    def __init__(self, app: ASGIApp, *, hosts: tuple[str, ...], token: str | None) -> None:
        self.app, self.hosts, self.token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        if reason := self._refusal(request):
            answer = Response(reason, 403, HEADERS, "text/plain")
            await answer(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(name.lower().encode(), text.encode()) for name, text in HEADERS.items()]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await self.app(scope, receive, with_headers)

    def _refusal(self, request: Request) -> str:
        """Reason why a request is refused; empty if it is not."""
        host = request.headers.get("host", "").lower()
        if host not in self.hosts:
            return "This planner does not answer for another host."
        origin = request.headers.get("origin")
        if origin is None and request.method not in ("GET", "HEAD"):
            return "This planner answers only its own page: the request has no Origin."
        if origin is not None and origin.lower() != f"http://{host}":
            return "This planner answers only its own page, not another origin."
        if self.token is None or request.url.path.startswith("/static/"):
            return ""
        given = request.headers.get("x-token") or request.query_params.get("token", "")
        if secrets.compare_digest(given.encode(), self.token.encode()):
            return ""
        return "This planner needs the token in the address that heliostat plan printed."
