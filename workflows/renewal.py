"""The fresh baseline: nodes that are not changed yet are restarted on the release that they run."""

from temporalio import workflow

from domain.console import count
from domain.deployment import Phase
from domain.messages import NodesOutcome
from domain.plan import Plan
from domain.steps import Renew
from workflows.fleet import drive, wave_operation
from workflows.losses import SHOWN
from workflows.rollout import Rollout

with workflow.unsafe.imports_passed_through():
    from activities.orders import Nodes


async def renew(rollout: Rollout, plan: Plan, step: Renew) -> None:
    """Restart them, as one batch: each zone's margin is asked for all of them together.

    A node where that fails is left out of the baseline. The release is not to blame, neither now nor when the
    node's own turn comes: its module was ill before.
    """
    if rollout.renewed_at is None:
        rollout.renewed_at = workflow.time()
    nodes = rollout.able(step.nodes)
    if not nodes:
        return
    what = f"renewing {plan.replaces} on {count(len(nodes), 'node')}: the fresh baseline of wave {step.wave}"
    await rollout.board.enter(Phase.ACTIVATING, what, wave=step.wave)
    work = wave_operation(
        Nodes.renew, plan=plan, wave=step.wave, deployment=rollout.request.deployment, fence=rollout.fence
    )
    outcome: NodesOutcome = await rollout.attend(
        drive(
            nodes,
            work,
            may_start=rollout.may_start,
            give_up=lambda _failures, _executed: rollout.controls.stopping,
            hold=rollout.hold.until_thawed,
            slices=lambda together: [together],
        ),
        finish=True,
    )
    if outcome.failures:
        failed = tuple(failure.node for failure in outcome.failures)
        rollout.not_renewed = (*rollout.not_renewed, *failed)
        rollout.losses.ailing = (*rollout.losses.ailing, *failed)
        words = "; ".join(f"{each.node}: {each.message}" for each in outcome.failures[:SHOWN])
        await rollout.board.nodes_failed(f"renewing failed, not in the baseline: {words}", step.wave)
