"""A world without nodes: fake activities that keep what they were told, for tests of control flow only.

Real agents, a real database and a real server stand behind the same workflows in tests/stack.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from domain import calendar
from domain.amendment import Amendment, AmendmentState
from domain.analysis import Doubt, Outcome, Verdict
from domain.approval import DelegationTokenVerdict, PollEntry, PollRecord, VoteTokenVerdict
from domain.calendar import CalendarWindow
from domain.command import CommandClaims
from domain.delegation import Delegation
from domain.deployment import UNTOUCHED_END, NodeFailure, Phase
from domain.errors import Fenced, IllegalTransition
from domain.events import EventKind
from domain.freeze import Freeze, longest
from domain.freeze_orders import AdHocFreeze, FreezeQuestion, Thaw, ThawClaims, ThawTokenVerdict
from domain.gate import Claims, Decision, Refusal
from domain.guard import Breach, Returned
from domain.hooks import HookOrder, HookOutcome, HookResult
from domain.measuring import AnalysisRun, Conclusion, Measured, MeasureOrder
from domain.messages import (
    AmendmentEntry,
    CommandTokenVerdict,
    DeploymentInput,
    LaneLook,
    LaneView,
    Look,
    NodesOrder,
    NodesOutcome,
    Prepared,
    Progress,
    QuarantineOrder,
    QueuedDeployment,
    RevertOrder,
    RollbackInput,
    RollbackTargets,
    Successor,
    TokenCheck,
    Withdrawal,
)
from domain.node import Node
from domain.plan import Plan
from domain.planner import make_plan
from domain.policy import AnalysisRule, EnvironmentPolicy, GateRule
from domain.release import ReleaseRef
from domain.roles import Role
from domain.strategy import Canary, Strategy

RELEASE = ReleaseRef(module="greeter", version="2.0.0", digest="a" * 64, tree="b" * 64)
ANALYSIS = AnalysisRule(duration=60, interval=10, warm_up=10)


def analysis_of(name: str, rule: AnalysisRule, **more: Any) -> AnalysisRun:
    """The request of an analysis of one canary node, for a first wave."""
    one = AnalysisRun(
        tenant="acme",
        environment="production",
        deployment="d",
        analysis=name,
        wave=1,
        module="greeter",
        canary=("node-01",),
        baseline=("node-02",),
        canary_version="2.0.0",
        rule=rule,
        subject="greeter@2.0.0",
    )
    return one.model_copy(update=more)


@dataclass
class World:
    """Nodes and records as plain data; tests script what fails.

    `refuses` says why a node does not do as ordered; with `codes` that is a code of domain.errors.
    """

    nodes: int = 10
    policy: EnvironmentPolicy = field(
        default_factory=lambda: EnvironmentPolicy(gates=(GateRule(name="promotion"),), analysis=ANALYSIS)
    )
    strategy: Strategy = field(default_factory=Canary)
    running: dict[str, str] = field(default_factory=dict)
    touched: list[str] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    polls: list[PollRecord] = field(default_factory=list)
    entries: list[PollEntry] = field(default_factory=list)
    hooks: list[HookOrder] = field(default_factory=list)
    silent: asyncio.Event | None = None  # no hook answers before it is set
    hooked: Callable[[HookOrder], HookOutcome] = lambda _order: HookOutcome(
        result=HookResult.DONE, message="answered"
    )
    looks: list[Look] = field(default_factory=list)
    queue: list[QueuedDeployment] = field(default_factory=list)
    refuses: Callable[[str, str], str | None] = lambda _action, _node: None
    verdict: Callable[[Look], Outcome] = lambda _look: Outcome.PASS
    doubt: Callable[[Look], Doubt] = lambda _look: Doubt.UNDERPOWERED
    measured: Callable[[MeasureOrder], Measured] = lambda _order: Measured()
    measurements: list[MeasureOrder] = field(default_factory=list)
    conclusions: list[Conclusion] = field(default_factory=list)
    blocked: asyncio.Event | None = None
    starts: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    plan: Plan | None = None
    orders: list[tuple[str, NodesOrder]] = field(default_factory=list)
    lane_looks: int = 0
    calendar: list[CalendarWindow] = field(default_factory=list)
    frozen_now: dict[str, AdHocFreeze] = field(default_factory=dict)
    started_at: list[tuple[float, str]] = field(default_factory=list)
    withdrawn: bool = False
    resolved: bool = False
    codes: bool = False
    ailing: tuple[str, ...] = ()
    quarantines: list[QuarantineOrder] = field(default_factory=list)
    amendments: list[Amendment] = field(default_factory=list)
    breaches: list[Breach] = field(default_factory=list)
    replaced: bool = False
    fences: dict[tuple[str, str], int] = field(default_factory=dict)  # by deployment and node

    def __post_init__(self) -> None:
        self.fleet = [
            Node(
                name=f"node-{number:02}",
                environment="production",
                address=f"https://127.0.0.1:{7700 + number}",
                labels={"zone": "abc"[number % 3]},
            )
            for number in range(1, self.nodes + 1)
        ]
        self.running = self.running or {node.name: "1.0.0" for node in self.fleet}

    @property
    def phases(self) -> list[Phase]:
        """Phases in order, without repeats."""
        phases = [entry.phase for entry in self.progress if entry.phase]
        return [phase for index, phase in enumerate(phases) if index == 0 or phases[index - 1] != phase]

    @activity.defn(name="prepare")
    async def prepare(self, request: DeploymentInput) -> Prepared:
        if not self.fleet:
            raise ApplicationError("no nodes", type="plan-impossible", non_retryable=True)
        plan = make_plan(
            tenant=request.tenant,
            environment=request.environment,
            release=RELEASE.model_copy(update={"version": request.version}),
            nodes=self.fleet,
            running=self.running,
            strategy=self.strategy,
            policy=self.policy,
        )
        self.plan = plan
        return Prepared(plan=plan, fence=1000, ailing=self.ailing)

    @activity.defn(name="record")
    async def record(self, progress: Progress) -> None:
        if self.withdrawn:
            raise ApplicationError("aborted", type=IllegalTransition.code, non_retryable=True)
        if (progress.deployment, progress.key) not in [(each.deployment, each.key) for each in self.progress]:
            self.progress.append(progress)

    @activity.defn(name="load_lane")
    async def load_lane(self, look: LaneLook) -> LaneView:
        self.lane_looks += 1
        ended = {
            entry.deployment: entry.phase for entry in self.progress if entry.phase and entry.phase.terminal
        }
        frozen = next((d for d, phase in ended.items() if phase is Phase.ROLLED_BACK_UNVERIFIED), None)
        begun = {entry.deployment for entry in self.progress}
        open_ = [each for each in self.queue if each.deployment not in ended]
        under_way = [each for each in open_ if each.deployment in begun]
        under_way.sort(key=lambda each: each.beside is not None)
        waiting = tuple(each for each in open_ if each.deployment not in begun)
        return LaneView(
            frozen=None if self.resolved else frozen,
            may_override=frozen is not None,
            override_gate=self.policy.hotfix.override,
            freeze=self.freeze_at(look.at),
            running=under_way[0] if under_way else None,
            beside=under_way[1] if len(under_way) > 1 else None,
            queued=tuple(
                each.model_copy(update={"continues": each.supersedes})
                if ended.get(each.supersedes or "") is Phase.SUPERSEDED
                else each
                for each in sorted(waiting, key=lambda entry: not entry.hotfix)
            ),
        )

    @activity.defn(name="successor_of")
    async def successor_of(self, request: DeploymentInput) -> Successor | None:
        for each in self.queue:
            if each.supersedes == request.deployment and each.supersede_mode is not None:
                words = f"superseded by {each.deployment}"
                return Successor(deployment=each.deployment, mode=each.supersede_mode, words=words)
        return None

    @activity.defn(name="withdraw")
    async def withdraw(self, withdrawal: Withdrawal) -> None:
        self.progress.append(
            Progress(
                tenant=withdrawal.tenant,
                deployment=withdrawal.deployment,
                key="withdrawn",
                event=EventKind.FINISHED,
                message=withdrawal.cause.message,
                phase=UNTOUCHED_END[withdrawal.cause.kind],
                cause=withdrawal.cause,
            )
        )

    @activity.defn(name="save_poll")
    async def save_poll(self, record: PollRecord) -> None:
        self.polls.append(record)
        if record.entry is not None and record.entry.key not in [each.key for each in self.entries]:
            self.entries.append(record.entry)

    @activity.defn(name="save_amendment")
    async def save_amendment(self, entry: AmendmentEntry) -> None:
        self.amendments.append(entry.amendment)
        if entry.amendment.state is AmendmentState.APPLIED:
            self.plan = entry.amendment.plan

    @activity.defn(name="quarantine")
    async def quarantine(self, order: QuarantineOrder) -> None:
        self.quarantines.append(order)

    @activity.defn(name="take_back")
    async def take_back(self, breach: Breach) -> Returned:
        """What is taken back is queued in the lane, as the store does it."""
        self.breaches.append(breach)
        if self.replaced:
            return Returned(reason="left alone: deployment d-9 of greeter came later")
        record = f"{breach.deployment}-guard"
        self.queue.append(
            QueuedDeployment(
                deployment=record,
                requester="guard",
                module="greeter",
                version="2.0.0",
                strategy=self.strategy.kind,
                rolls_back=breach.deployment,
            )
        )
        return Returned(deployment=record)

    @activity.defn(name="rollback_targets")
    async def rollback_targets(self, request: RollbackInput) -> RollbackTargets:
        return RollbackTargets(
            module="greeter",
            version="2.0.0",
            nodes=tuple(self.touched),
            fence=1001,
            deadline=30,
            rule=self.policy.rollback,
            hooks=self.policy.hooks,
        )

    def freeze_at(self, at: float) -> Freeze | None:
        """As the store would: what people froze, and the calendar."""
        held = [
            Freeze(reason=each.reason, until=each.until)
            for each in self.frozen_now.values()
            if each.until is None or each.until > at
        ]
        by_calendar = calendar.state(self.calendar, datetime.fromtimestamp(at, tz=UTC))
        return longest((*held, *((by_calendar,) if by_calendar else ())))

    @activity.defn(name="may_start")
    async def may_start(self, question: FreezeQuestion) -> Freeze | None:
        return self.freeze_at(question.at)

    @activity.defn(name="freeze_now")
    async def freeze_now(self, order: AdHocFreeze) -> None:
        self.frozen_now[order.key] = order

    @activity.defn(name="thaw")
    async def thaw(self, order: Thaw) -> tuple[str, ...]:
        self.frozen_now.clear()
        last = {entry.deployment: entry.phase for entry in self.progress if entry.phase}
        return tuple(name for name, phase in last.items() if phase is Phase.FROZEN)

    @activity.defn(name="read_thaw")
    async def read_thaw(self, check: TokenCheck) -> ThawTokenVerdict:
        """A test token reads "thaw:person:role:environment:id"; anything else is forged."""
        parts = check.token.split(":")
        if len(parts) != 5:
            return ThawTokenVerdict(refusal="the token is not one of ours for this use")
        _, person, role, environment, token_id = parts
        claims = ThawClaims(
            tenant="acme", subject=person, role=Role(role), environment=environment, token_id=token_id
        )
        return ThawTokenVerdict(claims=claims)

    async def _answered(self, action: str, node: str) -> None:
        if self.blocked is not None and action in ("activate", "switch"):
            self.starts.append(node)
            while not self.blocked.is_set():
                activity.heartbeat()
                await asyncio.sleep(0.05)

    def _is_late(self, order: NodesOrder | RevertOrder, node: str) -> bool:
        """As on a real node: an operation that its rollback has overtaken changes nothing any more."""
        if isinstance(order, RevertOrder):
            self.fences[order.of, node] = order.fence
            return False
        return order.fence < self.fences.get((order.deployment, node), 0)

    async def _each(self, action: str, order: NodesOrder | RevertOrder, version: str | None) -> NodesOutcome:
        failures = []
        if isinstance(order, NodesOrder):
            self.orders.append((action, order))
        now = activity.info().current_attempt_scheduled_time.timestamp()
        if action in {"stage", "start", "activate", "switch", "settle", "renew"}:
            freeze = self.freeze_at(now)
            if freeze is not None:
                return NodesOutcome(done=0, held=order.nodes, freeze=freeze)
            if action in {"start", "activate", "switch"}:
                self.touched += [node for node in order.nodes if node not in self.touched]
                self.started_at += [(now, node) for node in order.nodes]
        for node in order.nodes:
            await self._answered(action, node)
            if self._is_late(order, node):
                failures.append(NodeFailure(node=node, code=Fenced.code, message="it was taken back since"))
                continue
            fault = self.refuses(action, node)
            if fault:
                code = fault if self.codes else "node-error"
                failures.append(NodeFailure(node=node, code=code, message=fault))
            elif version is not None:
                self.running[node] = version
        return NodesOutcome(done=len(order.nodes) - len(failures), failures=tuple(failures))

    @activity.defn(name="stage")
    async def stage(self, order: NodesOrder) -> NodesOutcome:
        return await self._each("stage", order, None)

    @activity.defn(name="activate")
    async def activate(self, order: NodesOrder) -> NodesOutcome:
        return await self._each("activate", order, order.release.version)

    @activity.defn(name="verify")
    async def verify(self, order: NodesOrder) -> NodesOutcome:
        return await self._each("verify", order, None)

    @activity.defn(name="start")
    async def start(self, order: NodesOrder) -> NodesOutcome:
        outcome = await self._each("start", order, None)
        self.beside += [node for node in order.nodes if node not in (*self.beside, *outcome.held)]
        return outcome

    @activity.defn(name="smoke")
    async def smoke(self, order: NodesOrder) -> NodesOutcome:
        return await self._each("smoke", order, None)

    @activity.defn(name="switch")
    async def switch(self, order: NodesOrder) -> NodesOutcome:
        return await self._each("switch", order, order.release.version)

    @activity.defn(name="settle")
    async def settle(self, order: NodesOrder) -> NodesOutcome:
        outcome = await self._each("settle", order, None)
        self.beside = [node for node in self.beside if node not in order.nodes or node in outcome.held]
        return outcome

    @activity.defn(name="renew")
    async def renew(self, order: NodesOrder) -> NodesOutcome:
        return await self._each("renew", order, None)

    @activity.defn(name="revert")
    async def revert(self, order: RevertOrder) -> NodesOutcome:
        self.beside = [node for node in self.beside if node not in order.nodes]
        return await self._each("revert", order, "1.0.0")

    @activity.defn(name="verify_reverted")
    async def verify_reverted(self, order: RevertOrder) -> NodesOutcome:
        return await self._each("verify_reverted", order, None)

    @activity.defn(name="look")
    async def look(self, look: Look) -> Verdict:
        self.looks.append(look)
        outcome = self.verdict(look)
        doubt = self.doubt(look) if outcome is Outcome.INCONCLUSIVE else None
        return Verdict(outcome=outcome, doubt=doubt, reason=f"scripted {outcome}", looks=look.number)

    @activity.defn(name="measure")
    async def measure(self, order: MeasureOrder) -> Measured:
        self.measurements.append(order)
        return self.measured(order)

    @activity.defn(name="keep")
    async def keep(self, conclusion: Conclusion) -> None:
        self.conclusions.append(conclusion)

    @activity.defn(name="call_hook")
    async def call_hook(self, order: HookOrder) -> HookOutcome:
        self.hooks.append(order)
        while self.silent is not None and not self.silent.is_set():
            activity.heartbeat()
            await asyncio.sleep(0.05)
        return self.hooked(order)

    @activity.defn(name="read_vote")
    async def read_vote(self, check: TokenCheck) -> VoteTokenVerdict:
        """A test token reads "person:role:gate:plan:decision:id", or is JSON; anything else is forged."""
        if check.token.startswith("{"):
            return VoteTokenVerdict(claims=Claims.model_validate_json(check.token))
        parts = check.token.split(":")
        if len(parts) != 6:
            return VoteTokenVerdict(refusal=Refusal.FORGED_TOKEN)
        person, role, gate, plan, decision, token_id = parts
        claims = Claims(
            subject=person,
            role=Role(role),
            gate=gate,
            plan=plan,
            decision=Decision(decision),
            token_id=token_id,
        )
        return VoteTokenVerdict(claims=claims)

    @activity.defn(name="read_delegation")
    async def read_delegation(self, check: TokenCheck) -> DelegationTokenVerdict:
        """A test token is a delegation as JSON; anything else is forged."""
        if check.token.startswith("{"):
            return DelegationTokenVerdict(delegation=Delegation.model_validate_json(check.token))
        return DelegationTokenVerdict(refusal=Refusal.FORGED_TOKEN)

    @activity.defn(name="read_command")
    async def read_command(self, check: TokenCheck) -> CommandTokenVerdict:
        """A test token reads "person:deployment:command:id"; anything else is forged."""
        parts = check.token.split(":")
        if len(parts) != 4:
            return CommandTokenVerdict(refusal="the token is not one of ours")
        person, deployment, command, token_id = parts
        claims = CommandClaims(
            subject=person, role=Role.DEPLOYER, deployment=deployment, command=command, token_id=token_id
        )
        return CommandTokenVerdict(claims=claims)

    @property
    def activities(self) -> list[Callable[..., object]]:
        """All fake hands, for a worker."""
        return [
            self.prepare,
            self.record,
            self.load_lane,
            self.successor_of,
            self.withdraw,
            self.save_poll,
            self.rollback_targets,
            self.quarantine,
            self.save_amendment,
            self.take_back,
            self.stage,
            self.activate,
            self.verify,
            self.start,
            self.smoke,
            self.switch,
            self.settle,
            self.renew,
            self.revert,
            self.verify_reverted,
            self.look,
            self.measure,
            self.keep,
            self.call_hook,
            self.read_vote,
            self.read_delegation,
            self.read_command,
            self.read_thaw,
            self.may_start,
            self.freeze_now,
            self.thaw,
        ]
