"""Node operations, batch by batch: stage, activate, verify, renew, revert.

Each node gets an operation id that is the same in every retry, so the node applies it once; the heartbeat
names the nodes that are finished, so a retry drives only the rest.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity
from typing_extensions import override

from activities.freezes import present_freeze
from activities.heartbeats import BatchProgress, beating
from activities.hooks import CalledHooks
from activities.margin import in_turn
from activities.operations import operation_id, operation_of, revert_operation
from activities.orders import Nodes
from clients.agent import AgentClient
from domain.deployment import NodeFailure
from domain.errors import HotswapError, NodeUnreachable, NotStaged, ReadBackMismatch
from domain.freeze import Freeze
from domain.hooks import HookPoint
from domain.messages import NodesOrder, NodesOutcome, RevertOrder
from domain.names import ModuleName
from domain.outcomes import OutcomeKind
from domain.readback import mismatch
from domain.release import ReleaseRef
from domain.wire import Action, ModuleReport, Operation
from store import nodes, releases, rollouts
from store.bundles import BundleDirectory
from store.database import Database
from store.records import NodeOutcome

NODES_AT_ONCE = 32


@dataclass
class _Observed:
    """What the nodes of a batch showed after the operation, to be recorded at its end.

    `held` were not started, because of `freeze`.
    """

    reports: dict[str, ModuleReport] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    freeze: Freeze | None = None


Drive = Callable[[str, str], Awaitable[ModuleReport]]  # (node, address) → what it showed afterwards


class AgentNodes(Nodes):
    """Drives agents through their HTTP API."""

    def __init__(
        self, database: Database, agents: AgentClient, bundles: BundleDirectory, hooks: CalledHooks
    ) -> None:
        self._database = database
        self._agents = agents
        self._bundles = bundles
        self._hooks = hooks

    def _hooked(self, order: NodesOrder, drive: Drive) -> Drive:
        """The change of a node, with the plan's hooks before and after it."""
        if not order.hooks:
            return drive

        async def hooked(node: str, address: str) -> ModuleReport:
            await self._hooks.at_node(order, node, HookPoint.BEFORE_NODE)
            try:
                report = await drive(node, address)
            except HotswapError as error:
                await self._hooks.at_node(order, node, HookPoint.AFTER_NODE, outcome=f"failed: {error.code}")
                raise
            await self._hooks.at_node(order, node, HookPoint.AFTER_NODE, outcome="done")
            return report

        return hooked

    @activity.defn
    @override
    async def stage(self, order: NodesOrder) -> NodesOutcome:
        async with self._database.transaction(order.tenant) as session:
            stored = await releases.by_ref(session, order.tenant, order.release)

        async def drive(node: str, address: str) -> ModuleReport:
            operation = operation_of(order, node, Action.STAGE, signature=stored.signature_base64)
            bundle = self._bundles.path_of(order.release.digest)
            agents = self._agents.of(order.tenant)
            return (await agents.stage(address, operation, bundle, deadline=order.deadline)).report

        return await self._batch(order, OutcomeKind.STAGED, drive, freezable=order)

    @activity.defn
    @override
    async def activate(self, order: NodesOrder) -> NodesOutcome:
        drive = self._hooked(order, self._ordered(order, Action.ACTIVATE))
        return await self._in_turn(order, OutcomeKind.ACTIVATED, drive)

    @activity.defn
    @override
    async def verify(self, order: NodesOrder) -> NodesOutcome:
        async def drive(node: str, address: str) -> ModuleReport:
            return await self._read_back(
                order, address, order.release.module, order.release, beside=order.beside
            )

        return await self._batch(order, OutcomeKind.VERIFIED, drive)

    @activity.defn
    @override
    async def start(self, order: NodesOrder) -> NodesOutcome:
        return await self._in_turn(order, OutcomeKind.STARTED, self._ordered(order, Action.START))

    @activity.defn
    @override
    async def smoke(self, order: NodesOrder) -> NodesOutcome:
        return await self._batch(order, OutcomeKind.STARTED, self._ordered(order, Action.SMOKE))

    @activity.defn
    @override
    async def switch(self, order: NodesOrder) -> NodesOutcome:
        drive = self._hooked(order, self._ordered(order, Action.ACTIVATE, keep=True))
        return await self._in_turn(order, OutcomeKind.ACTIVATED, drive)

    @activity.defn
    @override
    async def settle(self, order: NodesOrder) -> NodesOutcome:
        settled = self._ordered(order, Action.SETTLE)

        async def drive(node: str, address: str) -> ModuleReport:
            await settled(node, address)
            return await self._read_back(order, address, order.release.module, order.release)

        return await self._batch(order, OutcomeKind.VERIFIED, drive, freezable=order)

    @activity.defn
    @override
    async def renew(self, order: NodesOrder) -> NodesOutcome:
        prior = await self._prior(order)

        async def drive(node: str, address: str) -> ModuleReport:
            stable = prior.get(node)
            if stable is None:
                raise NotStaged(f"{node} had nothing installed when the plan was made")
            own = order.model_copy(update={"release": stable})

            renewed = self._ordered(own, Action.RENEW)

            async def restart(node: str, address: str) -> ModuleReport:
                await renewed(node, address)
                return await self._read_back(order, address, stable.module, stable)

            return await self._hooked(own, restart)(node, address)

        async def untouched(
            session: AsyncSession, tenant: str, deployment: str, _nodes: object, _wave: int
        ) -> None:
            await rollouts.goes_forward(session, tenant, deployment)

        return await in_turn(
            self._database, order, lambda part: self._batch(part, None, drive, freezable=part), untouched
        )

    @activity.defn
    @override
    async def revert(self, order: RevertOrder) -> NodesOutcome:
        prior = await self._prior(order)

        async def drive(node: str, address: str) -> ModuleReport:
            operation = revert_operation(order, node, prior[node])
            try:
                return await self._operate(order, address, operation)
            except NotStaged:
                await self._stage_again(order, node, address, prior[node])
                again = operation.model_copy(update={"id": f"{operation.id}:staged"})
                return await self._operate(order, address, again)

        return await self._batch(order, OutcomeKind.REVERTED, drive)

    @activity.defn
    @override
    async def verify_reverted(self, order: RevertOrder) -> NodesOutcome:
        prior = await self._prior(order)

        async def drive(node: str, address: str) -> ModuleReport:
            return await self._read_back(order, address, order.module, prior[node])

        return await self._batch(order, OutcomeKind.REVERT_VERIFIED, drive)

    async def _in_turn(self, order: NodesOrder, kind: OutcomeKind, drive: Drive) -> NodesOutcome:
        """As `_batch`, for what changes nodes: not in a freeze, and only while their zones can spare them."""
        return await in_turn(
            self._database, order, lambda part: self._batch(part, kind, drive, freezable=part)
        )

    async def _batch(
        self,
        order: NodesOrder | RevertOrder,
        kind: OutcomeKind | None,
        drive: Drive,
        *,
        freezable: NodesOrder | None = None,
    ) -> NodesOutcome:
        """Drive the nodes of a batch that are not finished yet, and record what became of each, as `kind`.

        A `freezable` order is asked for a freeze before each node is begun: what has begun is finished,
        and the rest is handed back.
        """
        progress = BatchProgress()
        async with self._database.transaction(order.tenant) as session:
            addresses = await nodes.addresses(session, order.tenant, order.nodes)
        waiting = [name for name in order.nodes if name not in progress.finished()]
        async with beating(progress):
            observed = await self._drive_all(waiting, addresses, drive, progress, freezable)
            if kind is not None:
                await self._record(order, kind, progress, observed)
        return NodesOutcome(
            done=len(progress.done),
            failures=tuple(progress.failures),
            held=tuple(name for name in order.nodes if name in observed.held),
            freeze=observed.freeze,
        )

    async def _drive_all(
        self,
        waiting: list[str],
        addresses: Mapping[str, str],
        drive: Drive,
        progress: BatchProgress,
        freezable: NodesOrder | None,
    ) -> _Observed:
        slots = asyncio.Semaphore(NODES_AT_ONCE)
        observed = _Observed()

        async def one(node: str) -> None:
            async with slots:
                if freezable is not None and node not in progress.started:
                    freeze = await present_freeze(self._database, freezable)
                    if freeze is not None:
                        observed.held.append(node)
                        observed.freeze = freeze
                        return
                progress.begin(node)
                try:
                    if node not in addresses:
                        raise NodeUnreachable(f"{node} is not in the inventory any more")
                    observed.reports[node] = await drive(node, addresses[node])
                except HotswapError as error:
                    progress.failures.append(NodeFailure(node=node, code=error.code, message=error.message))
                else:
                    progress.done.append(node)
                progress.beat()

        await asyncio.gather(*(one(node) for node in waiting))
        return observed

    async def _record(
        self,
        order: NodesOrder | RevertOrder,
        kind: OutcomeKind,
        progress: BatchProgress,
        observed: _Observed,
    ) -> None:
        failures = {failure.node: failure for failure in progress.failures}
        outcomes = [
            NodeOutcome(
                node=name,
                outcome=OutcomeKind.FAILED if name in failures else kind,
                fault=failures.get(name),
                observed=observed.reports.get(name),
            )
            for name in order.nodes
            if name not in observed.held
        ]
        async with self._database.transaction(order.tenant) as session:
            await rollouts.record_outcomes(session, order.tenant, order.deployment, outcomes)

    def _ordered(self, order: NodesOrder, action: Action, *, keep: bool = False) -> Drive:
        """One operation on each node, and what it reports then."""

        async def drive(node: str, address: str) -> ModuleReport:
            return await self._operate(order, address, operation_of(order, node, action, keep=keep))

        return drive

    async def _operate(
        self, order: NodesOrder | RevertOrder, address: str, operation: Operation
    ) -> ModuleReport:
        agents = self._agents.of(order.tenant)
        return (await agents.operate(address, operation, deadline=order.deadline)).report

    async def _read_back(
        self,
        order: NodesOrder | RevertOrder,
        address: str,
        module: ModuleName,
        expected: ReleaseRef | None,
        *,
        beside: bool = False,
    ) -> ModuleReport:
        agents = self._agents.of(order.tenant)
        report = await agents.module(address, module, deadline=order.deadline)
        difference = mismatch(report, expected, beside=beside)
        if difference is not None:
            raise ReadBackMismatch(difference)
        return report

    async def _prior(self, order: NodesOrder | RevertOrder) -> dict[str, ReleaseRef | None]:
        of = order.of if isinstance(order, RevertOrder) else order.deployment
        async with self._database.transaction(order.tenant) as session:
            return await rollouts.prior(session, order.tenant, of, order.nodes)

    async def _stage_again(
        self, order: RevertOrder, node: str, address: str, release: ReleaseRef | None
    ) -> None:
        if release is None:
            raise NotStaged(f"{node} cannot say what to remove")
        async with self._database.transaction(order.tenant) as session:
            stored = await releases.by_ref(session, order.tenant, release)
        operation = Operation(
            id=operation_id(order, node, Action.STAGE),
            action=Action.STAGE,
            module=order.module,
            fence=order.fence,
            release=release,
            signature=stored.signature_base64,
        )
        await self._agents.of(order.tenant).stage(
            address, operation, self._bundles.path_of(release.digest), deadline=order.deadline
        )
