"""Small honest nodes behind the fake hands: each holds a release, does as told, and says what it runs.

Everything that happens in such a world is one log, in order: what was recorded, which node was started for
which wave, when freezes opened and closed. `tests.workflows.allowed` reads it.
"""

import asyncio
from dataclasses import dataclass, field

from temporalio import activity
from temporalio.exceptions import ApplicationError

from domain.amendment import AmendmentState
from domain.approval import PollRecord
from domain.deployment import NodeFailure, Phase, advance
from domain.errors import IllegalTransition, NodeUnreachable, NotStaged, PlanImpossible, ReadBackMismatch
from domain.freeze_orders import AdHocFreeze, Thaw
from domain.messages import (
    AmendmentEntry,
    DeploymentInput,
    NodesOrder,
    NodesOutcome,
    Prepared,
    Progress,
    QuarantineOrder,
    RevertOrder,
    RollbackInput,
    RollbackTargets,
)
from domain.node import Node
from domain.plan import Plan
from domain.planner import LeftOut, make_plan
from tests.workflows.world import RELEASE, World

OLD = "1.0.0"
CHANGING = frozenset(("start", "activate", "switch"))
FREEZABLE = CHANGING | {"stage", "settle"}


@dataclass
class HonestNode:
    """One node. `beside` is what runs next to its release; a broken one cannot start anything new."""

    name: str
    release: str = OLD
    beside: str | None = None
    staged: set[str] = field(default_factory=set)
    alive: bool = True
    broken: bool = False

    def obey(self, action: str, version: str) -> str | None:
        """Do as told; the code of the error when it cannot."""
        if not self.alive:
            return NodeUnreachable.code
        if action in CHANGING and self.broken:
            return "start-failed"
        return self._objection(action, version) or self._change(action, version)

    def _objection(self, action: str, version: str) -> str | None:
        match action:
            case "activate" | "start" if version not in self.staged:
                return NotStaged.code
            case "smoke" | "switch" if self.beside != version:
                return NotStaged.code
            case "verify" if self.release != version:
                return ReadBackMismatch.code
            case "verify_reverted" if (self.release, self.beside) != (version, None):
                return ReadBackMismatch.code
        return None

    def _change(self, action: str, version: str) -> None:
        match action:
            case "stage":
                self.staged.add(version)
            case "activate":
                self.release = version
            case "start":
                self.beside = version
            case "switch":
                self.release, self.beside = version, self.release
            case "settle":
                self.beside = None
            case "revert":
                self.release, self.beside = version, None


@dataclass(frozen=True)
class Entry:
    """One thing that happened. `number` counts the activities of the workflow that ordered it."""

    what: str
    deployment: str = ""
    number: int = 0
    at: float = 0.0
    progress: Progress | None = None
    poll: PollRecord | None = None
    plan: Plan | None = None
    node: str = ""
    action: str = ""
    wave: int = 0
    nodes: dict[str, tuple[str, str | None]] = field(default_factory=dict)


