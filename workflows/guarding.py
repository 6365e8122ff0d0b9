"""The guard window of a completed rollout: a workflow of its own, so that the lane is free meanwhile."""

from typing import Final

from temporalio import workflow
from temporalio.workflow import ParentClosePolicy

from domain.console import clip
from domain.guarding import GuardInput
from domain.names import guard_id
from domain.plan import Plan
from workflows.rollout import Rollout

GUARD_WORKFLOW: Final = "GuardWorkflow"  # by name: the guard knows the lane, which knows deployments
WATCHED_NODES: Final = 200  # more make no verdict better


async def open_guard(rollout: Rollout, plan: Plan) -> None:
    """Start the guard that the plan asks for; it outlives the deployment."""
    if plan.guard is None:
        return
    request = GuardInput(
        tenant=plan.tenant,
        environment=plan.environment,
        deployment=rollout.request.deployment,
        module=plan.release.module,
        version=plan.release.version,
        nodes=rollout.able(plan.nodes)[:WATCHED_NODES],
        wave=len(plan.waves),
        rule=plan.guard,
        began=rollout.began,
    )
    await workflow.start_child_workflow(
        GUARD_WORKFLOW,
        request,
        id=guard_id(request.deployment),
        parent_close_policy=ParentClosePolicy.ABANDON,
        static_summary=clip(f"guard of {plan.release} in {plan.environment}"),
        search_attributes=rollout.attributes,
    )
