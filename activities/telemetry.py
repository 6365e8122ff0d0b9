"""Around every activity: what its log lines are about, and how rollouts go as numbers."""

from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from domain.messages import Progress
from runtime.telemetry import about

_ABOUT = ("tenant", "environment", "deployment")


class _Told(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's name
        info = activity.info()
        request = input.args[0] if input.args else None
        ids = {name: getattr(request, name, None) for name in _ABOUT}
        known = {name: value for name, value in ids.items() if isinstance(value, str)}
        with about(activity=info.activity_type, workflow=info.workflow_id or "", **known):
            result = await super().execute_activity(input)
        if isinstance(request, Progress):
            _count(request)
        return result


def _count(progress: Progress) -> None:
    """One more event of a rollout, once it is written. A repeat after a crash may count twice."""
    meter = activity.metric_meter()
    events = meter.create_counter("hotswap_deployment_events", "Events of deployments, by kind.")
    events.add(1, {"event": progress.event.value})
    if progress.phase is not None:
        phases = meter.create_counter("hotswap_deployment_phases", "Phases that deployments entered.")
        phases.add(1, {"phase": progress.phase.value})


class TelemetryInterceptor(Interceptor):
    """Tells of every activity."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap the activity."""
        return _Told(next)
