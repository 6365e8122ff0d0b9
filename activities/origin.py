"""Where an activity's entries in the audit trail come from: the workflow that ordered it."""

from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from domain.audit import Origin
from runtime.telemetry import trace_id
from store.audit import ORIGIN


class _Named(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's name
        info = activity.info()
        origin = Origin(agent="worker", correlation=info.workflow_id or "", trace=trace_id() or "")
        token = ORIGIN.set(origin)
        try:
            return await super().execute_activity(input)
        finally:
            ORIGIN.reset(token)


class OriginInterceptor(Interceptor):
    """Sets the origin around every activity."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap the activity."""
        return _Named(next)
