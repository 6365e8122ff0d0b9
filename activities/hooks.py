"""Calling hooks, and writing down what came of them."""

import hashlib

from temporalio import activity
from typing_extensions import override

from activities.heartbeats import beating
from activities.orders import Hooks
from clients.hooks import HookCaller
from domain.console import clip
from domain.errors import HookFailed
from domain.events import EventKind
from domain.hooks import HookOrder, HookOutcome, HookPoint, HookResult, HookRule
from domain.messages import NodesOrder
from store import hooks
from store.database import Database

_EVENTS = {
    HookResult.DONE: EventKind.HOOK_CALLED,
    HookResult.WAITS: EventKind.HOOK_WAITS,
    HookResult.ABORTED: EventKind.HOOK_ABORTED,
    HookResult.FAILED: EventKind.HOOK_FAILED,
}


class CalledHooks(Hooks):
    """Calls through the worker's own settings; the store has what came of it before the workflow knows."""

    def __init__(self, database: Database, caller: HookCaller) -> None:
        self._database = database
        self._caller = caller

    @activity.defn
    @override
    async def call_hook(self, order: HookOrder) -> HookOutcome:
        async def told(outcome: HookOutcome) -> None:
            await self._record(order, outcome)

        since = activity.info().scheduled_time.timestamp()
        async with beating():
            outcome = await self._caller.run(order, since=since, told=told)
            await self._record(order, outcome)
        return outcome

    async def at_node(
        self, order: NodesOrder, node: str, point: HookPoint, *, outcome: str | None = None
    ) -> None:
        """Call the hooks of a node's change. Only failures are written down: there may be many nodes.

        Raises:
            HookFailed: one failed whose rule says stop; the node counts as failed.
        """
        for rule in order.hooks:
            if rule.at is point:
                await self._at_node(order, node, rule, outcome)

    async def _at_node(self, order: NodesOrder, node: str, rule: HookRule, outcome: str | None) -> None:
        call = HookOrder(
            rule=rule,
            tenant=order.tenant,
            environment=order.environment,
            deployment=order.deployment,
            module=order.release.module,
            version=order.release.version,
            wave=order.wave,
            node=node,
            outcome=outcome,
        )
        came = await self._caller.run(call, since=0.0, told=_nobody)
        if came.result is HookResult.DONE:
            return
        await self._record(call, came)
        if rule.on_failure == "stop":
            raise HookFailed(f"hook {rule.name} {rule.at}: {came.message}")

    async def _record(self, order: HookOrder, outcome: HookOutcome) -> None:
        """One event per result, and one per different explanation of why it waits."""
        explained = hashlib.sha256(f"{outcome.message} {outcome.link}".encode()).hexdigest()[:12]
        suffix = f"-{explained}" if outcome.result is HookResult.WAITS else ""
        message = clip(f"hook {order.rule.name} {order.rule.at}: {outcome.result}: {outcome.message}", 2000)
        async with self._database.transaction(order.tenant) as session:
            await hooks.record(
                session,
                order,
                outcome,
                key=f"hook-{order.id}-{outcome.result}{suffix}",
                kind=_EVENTS[outcome.result],
                message=message,
            )


async def _nobody(_outcome: HookOutcome) -> None:
    """Hooks of nodes are not polled: there is nothing to tell."""
