"""The trace that a deployment belongs to, in the form in which it travels (W3C Trace Context)."""

from opentelemetry import propagate


def current() -> str | None:
    """The present span as a `traceparent`; None outside of a trace."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")
