"""One operation over many nodes: batches side by side, never more failures than the budget allows."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from domain.console import clip
from domain.deployment import NodeFailure
from domain.freeze import Freeze
from domain.messages import NodesOrder, NodesOutcome
from domain.names import NodeName
from domain.plan import Plan, batches
from workflows.causes import code_of
from workflows.options import BATCHES_AT_ONCE, node_operation

Work = Callable[[tuple[NodeName, ...]], Awaitable[NodesOutcome]]


async def _at_once() -> None:
    await workflow.wait_condition(lambda: True)


async def drive(
    nodes: tuple[NodeName, ...],
    work: Work,
    *,
    may_start: Callable[[], Awaitable[None]] = _at_once,
    give_up: Callable[[Sequence[NodeFailure], int], bool] = lambda _failures, _executed: False,
    hold: Callable[[Freeze], Awaitable[None]] | None = None,
    slices: Callable[[tuple[NodeName, ...]], list[tuple[NodeName, ...]]] = batches,
) -> NodesOutcome:
    """Run `work` on every batch of `nodes`.

    Args:
        nodes: in the order in which they are taken.
        work: the operation on one batch.
        may_start: waited for before each batch: until it is over, no further batch starts (pause, freeze).
        give_up: asked with (failures, executed) before each batch; yes leaves the rest untouched.
        hold: waits for the end of a freeze that kept nodes of a batch from starting, as `may_start` does
            meanwhile. Then those nodes come first.
        slices: cuts the nodes into batches.

    Returns:
        All batches' outcomes together. A batch whose activity failed as a whole counts all its nodes as
        failed, with the activity's error.
    """
    waiting = deque(slices(nodes))
    done = 0
    failures: list[NodeFailure] = []

    async def hand() -> None:
        nonlocal done
        while waiting:
            await may_start()
            if not waiting or give_up(failures, done + len(failures)):
                return
            batch = waiting.popleft()
            outcome = await _outcome(work, batch)
            done += outcome.done
            failures.extend(outcome.failures)
            if outcome.held:
                waiting.appendleft(outcome.held)
            if outcome.freeze is not None and hold is not None:
                await hold(outcome.freeze)

    hands = [asyncio.create_task(hand()) for _ in range(min(len(waiting), BATCHES_AT_ONCE))]
    try:
        await asyncio.gather(*hands)
    except asyncio.CancelledError:
        await workflow.wait(hands)  # gather cancels them, but does not wait until they are over
        raise
    return NodesOutcome(done=done, failures=tuple(failures))


async def _outcome(work: Work, batch: tuple[NodeName, ...]) -> NodesOutcome:
    try:
        return await work(batch)
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        code = code_of(error) or "deadline"
        words = str(error.cause or error)
        return NodesOutcome(
            done=0, failures=tuple(NodeFailure(node=name, code=code, message=words) for name in batch)
        )


def wave_operation(operation: Any, *, plan: Plan, wave: int, deployment: str, fence: int) -> Work:
    """The node activity `operation` on one batch of a wave, with its time-outs and a summary for people."""
    options = node_operation(plan.deadlines.wave)

    async def work(batch: tuple[NodeName, ...]) -> NodesOutcome:
        order = NodesOrder(
            tenant=plan.tenant,
            environment=plan.environment,
            deployment=deployment,
            wave=wave,
            nodes=batch,
            release=plan.release,
            fence=fence,
            deadline=plan.deadlines.node,
            beside=plan.beside(wave),
            min_healthy=plan.min_healthy,
            hooks=plan.node_hooks,
        )
        outcome: NodesOutcome = await workflow.execute_activity_method(
            operation, order, summary=clip(f"{named(batch)}, wave {wave}"), **options
        )
        return outcome

    return work


def named(batch: tuple[NodeName, ...]) -> str:
    """A batch for people: its only node, or the first and how many more."""
    return batch[0] if len(batch) == 1 else f"{batch[0]} and {len(batch) - 1} more"
