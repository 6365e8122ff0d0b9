"""Telling a lane that something waits. The row is the hand-over; this only wakes it."""

from temporalio import workflow
from temporalio.exceptions import TemporalError, WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

from domain.messages import LaneInput
from domain.names import lane_id
from workflows.lane import LaneWorkflow


async def wake_lane(tenant: str, environment: str, deployment: str) -> None:
    """Signal the lane; start it where it does not run. It outlives whoever started it."""
    lane = lane_id(tenant, environment)
    body = {"deployment": deployment}
    try:
        await workflow.get_external_workflow_handle(lane).signal("submit", body)
    except TemporalError as error:
        workflow.logger.info("%s does not run, starting it: %s", lane, error)
    else:
        return
    try:
        await workflow.start_child_workflow(
            LaneWorkflow.run,
            LaneInput(tenant=tenant, environment=environment),
            id=lane,
            parent_close_policy=ParentClosePolicy.ABANDON,
            static_summary=f"lane of {tenant}/{environment}",
        )
    except WorkflowAlreadyStartedError:
        await workflow.get_external_workflow_handle(lane).signal("submit", body)
