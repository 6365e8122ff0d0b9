"""What may befall a deployment, one thing at a time: people's commands, nodes, freezes, slow hands."""

import asyncio
import itertools
import uuid
from dataclasses import dataclass, field

from temporalio.service import RPCError, RPCStatusCode

from domain.deployment import Phase
from domain.gate_rule import SubjectKind
from domain.messages import QueuedDeployment
from domain.names import approval_id, deployment_workflow_id, lane_id, rollback_id
from tests.workflows.conftest import Stage
from tests.workflows.honest import HonestWorld
from tests.workflows.lanes import start_lane

COMMANDS = (
    "pause",
    "resume",
    "promote",
    "promote_full",
    "abort",
    "approve",
    "reject",
    "approve_as_author",
    "approve_another_plan",
    "amend_narrower",
    "amend_wider",
    "amend_with_a_gate",
    "approve_amendment",
    "reject_amendment",
    "retry",
    "skip_node",
    "abandon",
    "unsigned_promote",
    *["node_dies"] * 3,
    "node_comes_back",
    "node_breaks",
    "node_joins",
    "freeze",
    "thaw",
    "hands_stop",
    "hands_go_on",
    "worded_wrong",
)
GONE = (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)
WAITS = (0, 0, 10, 60, 600)  # seconds of the workflows' time after a command; 0: the next one at once


