"""A gate as people meet it: quorum, four eyes, forged tokens, expiry."""

import uuid

from domain.events import EventKind
from domain.gate import GateResult, Refusal
from domain.messages import ApprovalInput
from domain.names import CONTROL_QUEUE, approval_id
from domain.policy import GateRule
from tests.workflows.world import World
from workflows.approval import ApprovalWorkflow

PLAN = "f" * 64


async def open_gate(scene, **rule):
    name = uuid.uuid4().hex[:8]
    request = ApprovalInput(
        tenant="acme",
        environment="production",
        deployment=name,
        gate=approval_id(name, "promotion"),
        rule=GateRule(name="promotion", **rule),
        plan=PLAN,
        requester="ana",
        unsigned_votes=False,
        subject="greeter@2.0.0 to production",
    )
    return await scene.client.start_workflow(
        ApprovalWorkflow.run, request, id=request.gate, task_queue=CONTROL_QUEUE
    )


def token(handle, person: str, plan: str = PLAN, number: int = 1) -> dict:
    return {"approver": person, "token": f"{person}:approver:{handle.id}:{plan}:approve:{person}{number}"}


async def test_a_quorum_of_different_people_opens_the_gate(stage):
    async with stage(World()) as scene:
        handle = await open_gate(scene, required=2)
        await handle.signal("approve", token(handle, "bob"))
        await handle.signal("approve", token(handle, "bob", number=2))
        await handle.signal("approve", token(handle, "ana"))
        await handle.signal("approve", token(handle, "cyd"))
        outcome = await handle.result()
    assert outcome.result is GateResult.APPROVED
    assert [vote.voter for vote in outcome.poll.votes] == ["bob", "cyd"]
    assert [refusal.reason for refusal in outcome.poll.refused] == [Refusal.DUPLICATE, Refusal.REQUESTER]


async def test_votes_that_do_not_count_are_recorded_and_shown(stage):
    async with stage(World()) as scene:
        handle = await open_gate(scene)
        await handle.signal("approve", {"approver": "ceo@corp.example", "token": "forged"})
        await handle.signal("approve", token(handle, "bob", plan="0" * 64))
        await handle.signal("aprove", token(handle, "bob"))
        told = scene.world.progress
        await scene.until(lambda: [each.event for each in told].count(EventKind.VOTE_REFUSED) == 3)
        poll = await handle.query("poll")
        assert [refusal["reason"] for refusal in poll["refused"]] == [
            Refusal.FORGED_TOKEN,
            Refusal.STALE_PLAN,
            Refusal.UNKNOWN_SIGNAL,
        ]
        await handle.signal("approve", token(handle, "bob", number=2))
        assert (await handle.result()).result is GateResult.APPROVED


async def test_expiry_rejects_in_skipped_time_and_is_written_down(stage):
    async with stage(World()) as scene:
        handle = await open_gate(scene, expires_after=86400)
        outcome = await handle.result()
    assert outcome.result is GateResult.EXPIRED
    assert scene.world.polls[-1].result is GateResult.EXPIRED
