"""The recorded histories of promotions: every way that one can end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from activities.supervision import TemporalSupervision
from domain.names import CONTROL_QUEUE, NODE_QUEUE, lane_id, promotion_workflow_id
from domain.promotion import OnFailure, PromotionPhase
from domain.promotion_messages import PromotionInput
from runtime.temporal import workflow_runner
from tests.workflows.promotion_world import PromotionWorld
from tests.workflows.test_release import blocked_at, environments, failing_in, new_world
from workflows import ALL_WORKFLOWS
from workflows.release import ReleaseWorkflow

IDENTITY = "recorder"
Save = Callable[[Client, str, str], Awaitable[None]]


class Scene:
    """What the steps of a scenario wait with."""

    async def until(self, condition: Callable[[], object], *, skipping: bool = False) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.05)


@asynccontextmanager
async def promotion(client: Client, case: str, world: PromotionWorld, save: Save) -> AsyncIterator[Any]:
    """A promotion under way; at the end of the block it is waited for and kept."""
    world.client = client
    everything = [*world.activities, TemporalSupervision(client).await_end]
    control = Worker(
        client,
        task_queue=CONTROL_QUEUE,
        workflows=ALL_WORKFLOWS,
        activities=everything,
        workflow_runner=workflow_runner(),
        identity=IDENTITY,
    )
    async with control, Worker(client, task_queue=NODE_QUEUE, activities=everything, identity=IDENTITY):
        request = PromotionInput(
            tenant="acme", promotion=case, requester="ana", module="greeter", version="2.0.0"
        )
        handle = await client.start_workflow(
            ReleaseWorkflow.run, request, id=promotion_workflow_id(case), task_queue=CONTROL_QUEUE
        )
        yield handle
        await handle.result()
        for environment in dict.fromkeys(world.where.values()):
            await client.get_workflow_handle(lane_id("acme", environment)).terminate("recorded")
        await save(client, handle.id, case)


async def record(client: Client, save: Save) -> None:
    """Through, stopped, taken back, held, aborted."""
    async with promotion(client, "completed", new_world(soak=0.3), save):
        pass
    for on_failure in OnFailure:
        world = new_world(on_failure=on_failure)
        failing_in(world, 3)
        async with promotion(client, f"failed-{on_failure}", world, save):
            pass
    world = new_world(count=2)
    world.unmet = environments(world)[1]
    async with promotion(client, "requirement-unmet", world, save):
        pass
    await _held(client, save)
    world = new_world(count=2, soak=60, on_failure=OnFailure.ROLLBACK)
    async with promotion(client, "aborted-in-soak", world, save) as handle:
        await Scene().until(lambda: PromotionPhase.SOAKING in world.path)
        await handle.signal("abort", {"actor": "eve"})
    world = new_world(count=1, blocked=asyncio.Event())
    async with promotion(client, "cancelled", world, save) as handle:
        await blocked_at(Scene(), world, 1, "cancelled")
        await handle.cancel()
        await Scene().until(lambda: any("cancelled" in each.message for each in world.progress))
        world.blocked.set()


async def _held(client: Client, save: Save) -> None:
    """Paused while its deployment waits (withdrawn, queued again) and while one runs; odd signals."""
    world = new_world(count=2, unsigned=True)
    second = environments(world)[1]
    world.closed_lanes = frozenset((second,))
    async with promotion(client, "paused-and-resumed", world, save) as handle:
        await Scene().until(lambda: "paused-and-resumed-2-1" in world.where)
        await handle.signal("puase", {})
        await handle.signal("pause", {"actor": "eve"})
        await Scene().until(lambda: PromotionPhase.PAUSED in world.path)
        world.closed_lanes = frozenset()
        world.blocked = asyncio.Event()
        world.starts.clear()
        await handle.signal("resume", {"actor": "eve"})
        await Scene().until(lambda: world.starts)
        await handle.signal("pause", {"actor": "eve"})
        await Scene().until(lambda: sum("pause by eve" in each.message for each in world.progress) > 1)
        token = "ana:paused-and-resumed-2-2:resume:2"
        await handle.signal("resume", {"actor": "eve", "deployment_token": token})
        await Scene().until(lambda: any("resume by" in each.message for each in world.progress))
        world.blocked.set()
