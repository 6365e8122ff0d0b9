"""Gates: what waits, votes by signal, tokens to vote with elsewhere."""

import itertools
import json
import shlex
import time
from typing import Any

import httpx
import pytest
import pytest_asyncio

from domain.approval import ApprovalInput, PollRecord, Subject, SubjectKind
from domain.gate import GateResult
from domain.gate_rule import GateRule
from domain.names import approval_id
from domain.roles import Role
from domain.vote import Ballot, Claims, Decision
from store import deployments, polls
from tests.api.conftest import TENANT, World

RULE = GateRule(name="promotion", required=2)
PLAN = "a" * 64
_numbers = itertools.count(1)


class Gate:
    """An open gate of a deployment that `abel` has asked for, its workflow without a worker."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.deployment = f"gated-{number}"
        self.id = approval_id(self.deployment, RULE.name)
        self.poll = self.request.poll()

    async def open(self) -> None:
        release = self.world.releases.files("1.0.0", module="gated")
        assert (await self.world.push(release)).status_code in (200, 201)
        async with self.world.services.database.transaction(TENANT) as session:
            await deployments.insert(
                session,
                TENANT,
                deployment=self.deployment,
                environment="production",
                module="gated",
                version="1.0.0",
                requester="abel",
            )
        await self.save()
        await self.world.services.temporal.start_workflow(
            "ApprovalWorkflow", self.request, id=self.id, task_queue="nobody"
        )

    @property
    def request(self) -> ApprovalInput:
        return ApprovalInput(
            tenant=TENANT,
            environment="production",
            deployment=self.deployment,
            gate=self.id,
            rule=RULE,
            requester="abel",
            subject=Subject(
                kind=SubjectKind.DEPLOYMENT,
                reference=self.deployment,
                digest=PLAN,
                words="gated@1.0.0 to production",
            ),
        )

    async def save(self, result: GateResult | None = None) -> None:
        record = PollRecord(request=self.request, poll=self.poll, expires=time.time() + 60, result=result)
        async with self.world.services.database.transaction(TENANT) as session:
            await polls.save(session, record)

    async def asks(self, person: str, what: str, **body: str) -> httpx.Response:
        async with self.world.asks(person) as client:
            return await client.post(f"/approvals/{self.id}/{what}", json=body)


@pytest_asyncio.fixture
async def gate(world: World) -> Gate:
    opened = Gate(world, next(_numbers))
    await opened.open()
    return opened


async def pending(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with world.asks("vera") as vera:
        page = (await vera.get("/approvals/pending", params={"limit": 1})).json()
        while True:
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            query = {"limit": 1, "cursor": page["next_cursor"]}
            page = (await vera.get("/approvals/pending", params=query)).json()


async def test_an_open_gate_is_pending_and_shown_with_its_deployment(world: World, gate: Gate) -> None:
    [item] = [item for item in await pending(world) if item["id"] == gate.id]
    assert (item["deployment"], item["requester"]) == (gate.deployment, "abel")
    assert (item["approvals"], item["required"], item["on_expiry"]) == (0, 2, "reject")
    assert item["links"]["console"].endswith(f"/workflows/{gate.id}")
    async with world.asks("vera") as vera:
        assert (await vera.get(f"/approvals/{gate.id}")).json() == item
        shown = (await vera.get(f"/deployments/{gate.deployment}")).json()
    assert shown["gates"] == [item]


async def test_a_vote_is_the_signal_that_the_console_would_send(world: World, gate: Gate) -> None:
    answer = await gate.asks("anna", "approve", comment="looks good")
    assert answer.status_code == 202
    [(name, body)] = await world.signals(gate.id)
    assert name == "approve"
    assert (body["approver"], body["decision"], body["comment"]) == ("anna", "approve", "looks good")
    claims = world.services.reader.vote(body["token"])
    assert (claims.subject, claims.role, claims.gate) == ("anna", Role.APPROVER, gate.id)
    assert (claims.plan, claims.decision) == (PLAN, Decision.APPROVE)
    counted = gate.poll.cast(Ballot.model_validate(body), Decision.APPROVE, claims, 1.0)
    assert counted.approvals == 1


@pytest.mark.finding("X7")
async def test_the_requester_cannot_approve_but_may_reject(world: World, gate: Gate) -> None:
    refused = await gate.asks("abel", "approve")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert await world.signals(gate.id) == []
    assert (await gate.asks("abel", "token", decision="approve")).status_code == 403
    assert (await gate.asks("abel", "reject", comment="my mistake")).status_code == 202
    assert [name for name, _ in await world.signals(gate.id)] == ["reject"]


async def test_nobody_votes_twice(world: World, gate: Gate) -> None:
    claims = Claims(
        subject="anna",
        role=Role.APPROVER,
        gate=gate.id,
        plan=PLAN,
        decision=Decision.APPROVE,
        token_id="t1",
    )
    gate.poll = gate.poll.cast(Ballot(approver="anna"), Decision.APPROVE, claims, 1.0)
    await gate.save()
    assert (await gate.asks("anna", "approve")).status_code == 409
    assert (await gate.asks("admin", "approve")).status_code == 202


@pytest.mark.finding("X9")
async def test_a_closed_gate_takes_no_vote(world: World, gate: Gate) -> None:
    await gate.save(GateResult.EXPIRED)
    for what, body in (("approve", {}), ("reject", {}), ("token", {"decision": "approve"})):
        assert (await gate.asks("anna", what, **body)).status_code == 409
    assert gate.id not in [item["id"] for item in await pending(world)]


async def test_a_ticket_has_the_token_the_argument_and_the_command(world: World, gate: Gate) -> None:
    answer = await gate.asks("anna", "token", decision="approve")
    ticket = answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert ticket["signal"]["token"] == ticket["token"]
    assert world.services.reader.vote(ticket["token"]).subject == "anna"
    words = shlex.split(ticket["command"])
    assert words[:3] == ["temporal", "workflow", "signal"]
    assert words[words.index("--workflow-id") + 1] == gate.id
    assert words[words.index("--name") + 1] == "approve"
    assert json.loads(words[words.index("--input") + 1]) == ticket["signal"]
    assert await world.signals(gate.id) == []
