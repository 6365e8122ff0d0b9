"""Samples of one module from many agents at once."""

import asyncio
from collections.abc import Mapping
from typing import Final

from temporalio import activity

from clients.agent import AgentClient
from domain.errors import NodeError
from domain.wire import Samples

READS_AT_ONCE: Final = 64
READ_DEADLINE: Final = 5.0  # seconds per node: a look that misses a node is a weaker look, not a late one


async def collect(
    agents: AgentClient, addresses: Mapping[str, str], module: str, since: Mapping[str, float]
) -> dict[str, Samples | None]:
    """Each node's samples newer than its `since`; None from a node that is silent or unknown."""
    slots = asyncio.Semaphore(READS_AT_ONCE)

    async def read(name: str) -> Samples | None:
        async with slots:
            try:
                return await agents.samples(
                    addresses[name], module, since=since[name], deadline=READ_DEADLINE
                )
            except (NodeError, KeyError) as error:
                activity.logger.warning("no samples from %s: %s", name, error)
                return None

    found = await asyncio.gather(*(read(name) for name in since))
    return dict(zip(since, found, strict=True))
