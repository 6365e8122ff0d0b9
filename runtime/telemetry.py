"""Traces (OpenTelemetry, W3C trace context), logs as JSON, and the SDK's metrics of a process.

One trace goes from a request through its deployment's workflow and activities to the agents. Without
`otlp_endpoint` nothing is exported, and the ids are there all the same: in logs, problems, events, the audit.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from pythonjsonlogger.json import JsonFormatter
from temporalio.contrib.opentelemetry import TracingInterceptor, TracingWorkflowInboundInterceptor
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import ExecuteWorkflowInput, WorkflowInterceptorClassInput

# What the lines logged meanwhile are about; ids only, never content.
_ABOUT: ContextVar[dict[str, str] | None] = ContextVar("about", default=None)
_FIELDS: Final = "%(levelname)s %(name)s %(message)s"


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Give the lines that are logged inside these ids: `tenant`, `deployment`, `workflow` and the like."""
    token = _ABOUT.set({**(_ABOUT.get() or {}), **ids})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def note_about(**ids: str) -> None:
    """Like `about`, until the present task or request ends."""
    _ABOUT.set({**(_ABOUT.get() or {}), **ids})


def trace_id() -> str | None:
    """The id of the present trace, in hexadecimal; None outside of one."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


class _Ids(logging.Filter):
    """Adds the ids to every line."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in (_ABOUT.get() or {}).items():
            setattr(record, name, value)
        found = trace_id()
        if found is not None:
            record.trace_id = found
        return True


def configure_logging(service: str, level: str) -> None:
    """One JSON object per line on standard error, with the ids of what the line is about."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            _FIELDS,
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"service": service},
            timestamp="at",
        )
    )
    handler.addFilter(_Ids())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _WithoutQueries(SpanProcessor):
    """Takes the queries of requests out of spans: a link to vote with carries its token there."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Before anything is exported."""
        if span.attributes and "url.query" in span.attributes:
            span.set_attribute("url.query", "REDACTED")


def start_tracing(service: str, endpoint: str | None) -> TracerProvider:
    """Make traces from now on, for the whole process; `shutdown` sends what is left.

    Args:
        service: `api`, `worker`.
        endpoint: an OTLP collector's URL for traces (HTTP), such as http://127.0.0.1:4318/v1/traces.
    """
    resource = Resource.create({"service.name": f"hotswap-{service}", "service.version": version("hotswap")})
    if endpoint is None:  # nobody will look: spans have ids, and keep nothing
        provider = TracerProvider(resource=resource, sampler=ALWAYS_OFF)
    else:
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(_WithoutQueries())
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)
    return provider


def metrics_runtime(address: str | None) -> Runtime | None:
    """A runtime of Temporal's SDK that answers /metrics at host:port; None for the usual one without."""
    if address is None:
        return None
    prometheus = PrometheusConfig(bind_address=address, counters_total_suffix=True, durations_as_seconds=True)
    return Runtime(telemetry=TelemetryConfig(metrics=prometheus))


class _OfTheRequest(TracingWorkflowInboundInterceptor):
    """A deployment's workflow belongs to the trace of the request that asked for it.

    The lane starts it, perhaps days later, and the lane's own trace is that of whoever woke it first.
    """

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002 - the SDK's name
        parent = getattr(input.args[0], "traceparent", None) if input.args else None
        if parent:
            self._workflow_context_carrier = {"traceparent": parent}
        return await super().execute_workflow(input)


class Traces(TracingInterceptor):
    """Carries the trace through clients, workflows and activities; a client hands it to its workers."""

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 - the SDK's name
    ) -> type[TracingWorkflowInboundInterceptor]:
        """What stands around workflows."""
        super().workflow_interceptor_class(input)
        return _OfTheRequest
