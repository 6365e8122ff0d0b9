"""The gates of a rollout: each is a workflow of its own, and the rollout waits for its result."""

from temporalio import workflow

from domain.approval import ApprovalInput, ApprovalResult, Subject
from domain.console import clip
from domain.deployment import Cause, CauseKind, Phase
from domain.gate import GateResult
from domain.gate_rule import SubjectKind
from domain.names import approval_id
from domain.plan import Gate, Plan
from domain.vote import Decision
from workflows.approval import ApprovalWorkflow
from workflows.controls import Halted
from workflows.rollout import Rollout


async def pass_gate(rollout: Rollout, step: Gate) -> None:
    """Wait for people. Their votes bind to the digest of the plan in force.

    Where that was amended in the instant in which they decided, they are asked anew.

    Raises:
        Halted: they said no, or nobody said anything in time.
    """
    plan, times = rollout.amending.plan, 1
    approval = await _asked(rollout, plan, step, times)
    while approval.approves(plan.digest) and plan != rollout.amending.plan:
        plan, times = rollout.amending.plan, times + 1
        approval = await _asked(rollout, plan, step, times)
    if not approval.approves(rollout.amending.plan.digest):
        raise Halted(_refusal(step.rule.name, approval))


async def _asked(rollout: Rollout, plan: Plan, step: Gate, times: int) -> ApprovalResult:
    """One gate, from its opening to its end."""
    rule = step.rule
    name = rule.name if times == 1 else f"{rule.name}.{times}"
    await rollout.board.enter(
        Phase.WAITING_APPROVAL,
        f"gate {rule.name} before wave {step.wave}",
        wave=step.wave,
        waiting_for=rule.missing([]).words,
    )
    request = ApprovalInput(
        tenant=plan.tenant,
        environment=plan.environment,
        deployment=rollout.request.deployment,
        gate=approval_id(rollout.request.deployment, name),
        rule=rule,
        requester=rollout.request.requester,
        amended_by=rollout.amending.authors,
        unsigned_votes=plan.unsigned_votes,
        subject=Subject(
            kind=SubjectKind.DEPLOYMENT,
            reference=rollout.request.deployment,
            digest=plan.digest,
            words=f"{plan.release} to {plan.environment}, wave {step.wave} of {len(plan.waves)}",
        ),
    )
    gate = await workflow.start_child_workflow(
        ApprovalWorkflow.run,
        request,
        id=request.gate,
        static_summary=clip(f"gate {rule.name}: {request.subject.words}"),
        search_attributes=rollout.attributes,
    )
    with rollout.deadline.held(), rollout.controls.passing_votes_to(gate):
        approval: ApprovalResult = await rollout.attend(gate)
    return approval


def _refusal(gate: str, approval: ApprovalResult) -> Cause:
    kind = CauseKind.EXPIRED if approval.result is GateResult.EXPIRED else CauseKind.REJECTED
    voters = ", ".join(vote.voter for vote in approval.poll.votes if vote.decision is Decision.REJECT)
    words = f"gate {gate} {approval.result}{' by ' + voters if voters else ''}"
    if approval.result is GateResult.APPROVED:
        words = f"gate {gate} approved another plan, {approval.poll.plan[:12]}"
    return Cause(kind=kind, message=words, actor=voters or None)