@dataclass
class HonestWorld(World):
    """`hands` is cleared to keep the hands at the node that they are on: before its change, with `late`."""

    log: list[Entry] = field(default_factory=list)
    prior: dict[str, dict[str, str]] = field(default_factory=dict)
    lost: dict[str, set[str]] = field(default_factory=dict)
    late: bool = False
    joined: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hands = asyncio.Event()
        self.hands.set()
        self.honest = {node.name: HonestNode(node.name) for node in self.fleet}

    def join(self) -> None:
        """A new node, with the release that all have."""
        self.joined += 1
        name = f"late-{self.joined}"
        labels = {"zone": "abc"[self.joined % 3]}
        address = f"https://127.0.0.1:{7800 + self.joined}"
        self.fleet.append(Node(name=name, environment="production", address=address, labels=labels))
        self.honest[name] = HonestNode(name)

    def happened(self, what: str, **facts: object) -> None:
        """The next entry of the log, with what every node runs at this moment."""
        at = activity.info().current_attempt_scheduled_time.timestamp()
        number = int(activity.info().activity_id)
        nodes = {name: (node.release, node.beside) for name, node in self.honest.items()}
        self.log.append(Entry(what=what, number=number, at=at, nodes=nodes, **facts))

    def phase_of(self, deployment: str) -> Phase:
        """Where a deployment stands by its records."""
        phases = [each.phase for each in self.progress if each.deployment == deployment and each.phase]
        return phases[-1] if phases else Phase.QUEUED

    @activity.defn(name="prepare")
    async def prepare(self, request: DeploymentInput) -> Prepared:
        alive = [node for node in self.fleet if self.honest[node.name].alive]
        away = tuple(node.name for node in self.fleet if node not in alive)
        try:
            plan = make_plan(
                tenant=request.tenant,
                environment=request.environment,
                release=RELEASE.model_copy(update={"version": request.version}),
                nodes=alive,
                running={node.name: self.honest[node.name].release for node in alive},
                strategy=self.strategy,
                policy=self.policy,
                left_out=LeftOut(deferred=away),
            )
        except PlanImpossible as error:
            raise ApplicationError(error.message, type=error.code, non_retryable=True) from error
        self.happened("planned", deployment=request.deployment, plan=plan)
        return Prepared(plan=plan, fence=1000)

    @activity.defn(name="record")
    async def record(self, progress: Progress) -> None:
        """As the store: a key counts once, and a phase that may not follow is refused."""
        if (progress.deployment, progress.key) in [(each.deployment, each.key) for each in self.progress]:
            return
        if progress.phase is not None:
            try:
                advance(self.phase_of(progress.deployment), progress.phase)
            except IllegalTransition as error:
                self.happened("illegal", deployment=progress.deployment, progress=progress)
                raise ApplicationError(error.message, type=error.code, non_retryable=True) from error
        self.progress.append(progress)
        self.happened("recorded", deployment=progress.deployment, progress=progress)

    @activity.defn(name="save_poll")
    async def save_poll(self, record: PollRecord) -> None:
        await super().save_poll(record)
        self.happened("poll", deployment=record.request.deployment, poll=record)

    @activity.defn(name="save_amendment")
    async def save_amendment(self, entry: AmendmentEntry) -> None:
        await super().save_amendment(entry)
        if entry.amendment.state is AmendmentState.APPLIED:
            self.happened("amended", deployment=entry.deployment, plan=entry.amendment.plan)

    @activity.defn(name="quarantine")
    async def quarantine(self, order: QuarantineOrder) -> None:
        self.lost.setdefault(order.deployment, set()).update(each.node for each in order.nodes)

    @activity.defn(name="rollback_targets")
    async def rollback_targets(self, request: RollbackInput) -> RollbackTargets:
        targets = await super().rollback_targets(request)
        return targets.model_copy(update={"nodes": tuple(self.prior.get(request.of, {}))})

    @activity.defn(name="freeze_now")
    async def freeze_now(self, order: AdHocFreeze) -> None:
        await super().freeze_now(order)
        self.happened("frozen")

    @activity.defn(name="thaw")
    async def thaw(self, order: Thaw) -> tuple[str, ...]:
        self.happened("thawed")
        return await super().thaw(order)

    async def _each(self, action: str, order: NodesOrder | RevertOrder, version: str | None) -> NodesOutcome:
        done, failures = 0, []
        now = activity.info().current_attempt_scheduled_time.timestamp()
        for place, name in enumerate(order.nodes):
            freeze = self.freeze_at(now) if action in FREEZABLE else None
            if freeze is not None:
                return NodesOutcome(
                    done=done, failures=tuple(failures), held=order.nodes[place:], freeze=freeze
                )
            fault = await self._drive(action, order, self.honest[name])
            if fault is None:
                done += 1
            else:
                failures.append(NodeFailure(node=name, code=fault, message=f"{action}: {fault}"))
        return NodesOutcome(done=done, failures=tuple(failures))

    async def _drive(self, action: str, order: NodesOrder | RevertOrder, node: HonestNode) -> str | None:
        if isinstance(order, RevertOrder):
            version = self.prior[order.of][node.name]
        else:
            version = order.release.version
            if action in CHANGING:
                self.prior.setdefault(order.deployment, {}).setdefault(node.name, node.release)
                facts = {"node": node.name, "wave": order.wave, "action": action}
                self.happened("started", deployment=order.deployment, **facts)
        if self.late:
            await self._held_up()
        fault = node.obey(action, version)
        if not self.late:
            await self._held_up()
        return fault

    async def _held_up(self) -> None:
        while not self.hands.is_set():
            activity.heartbeat()
            await asyncio.sleep(0.02)
