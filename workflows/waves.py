"""Waves: one operation on the nodes that change together, within the failure budget; and their bake."""

from datetime import timedelta
from typing import Any

from temporalio import workflow

from domain.console import count
from domain.deployment import Cause, CauseKind, Phase
from domain.messages import NodesOutcome
from domain.plan import Bake, Plan
from workflows.controls import Halted
from workflows.fleet import Work, drive, wave_operation
from workflows.rollout import Rollout

with workflow.unsafe.imports_passed_through():
    from activities.orders import Nodes


async def on_wave(rollout: Rollout, plan: Plan, wave: int, phase: Phase, operation: Any) -> None:
    """One operation on the wave's nodes that have not failed yet, within the failure budget.

    Raises:
        Halted: too many nodes have failed.
    """
    nodes = rollout.able(plan.wave(wave).nodes)
    await rollout.board.enter(
        phase, f"{phase} wave {wave} of {len(plan.waves)}: {count(len(nodes), 'node')}", wave=wave
    )
    before = len(rollout.failed)

    def too_many(failed: int, executed: int) -> bool:
        return plan.failures.exceeded(failed=before + failed, executed=before + executed)

    work: Work = wave_operation(
        operation, plan=plan, wave=wave, deployment=rollout.request.deployment, fence=rollout.fence
    )
    outcome: NodesOutcome = await rollout.attend(
        drive(nodes, work, may_start=lambda: not rollout.controls.paused, give_up=too_many)
    )
    if not outcome.failures:
        return
    rollout.failed.update({failure.node: failure for failure in outcome.failures})
    words = "; ".join(f"{failure.node}: {failure.message}" for failure in outcome.failures[:20])
    await rollout.board.nodes_failed(f"{phase} failed on {words}", wave)
    if too_many(len(outcome.failures), outcome.done + len(outcome.failures)):
        raise Halted(Cause(kind=CauseKind.NODE_FAILURES, message=f"{phase} failed on {words}"))


async def bake(rollout: Rollout, plan: Plan, step: Bake) -> None:
    """Let it run, then read back again: a module that died meanwhile fails the wave.

    Raises:
        Halted: too many nodes have failed.
    """
    await rollout.board.enter(Phase.BAKING, f"wave {step.wave} bakes {step.seconds:.0f} s", wave=step.wave)
    pause = workflow.sleep(timedelta(seconds=step.seconds), summary=f"bake wave {step.wave}")
    await rollout.attend(pause, skippable=True)
    await on_wave(rollout, plan, step.wave, Phase.VERIFYING, Nodes.verify)
