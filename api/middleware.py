"""Around every request: a trace and its id, the numbers for /metrics, and a limit on the body."""

import logging
import re
import secrets
import time
from collections.abc import Callable
from http import HTTPStatus

from opentelemetry import trace
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import Metrics
from domain.audit import Origin
from store.audit import ORIGIN

_log = logging.getLogger("api.access")
_QUIET = ("/healthz", "/readyz", "/metrics")  # asked every few seconds, by machines
_LONGEST_AGENT = 200  # characters
# W3C Trace Context: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$")


class Tracing:
    """Takes the caller's trace id or makes one; counts and times the request under its route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace_id = _trace_id(scope)
        scope.setdefault("state", {})["trace_id"] = trace_id
        came_from = ORIGIN.set(_origin(scope, trace_id))
        status = HTTPStatus.INTERNAL_SERVER_ERROR.value
        began = time.perf_counter()

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Trace-Id"] = trace_id
            await send(message)

        try:
            await self._app(scope, receive, send_traced)
        finally:
            ORIGIN.reset(came_from)
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - began
            self._metrics.request(scope["method"], route, status, seconds)
            level = logging.DEBUG if route in _QUIET else logging.INFO
            _log.log(
                level,
                "%s %s: %d",
                scope["method"],
                route,
                status,
                extra={"seconds": round(seconds, 4), "status": status},
            )


def _trace_id(scope: Scope) -> str:
    """The trace of the span that FastAPI has begun; where none are made, the caller's or a new one."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        return trace.format_trace_id(context.trace_id)
    given = _TRACEPARENT.match(Headers(scope=scope).get("traceparent", ""))
    return given.group(1) if given else secrets.token_hex(16)


def _origin(scope: Scope, trace_id: str) -> Origin:
    """What the audit trail says of where the request came from; headers about that are not believed."""
    headers, client = Headers(scope=scope), scope.get("client")
    return Origin(
        address=str(client[0]) if client else "",
        agent=headers.get("user-agent", "")[:_LONGEST_AGENT],
        trace=trace_id,
        correlation=headers.get("x-correlation-id", "")[:_LONGEST_AGENT],
    )


class BodyLimit:
    """Stops reading a body that is too large, whatever its headers say.

    Args:
        app: what is behind.
        limit_of: the limit in bytes for a path.
    """

    def __init__(self, app: ASGIApp, limit_of: Callable[[str], int]) -> None:
        self._app = app
        self._limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit, taken = self._limit_of(scope["path"]), 0

        async def receive_limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {limit} bytes")
            return message

        await self._app(scope, receive_limited, send)