@dataclass
class Situation:
    """One deployment in its lane, and what can be done to it."""

    scene: Stage
    world: HonestWorld
    deployment: str = field(default_factory=lambda: f"m-{uuid.uuid4().hex[:8]}")
    aborts_sent: int = 0
    numbers: itertools.count = field(default_factory=itertools.count)

    @property
    def ended(self) -> bool:
        """Whether the deployment has its terminal state."""
        return self.world.phase_of(self.deployment).terminal

    async def begin(self) -> None:
        """Queue it, and start its lane."""
        self.lane = self.deployment
        await self.submit(self.deployment)

    async def submit(self, deployment: str, version: str = "2.0.0") -> None:
        self.world.queue.append(
            QueuedDeployment(
                deployment=deployment,
                requester="ana",
                module="greeter",
                version=version,
                strategy=self.world.strategy.kind,
            )
        )
        await start_lane(self.scene, self.lane, {"deployment": deployment})

    async def pass_time(self, seconds: float) -> bool:
        """Let the workflows' time pass; False when the server skips none.

        Now and then it counts an activity that was cut off as under way for ever; then its time is ours.
        """
        try:
            async with asyncio.timeout(3):
                await self.scene.env.sleep(seconds)
        except TimeoutError:
            return False
        return True

    async def befall(self, command: str, number: int, wait: float) -> None:
        """Do it, then let so many seconds pass; where hands are stopped no time can be skipped."""
        await getattr(self, command)(number)
        if wait and self.world.hands.is_set():
            await self.pass_time(wait)
        elif wait:
            await asyncio.sleep(0.05)

    async def send(self, workflow_id: str, signal: str, body: object) -> None:
        """A workflow that has ended, or is none, refuses it."""
        try:
            await self.scene.client.get_workflow_handle(workflow_id).signal(signal, body)
        except RPCError as error:
            if error.status not in GONE:
                raise

    async def order(self, command: str, *, workflow_id: str | None = None, **body: object) -> None:
        """A command with a token of its own."""
        token = f"ana:{self.deployment}:{command}:{next(self.numbers)}"
        await self.send(
            workflow_id or deployment_workflow_id(self.deployment), command, {"token": token, **body}
        )

    async def pause(self, _number: int) -> None:
        await self.order("pause")

    async def resume(self, _number: int) -> None:
        await self.order("resume")

    async def promote(self, _number: int) -> None:
        await self.order("promote")

    async def promote_full(self, _number: int) -> None:
        """Whatever it waits for, again and again, as somebody in a hurry does."""
        for _ in range(4):
            await self.order("promote")
            if self.world.hands.is_set():
                await self.pass_time(1)

    async def abort(self, _number: int) -> None:
        self.aborts_sent += 1
        await self.order("abort")

    async def unsigned_promote(self, _number: int) -> None:
        await self.send(deployment_workflow_id(self.deployment), "promote", {"actor": "mallory"})

    async def worded_wrong(self, _number: int) -> None:
        for body in ([1, 2], "abort", {"actor": 7, "surplus": True}):
            await self.send(deployment_workflow_id(self.deployment), "resume", body)
        await self.send(deployment_workflow_id(self.deployment), "promote_everything", {})

    async def vote(self, decision: str, person: str = "bob", plan: str | None = None) -> None:
        """Sent to the deployment, which passes it on to the gate that is open."""
        gate, digest = self.opened(SubjectKind.DEPLOYMENT)
        token = f"{person}:approver:{gate}:{plan or digest}:{decision}:{next(self.numbers)}"
        body = {"approver": person, "token": token}
        await self.send(deployment_workflow_id(self.deployment), decision, body)

    def opened(self, kind: SubjectKind) -> tuple[str, str]:
        """The gate that was opened last, and what its votes bind to; where there was none, a made-up one."""
        polls = [
            (each.request.gate, each.poll.plan)
            for each in self.world.polls
            if each.request.deployment == self.deployment and each.request.subject.kind is kind
        ]
        return polls[-1] if polls else (approval_id(self.deployment, "promotion"), "0" * 64)

    async def of_amendment(self, decision: str) -> None:
        gate, digest = self.opened(SubjectKind.AMENDMENT)
        token = f"bob:approver:{gate}:{digest}:{decision}:{next(self.numbers)}"
        await self.send(gate, decision, {"approver": "bob", "token": token})

    async def approve_amendment(self, _number: int) -> None:
        await self.of_amendment("approve")

    async def reject_amendment(self, _number: int) -> None:
        await self.of_amendment("reject")

    async def amend(self, **changes: object) -> None:
        token = f"dora:{self.deployment}:amend:{next(self.numbers)}"
        body = {"changes": changes, "token": token}
        await self.send(deployment_workflow_id(self.deployment), "amend", body)

    async def amend_narrower(self, number: int) -> None:
        await self.amend(wave_nodes=1 + number % 2, bake=60)

    async def amend_wider(self, _number: int) -> None:
        await self.amend(bake=5, analysis=10)

    async def amend_with_a_gate(self, number: int) -> None:
        await self.amend(gates=[{"name": f"further-{number}", "before_wave": 1 + number % 3}])

    async def approve(self, _number: int) -> None:
        await self.vote("approve")

    async def reject(self, _number: int) -> None:
        await self.vote("reject")

    async def approve_as_author(self, _number: int) -> None:
        await self.vote("approve", person="ana")

    async def approve_another_plan(self, _number: int) -> None:
        await self.vote("approve", plan="f" * 64)

    async def of_rollback(self, command: str, **body: object) -> None:
        await self.order(command, workflow_id=rollback_id(self.deployment), **body)

    async def retry(self, _number: int) -> None:
        await self.of_rollback("retry")

    async def skip_node(self, number: int) -> None:
        await self.of_rollback("skip_node", node=self.node(number))

    async def abandon(self, _number: int) -> None:
        await self.of_rollback("abandon")

    def node(self, number: int) -> str:
        names = list(self.world.honest)
        return names[number % len(names)]

    async def node_dies(self, number: int) -> None:
        self.world.honest[self.node(number)].alive = False

    async def node_comes_back(self, number: int) -> None:
        node = self.world.honest[self.node(number)]
        node.alive, node.broken = True, False

    async def node_breaks(self, number: int) -> None:
        self.world.honest[self.node(number)].broken = True

    async def node_joins(self, _number: int) -> None:
        self.world.join()

    async def freeze(self, _number: int) -> None:
        await self.send(lane_id("acme", self.lane), "freeze", {"actor": "ana", "reason": "quiet"})

    async def thaw(self, _number: int) -> None:
        token = f"thaw:bob:approver:{self.lane}:{next(self.numbers)}"
        await self.send(lane_id("acme", self.lane), "thaw", {"token": token})

    async def hands_stop(self, _number: int) -> None:
        self.world.hands.clear()

    async def hands_go_on(self, _number: int) -> None:
        self.world.hands.set()

    async def finish(self, *, mend: bool) -> None:
        """Everybody helps it to an end: whatever it waits for, it gets.

        A rollback that is stuck is helped by mending the nodes, or is given up.
        """
        self.world.hands.set()
        await self.thaw(0)
        async with asyncio.timeout(60):
            while not self.ended:
                await self.help(mend=mend)
                if not await self.pass_time(30):
                    await self.promote(0)

    async def help(self, *, mend: bool) -> None:
        """Give it what it waits for by its last record."""
        last = [each for each in self.world.progress if each.deployment == self.deployment and each.phase][
            -1:
        ]
        phase = last[0].phase if last else Phase.QUEUED
        match phase:
            case Phase.WAITING_APPROVAL:
                await self.approve(0)
            case Phase.HOLDING if not mend and not all(node.alive for node in self.world.honest.values()):
                await self.abort(0)  # an outage: to try again would come to the same
            case Phase.HOLDING:
                await self.promote(0)
            case Phase.FROZEN | Phase.QUEUED:
                await self.thaw(0)
            case Phase.ROLLING_BACK if last[0].waiting_for:
                for number in range(len(self.world.honest) if mend else 0):
                    await self.node_comes_back(number)
                await (self.retry(0) if mend else self.abandon(0))
                return
        if phase is not Phase.ROLLING_BACK:
            await self.resume(0)
