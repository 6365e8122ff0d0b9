"""Running the real workflows on the time-skipping server, with fake hands."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.supervision import TemporalSupervision
from domain.messages import DeploymentInput, DeploymentResult
from domain.names import CONTROL_QUEUE, HOOK_QUEUE, NODE_QUEUE, deployment_workflow_id
from runtime.temporal import workflow_runner
from tests.conftest import time_skipping_server
from tests.workflows.world import World
from workflows import ALL_WORKFLOWS
from workflows.deployment import DeploymentWorkflow


@dataclass
class Stage:
    """A world under way: start deployments in it, look at what they did."""

    env: WorkflowEnvironment
    world: World

    @property
    def client(self) -> Client:
        return self.env.client

    async def until(
        self,
        condition: Callable[[], object],
        seconds: float = 30,
        *,
        skipping: bool = True,
        step: float = 5,
    ) -> None:
        """Wait until the condition holds; while `skipping`, workflow time passes, `step` by step."""
        async with asyncio.timeout(seconds):
            while not condition():
                await (self.env.sleep(step) if skipping else asyncio.sleep(0.02))

    async def deploy(self, name: str | None = None) -> WorkflowHandle[DeploymentWorkflow, DeploymentResult]:
        name = name or uuid.uuid4().hex[:8]
        request = DeploymentInput(
            tenant="acme",
            environment="production",
            deployment=name,
            requester="ana",
            module="greeter",
            version="2.0.0",
        )
        return await self.client.start_workflow(
            DeploymentWorkflow.run, request, id=deployment_workflow_id(name), task_queue=CONTROL_QUEUE
        )


Opener = Callable[..., AbstractAsyncContextManager[Stage]]


def opener(env: WorkflowEnvironment) -> Opener:
    @asynccontextmanager
    async def open_stage(world: World, **options: object) -> AsyncIterator[Stage]:
        client = env.client
        control = Worker(
            client,
            task_queue=CONTROL_QUEUE,
            workflows=ALL_WORKFLOWS,
            activities=[*world.activities, TemporalSupervision(client).await_end],
            workflow_runner=workflow_runner(),
            **options,
        )
        # Often, so that a hand learns at once that it is cut off.
        often = timedelta(milliseconds=50)
        nodes = Worker(
            client, task_queue=NODE_QUEUE, activities=world.activities, max_heartbeat_throttle_interval=often
        )
        async with control, nodes, Worker(client, task_queue=HOOK_QUEUE, activities=[world.call_hook]):
            yield Stage(env=env, world=world)

    return open_stage


@pytest.fixture
def stage(time_skipping: WorkflowEnvironment) -> Opener:
    """`async with stage(world) as scene:` runs both workers around the block, in skipped time."""
    return opener(time_skipping)


@pytest.fixture
def real_stage(temporal: WorkflowEnvironment) -> Opener:
    """The same on a real server, which unlike the time-skipping one tells parents of terminated children."""
    return opener(temporal)


@pytest_asyncio.fixture
async def lane_stage() -> AsyncIterator[Opener]:
    """As `stage`, on a time-skipping server of the test's own.

    A lane never ends, so tests terminate it, perhaps amid an activity. The server counts an activity that the
    end of its workflow cuts off as under way for ever, and skips no more time.
    """
    async with time_skipping_server() as environment:
        yield opener(environment)
