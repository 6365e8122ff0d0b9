"""Lanes on the time-skipping server."""

from domain.deployment import Phase
from domain.messages import LaneInput
from domain.names import CONTROL_QUEUE, lane_id
from tests.workflows.conftest import Stage
from tests.workflows.world import World
from workflows.lane import LaneWorkflow


async def start_lane(scene: Stage, environment: str, submitted: dict[str, str] | None = None):
    """The lane of an environment, told of what was queued."""
    return await scene.client.start_workflow(
        LaneWorkflow.run,
        LaneInput(tenant="acme", environment=environment),
        id=lane_id("acme", environment),
        task_queue=CONTROL_QUEUE,
        start_signal="submit",
        start_signal_args=[submitted or {}],
    )


def ends(world: World) -> dict[str, Phase]:
    """Where each deployment that is over ended."""
    return {entry.deployment: entry.phase for entry in world.progress if entry.phase and entry.phase.terminal}
