"""Signals to workflows on behalf of requests."""

from datetime import timedelta
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import Conflict

PATIENCE: Final = timedelta(seconds=3)  # a request waits no longer for Temporal


async def signal(client: Client, workflow: str, name: str, body: object, *, over: str) -> None:
    """Signal a workflow that should be running.

    Raises:
        Conflict: it does not run any more; the message is `over`.
        RPCError: Temporal does not answer, or refuses.
    """
    try:
        await client.get_workflow_handle(workflow).signal(name, body, rpc_timeout=PATIENCE)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise Conflict(over) from error
        raise
