"""The agent's traces and logs: requests join the caller's trace (W3C Trace Context); lines are JSON."""

import logging
import sys
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from pythonjsonlogger.json import JsonFormatter

_tracer: Final = trace.get_tracer("hotswap.agent")
_log: Final = logging.getLogger("agent.access")
_FIELDS: Final = "%(levelname)s %(name)s %(message)s"


class _Ids(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            record.trace_id = trace.format_trace_id(context.trace_id)
        return True


def configure_logging(node: str) -> None:
    """One JSON object per line on standard error, with the node and the trace that it belongs to."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            _FIELDS,
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"service": "agent", "node": node},
            timestamp="at",
        )
    )
    handler.addFilter(_Ids())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def start_tracing(node: str, endpoint: str | None) -> TracerProvider:
    """Make traces from now on; `shutdown` sends what is left. Without an OTLP endpoint none are exported."""
    provider = TracerProvider(
        resource=Resource.create({"service.name": "hotswap-agent", "service.instance.id": node})
    )
    if endpoint is not None:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)
    return provider


@web.middleware
async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A span per request under the caller's; orders are logged with it."""
    route = request.match_info.route.resource
    name = f"{request.method} {route.canonical if route is not None else request.path}"
    parent = propagate.extract(dict(request.headers))
    with _tracer.start_as_current_span(name, parent, kind=trace.SpanKind.SERVER) as span:
        answer = await handler(request)
        span.set_attribute("http.response.status_code", answer.status)
        if request.method in ("POST", "PUT"):
            _log.info("%s: %d", name, answer.status)
        return answer
