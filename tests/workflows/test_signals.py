"""Signals never break a workflow: every signal of every workflow, in every wrong shape."""

import uuid

import pytest
from temporalio.client import WorkflowExecutionStatus

from domain.approval import ApprovalInput, Subject, SubjectKind
from domain.deployment import Cause, CauseKind, Phase
from domain.gate import GateResult
from domain.guard import GuardRule
from domain.guarding import GuardInput
from domain.messages import DeploymentInput, LaneInput, RollbackInput
from domain.names import CONTROL_QUEUE
from domain.policy import EnvironmentPolicy, GateRule, RollbackRule
from domain.promotion import PromotionPhase, PromotionStage
from domain.promotion_messages import PromotionInput
from domain.tenancy import TenantOrder
from tests.workflows.promotion_world import PromotionWorld
from tests.workflows.test_deployment import EARLY_GATE
from tests.workflows.world import ANALYSIS, World, analysis_of
from workflows import ALL_WORKFLOWS
from workflows.analysis import CanaryAnalysisWorkflow
from workflows.approval import ApprovalWorkflow
from workflows.deployment import DeploymentWorkflow
from workflows.guard import GuardWorkflow
from workflows.lane import LaneWorkflow
from workflows.release import ReleaseWorkflow
from workflows.rollback import RollbackWorkflow
from workflows.tenant import TenantRemovalWorkflow, TenantWorkflow

COMMON = {"tenant": "acme", "environment": "production"}
INPUTS = {
    LaneWorkflow: lambda name: LaneInput(tenant="acme", environment=name),
    DeploymentWorkflow: lambda name: DeploymentInput(
        **COMMON, deployment=name, requester="ana", module="greeter", version="2.0.0"
    ),
    ApprovalWorkflow: lambda name: ApprovalInput(
        **COMMON,
        deployment=name,
        gate=name,
        rule=GateRule(name="promotion", expires_after=3600),
        requester="ana",
        subject=Subject(kind=SubjectKind.DEPLOYMENT, reference=name, digest="f" * 64, words="test"),
    ),
    CanaryAnalysisWorkflow: lambda name: analysis_of(name, ANALYSIS, deployment=name),
    GuardWorkflow: lambda name: GuardInput(
        **COMMON,
        deployment=name,
        module="greeter",
        version="2.0.0",
        nodes=("node-01",),
        wave=1,
        rule=GuardRule(seconds=3600),
    ),
    RollbackWorkflow: lambda name: RollbackInput(
        **COMMON,
        deployment=name,
        of=name,
        cause=Cause(kind=CauseKind.OPERATOR, message="test"),
        subject="test",
    ),
}
INPUTS[ReleaseWorkflow] = lambda name: PromotionInput(
    tenant="acme", promotion=name, requester="ana", module="greeter", version="2.0.0"
)
INPUTS[TenantWorkflow] = INPUTS[TenantRemovalWorkflow] = lambda name: TenantOrder(tenant=name, actor="admin")
SHAPES = {
    "zero": [],
    "valid": [{"actor": "ana", "approver": "ana", "reason": "r", "deployment": "d", "digest": "0" * 64}],
    "bad shape": [{"actor": ["not", "a", "name"], "token": {"x": 1}}],
    "string": ["approve please"],
    "number": [42],
    "null": [None],
    "two arguments": [{"approver": "ana"}, {"approver": "bob"}],
}


def declared(workflow: type) -> list[str]:
    definition = workflow.__temporal_workflow_definition
    return [name for name in definition.signals if name is not None]


CASES = [
    (workflow, name, shape)
    for workflow in ALL_WORKFLOWS
    for name in [*declared(workflow), "aprove"]
    for shape in SHAPES
]


def test_every_workflow_is_in_the_table():
    assert set(INPUTS) == set(ALL_WORKFLOWS)
    assert {"approve", "reject", "pause", "resume", "promote", "abort"} <= set(declared(DeploymentWorkflow))


@pytest.mark.parametrize("workflow", ALL_WORKFLOWS, ids=lambda each: each.__name__)
async def test_no_signal_sticks_or_fails_a_workflow(stage, workflow):
    """All shapes of all its signals in one run: it still answers, and it ends as it would have."""
    world = PromotionWorld(
        stages=(PromotionStage(environment="never-reached"),),
        policy=EnvironmentPolicy(rollback=RollbackRule(rounds=1)),  # no pauses: see the terminate below
        touched=["node-01"],  # a rollback that waits for a person
        refuses=lambda action, _node: "not back" if action == "verify_reverted" else None,
    )
    async with stage(world) as scene:
        name = f"sig-{uuid.uuid4().hex[:8]}"
        handle = await scene.client.start_workflow(
            workflow.run, INPUTS[workflow](name), id=name, task_queue=CONTROL_QUEUE
        )
        cases = [(signal, shape) for each, signal, shape in CASES if each is workflow]
        for signal, shape in cases:
            if signal in ("abort", "reject", "abandon") and shape in ("zero", "valid", "null"):
                continue  # these are orders that count: they end the workflow, tested below
            await handle.signal(signal, args=SHAPES[shape])
        details = await handle.query("__temporal_workflow_metadata")
        assert details
        events = [event async for event in handle.fetch_history_events()]
        assert not [event for event in events if event.HasField("workflow_task_failed_event_attributes")]
        assert (await handle.describe()).status in (
            WorkflowExecutionStatus.RUNNING,
            WorkflowExecutionStatus.COMPLETED,
        )
        if workflow is RollbackWorkflow:
            await handle.signal("abandon", {"actor": "ana"})
            assert (await handle.result()).unverified == ("node-01",)
        elif workflow is ReleaseWorkflow:
            await handle.signal("abort", {"actor": "ana"})
            assert (await handle.result()).phase is PromotionPhase.STOPPED
        else:
            await handle.terminate()  # an activity that this cuts off stops the skipping of time


@pytest.mark.parametrize("shape", ["zero", "valid", "null"])
@pytest.mark.parametrize(
    ("workflow", "signal", "end"),
    [
        (DeploymentWorkflow, "abort", Phase.ABORTED),
        (DeploymentWorkflow, "reject", Phase.REJECTED),
        (ApprovalWorkflow, "reject", GateResult.REJECTED),
    ],
)
async def test_stopping_needs_no_argument_at_all(stage, workflow, signal, end, shape):
    async with stage(World(policy=EARLY_GATE)) as scene:
        name = f"stop-{uuid.uuid4().hex[:8]}"
        handle = await scene.client.start_workflow(
            workflow.run, INPUTS[workflow](name), id=name, task_queue=CONTROL_QUEUE
        )
        await scene.until(lambda: scene.world.polls, skipping=False)
        await handle.signal(signal, args=SHAPES[shape])
        result = await handle.result()
    assert end in (getattr(result, "phase", None), getattr(result, "result", None))
