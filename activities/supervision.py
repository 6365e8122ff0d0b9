"""Watching other workflows to their end."""

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode
from typing_extensions import override

from activities.heartbeats import beating
from activities.orders import Supervision


class TemporalSupervision(Supervision):
    """Knows Temporal only."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn
    @override
    async def await_end(self, workflow_id: str) -> None:
        async with beating():
            try:
                await self._client.get_workflow_handle(workflow_id).result()
            except WorkflowFailureError as error:
                activity.logger.info("%s ended: %s", workflow_id, error.cause)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
