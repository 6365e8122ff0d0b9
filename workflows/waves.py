"""Waves: one operation on the nodes that change together, within the failure budget; and their bake."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow

from domain.attribution import Attributed, Blame, of
from domain.console import count
from domain.deployment import Cause, CauseKind, NodeFailure, Phase
from domain.errors import ZoneShort
from domain.messages import NodesOutcome
from domain.names import NodeName
from domain.plan import Bake, Plan, Step
from domain.steps import Keep, Pause
from workflows.controls import Halted
from workflows.fleet import Work, drive, wave_operation
from workflows.losses import SHOWN
from workflows.pausing import WHO_RESUMES
from workflows.rollout import Rollout
from workflows.tasks import within

with workflow.unsafe.imports_passed_through():
    from activities.orders import Nodes

PAUSES_APART: Final = "the-end-of-a-plans-pause-ends-no-other"  # before, it did

# What each of the steps that are one operation per node does, and under which phase and words it is shown.
_OPERATIONS: Final[dict[str, tuple[Phase, Any, str]]] = {
    "stage": (Phase.STAGING, Nodes.stage, "staging"),
    "start": (Phase.STAGING, Nodes.start, "starting beside, in"),
    "smoke": (Phase.VERIFYING, Nodes.smoke, "smoke-testing"),
    "activate": (Phase.ACTIVATING, Nodes.activate, "activating"),
    "switch": (Phase.ACTIVATING, Nodes.switch, "switching"),
    "verify": (Phase.VERIFYING, Nodes.verify, "verifying"),
    "retire": (Phase.VERIFYING, Nodes.settle, "retiring what was replaced in"),
}


async def perform(rollout: Rollout, plan: Plan, step: Step) -> None:
    """A step that is one operation on each node of its wave.

    Raises:
        Halted: too many nodes have failed.
    """
    phase, operation, doing = _OPERATIONS[step.kind]
    await on_wave(rollout, plan, step.wave, phase, operation, doing=doing)


async def on_wave(
    rollout: Rollout, plan: Plan, wave: int, phase: Phase, operation: Any, *, doing: str = ""
) -> None:
    """One operation on the wave's nodes that have not failed yet, within the failure budget.

    `doing` says what it is where the phase's name does not.

    Raises:
        Halted: too many nodes have failed.
    """
    waiting = plan.wave(wave).nodes
    what = doing or str(phase)

    def gives_up(failures: Sequence[NodeFailure], executed: int) -> bool:
        return rollout.controls.stopping or rollout.losses.gives_up(plan, wave, failures, executed)

    work: Work = wave_operation(
        operation, plan=plan, wave=wave, deployment=rollout.request.deployment, fence=rollout.fence
    )
    while waiting := rollout.able(waiting):
        await rollout.board.enter(
            phase, f"{what} wave {wave} of {len(plan.waves)}: {count(len(waiting), 'node')}", wave=wave
        )
        outcome: NodesOutcome = await rollout.attend(
            drive(
                waiting,
                work,
                may_start=rollout.may_start,
                give_up=gives_up,
                hold=rollout.hold.until_thawed,
            ),
            finish=True,
        )
        if not outcome.failures:
            rollout.losses.through(wave)
            return
        waiting = await _lose(rollout, plan, wave, outcome, what)
    if not rollout.able(plan.wave(wave).nodes):
        words = f"no node of wave {wave} is left: all have failed"
        raise Halted(Cause(kind=CauseKind.NODE_FAILURES, message=words))


async def _lose(
    rollout: Rollout, plan: Plan, wave: int, outcome: NodesOutcome, what: str
) -> tuple[NodeName, ...]:
    """Put failures down to somebody and go on without those nodes; after an outage, the nodes to try again.

    Raises:
        Halted: too many nodes have failed.
    """
    fresh = rollout.losses.look_at(plan, outcome.failures, outcome.done + len(outcome.failures))
    away = of(Blame.INFRASTRUCTURE, fresh)
    lost = tuple(each for each in fresh if each.blame is not Blame.INFRASTRUCTURE)
    words = "; ".join(each.words for each in fresh[:SHOWN])
    await rollout.board.nodes_failed(f"{what} failed on {words}", wave)
    rollout.losses.judge(plan, wave, lost, outcome, what)
    await rollout.losses.take(plan, lost)
    rollout.losses.through(wave)
    if not away:
        return ()
    await rollout.board.enter(
        Phase.HOLDING,
        _why_held(away),
        wave=wave,
        waiting_for="a person: promote to try again, or abort",
    )
    with rollout.deadline.held():
        await rollout.attend(workflow.wait_condition(lambda: False), skippable=True)
    return plan.wave(wave).nodes


def _why_held(away: Sequence[Attributed]) -> str:
    short = [each.failure.node for each in away if each.failure.code == ZoneShort.code]
    if short:
        return f"too few other nodes of their zones are up to start {', '.join(short[:SHOWN])}"
    return f"{count(len(away), 'node')} cannot be reached at once: an outage of the infrastructure"


async def bake(rollout: Rollout, plan: Plan, step: Bake) -> None:
    """Let it run, then read back again: a module that died meanwhile fails the wave.

    Raises:
        Halted: too many nodes have failed.
    """
    await rollout.board.enter(Phase.BAKING, f"wave {step.wave} bakes {step.seconds:.0f} s", wave=step.wave)
    pause = workflow.sleep(timedelta(seconds=step.seconds), summary=f"bake wave {step.wave}")
    await rollout.attend(pause, skippable=True)
    await on_wave(rollout, plan, step.wave, Phase.VERIFYING, Nodes.verify)


async def keep(rollout: Rollout, plan: Plan, step: Keep) -> None:
    """What was replaced stays for an instant return; then the nodes are read back.

    Raises:
        Halted: too many nodes have failed.
    """
    message = f"wave {step.wave}: what ran before is kept {step.seconds:.0f} s for an instant return"
    await rollout.board.enter(Phase.BAKING, message, wave=step.wave)
    pause = workflow.sleep(timedelta(seconds=step.seconds), summary=f"keep what wave {step.wave} replaced")
    await rollout.attend(pause, skippable=True)
    await on_wave(rollout, plan, step.wave, Phase.VERIFYING, Nodes.verify)


async def rest(rollout: Rollout, step: Pause) -> None:
    """Hold until a person resumes or promotes; with a time, at most so long.

    What else pauses the rollout meanwhile (a person, the background analysis) holds it on afterwards.
    """
    controls = rollout.controls
    until = f", {step.seconds:.0f} s at most" if step.seconds is not None else ""
    words, before = f"the plan pauses after wave {step.wave}{until}", controls.resumes
    await rollout.board.enter(Phase.PAUSED, words, wave=step.wave, waiting_for=WHO_RESUMES)
    with rollout.deadline.held():
        resumed = within(step.seconds, lambda: controls.resumes != before)
        await rollout.attend(resumed, skippable=True)
    if controls.paused and not workflow.patched(PAUSES_APART):
        controls.paused_by = None
