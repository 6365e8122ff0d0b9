"""How a workflow writes down what happens: one activity, one row and event per change, each key once."""

from typing import Any

from temporalio import workflow

from domain.console import clip
from domain.events import EventKind
from domain.messages import Progress
from workflows.options import RECORD

with workflow.unsafe.imports_passed_through():
    from activities.orders import Records


class Chronicle:
    """Numbers the entries of one workflow, so that a repeated write is recognised by its key."""

    def __init__(self, *, tenant: str, deployment: str, series: str) -> None:
        self._tenant = tenant
        self._deployment = deployment
        self._series = series
        self._entries = 0

    async def note(self, event: EventKind, message: str, **facts: Any) -> None:
        """Write one entry; `facts` are fields of Progress."""
        self._entries += 1
        progress = Progress(
            tenant=self._tenant,
            deployment=self._deployment,
            key=f"{self._series}-{self._entries}",
            event=event,
            message=clip(message, 2000),
            **facts,
        )
        summary = clip(progress.phase or event)
        await workflow.execute_activity_method(Records.record, progress, summary=summary, **RECORD)
