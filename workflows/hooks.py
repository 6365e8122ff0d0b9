"""Hooks from a workflow's side: one activity each, and what a failure means for the rollout."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from domain.console import clip
from domain.deployment import Cause, CauseKind, Phase
from domain.hooks import Boundary, HookOrder, HookOutcome, HookPoint, HookResult, HookRule
from domain.messages import DeploymentResult, RollbackInput
from domain.plan import Plan
from workflows.controls import Halted
from workflows.options import hook_call
from workflows.rollout import Rollout
from workflows.tasks import to_the_end

with workflow.unsafe.imports_passed_through():
    from activities.orders import Hooks


async def heed_hooks(rollout: Rollout, plan: Plan, boundaries: Iterable[Boundary]) -> None:
    """Call what the plan has for these points, one after the other.

    Raises:
        Halted: one said ABORT, or failed and its rule says stop.
    """
    for point, wave in boundaries:
        for rule in plan.hooks:
            if rule.at is point:
                await _heed(rollout, plan, rule, wave)


async def _heed(rollout: Rollout, plan: Plan, rule: HookRule, wave: int | None) -> None:
    order = _of_plan(rollout, plan, rule).model_copy(update={"wave": wave, "outcome": _so_far(rule.at)})
    outcome: HookOutcome | None
    if rule.polled:
        waiting = f"hook {rule.name}"
        await rollout.board.enter(Phase.HOLDING, f"asking hook {rule.name}", wave=wave, waiting_for=waiting)
        with rollout.deadline.held():
            outcome = await rollout.attend(_called(order), skippable=True)
    else:
        outcome = await rollout.attend(_called(order))
    if outcome is None or outcome.result is HookResult.DONE:
        return
    words = f"hook {rule.name} {rule.at}: {outcome.message}{f' ({outcome.link})' if outcome.link else ''}"
    if outcome.result is HookResult.ABORTED or rule.on_failure == "stop":
        raise Halted(Cause(kind=CauseKind.HOOK, message=words))
    if rule.on_failure == "hold":
        await rollout.board.enter(Phase.HOLDING, words, wave=wave, waiting_for="a person: promote or abort")
        with rollout.deadline.held():
            await rollout.attend(workflow.wait_condition(lambda: False), skippable=True)


def _so_far(point: HookPoint) -> str | None:
    return "done" if point is HookPoint.AFTER_WAVE else None


def _of_plan(rollout: Rollout, plan: Plan, rule: HookRule) -> HookOrder:
    return HookOrder(
        rule=rule,
        tenant=plan.tenant,
        environment=plan.environment,
        deployment=rollout.request.deployment,
        module=plan.release.module,
        version=plan.release.version,
        plan=plan.digest,
    )


async def tell_the_end(rollout: Rollout, result: DeploymentResult) -> None:
    """Tell how a deployment ended that had a plan. Nothing can be stopped any more."""
    plan = rollout.board.plan
    for rule in plan.hooks if plan is not None else ():
        if plan is not None and rule.at is HookPoint.AFTER_DEPLOYMENT:
            cause = result.cause.message if result.cause else None
            order = _of_plan(rollout, plan, rule)
            order = order.model_copy(update={"outcome": str(result.phase), "cause": cause})
            await to_the_end(_called(order))


async def tell_of_rollback(
    rules: Sequence[HookRule], request: RollbackInput, release: tuple[str, str], *, outcome: Phase | None
) -> None:
    """Tell of a rollback, before it (no outcome) or after it. It never waits for this, nor fails with it."""
    point = HookPoint.BEFORE_ROLLBACK if outcome is None else HookPoint.AFTER_ROLLBACK
    for rule in rules:
        if rule.at is point:
            order = HookOrder(
                rule=rule,
                tenant=request.tenant,
                environment=request.environment,
                deployment=request.deployment,
                module=release[0],
                version=release[1],
                outcome=str(outcome) if outcome is not None else None,
                cause=request.cause.message,
            )
            await _called(order)


async def _called(order: HookOrder) -> HookOutcome:
    """The outcome; an activity that failed as a whole (no worker came back in time) is a failed hook."""
    try:
        outcome: HookOutcome = await workflow.execute_activity_method(
            Hooks.call_hook,
            order,
            summary=clip(f"hook {order.rule.name} {order.rule.at}"),
            **hook_call(timedelta(seconds=order.rule.longest)),
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        return HookOutcome(result=HookResult.FAILED, message=str(error.cause or error))
    return outcome
