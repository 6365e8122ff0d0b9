"""Watching other workflows to their end."""

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from activities.heartbeats import beating
from activities.orders import Supervision


class TemporalSupervision(Supervision):
    """Knows Temporal only."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn
    async def await_end(self, workflow_id: str) -> bool:
        """Wait until the workflow is closed; whether it completed. One that is not there did not."""
        async with beating():
            try:
                await self._client.get_workflow_handle(workflow_id).result()
            except WorkflowFailureError:
                return False
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return False
                raise
        return True
