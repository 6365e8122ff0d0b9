"""A gate as people meet it: quorum, groups, four eyes, forged tokens, changes, delegation, the clock."""

import asyncio
import uuid
from datetime import timedelta

import pytest

from domain.approval import ApprovalInput, Subject, SubjectKind
from domain.delegation import Delegation, DelegationKind
from domain.events import EventKind
from domain.gate import GateResult
from domain.gate_rule import MOST_REMINDERS, GateRule
from domain.names import CONTROL_QUEUE, approval_id
from domain.roles import Role
from domain.vote import Claims, Decision, Refusal
from tests.workflows.world import World
from workflows.approval import ApprovalWorkflow

PLAN = "f" * 64
CHANGED = "e" * 64
HOUR = 3600


async def open_gate(scene, kind=SubjectKind.DEPLOYMENT, **rule):
    name = uuid.uuid4().hex[:8]
    request = ApprovalInput(
        tenant="acme",
        environment="production",
        deployment=name if kind is SubjectKind.DEPLOYMENT else None,
        gate=approval_id(name, "promotion"),
        rule=GateRule.model_validate({"name": "promotion", **rule}),
        requester="ana",
        subject=Subject(kind=kind, reference=name, digest=PLAN, words="greeter@2.0.0 to production"),
    )
    return await scene.client.start_workflow(
        ApprovalWorkflow.run, request, id=request.gate, task_queue=CONTROL_QUEUE
    )


def claims(handle, person: str, *, plan: str = PLAN, number: int = 1, **changes) -> dict:
    said = Claims.model_validate(
        {
            "subject": person,
            "role": Role.APPROVER,
            "gate": handle.id,
            "plan": plan,
            "decision": Decision.APPROVE,
            "token_id": f"{person}{number}",
            **changes,
        }
    )
    return {"approver": person, "token": said.model_dump_json()}


def events(scene) -> list[EventKind]:
    return [entry.event for entry in scene.world.entries]


async def test_a_quorum_of_different_people_opens_the_gate(stage):
    async with stage(World()) as scene:
        handle = await open_gate(scene, required=2)
        await handle.signal("approve", claims(handle, "bob"))
        await handle.signal("approve", claims(handle, "bob", number=2))
        await handle.signal("approve", claims(handle, "ana"))
        await handle.signal("approve", claims(handle, "cyd"))
        outcome = await handle.result()
    assert outcome.result is GateResult.APPROVED
    assert outcome.approves(PLAN)
    assert [vote.voter for vote in outcome.poll.votes] == ["bob", "cyd"]
    assert [refusal.reason for refusal in outcome.poll.refused] == [Refusal.DUPLICATE, Refusal.REQUESTER]


async def test_groups_are_asked_for_and_outsiders_do_not_help(stage):
    async with stage(World()) as scene:
        handle = await open_gate(scene, groups=[{"group": "sre"}, {"group": "security"}])
        await handle.signal("approve", claims(handle, "eli"))
        await handle.signal("approve", claims(handle, "bob", groups=("sre",)))
        await handle.signal("approve", claims(handle, "bea", groups=("sre",)))
        await scene.until(lambda: events(scene).count(EventKind.VOTE_COUNTED) == 2)
        waiting = await handle.query("poll")
        assert waiting["refused"][0]["reason"] == Refusal.GROUP
        await handle.signal("approve", claims(handle, "sec", groups=("security",)))
        assert (await handle.result()).result is GateResult.APPROVED


async def test_votes_that_do_not_count_are_recorded_and_shown(stage):
    async with stage(World()) as scene:
        handle = await open_gate(scene)
        await handle.signal("approve", {"approver": "ceo@corp.example", "token": "forged"})
        await handle.signal("approve", claims(handle, "bob", plan="0" * 64))
        await handle.signal("aprove", claims(handle, "bob"))
        await scene.until(lambda: events(scene).count(EventKind.VOTE_REFUSED) == 3)
        poll = await handle.query("poll")
        assert [refusal["reason"] for refusal in poll["refused"]] == [
            Refusal.FORGED_TOKEN,
            Refusal.STALE_PLAN,
            Refusal.UNKNOWN_SIGNAL,
        ]
        await handle.signal("approve", claims(handle, "bob", number=2))
        assert (await handle.result()).result is GateResult.APPROVED


async def test_approve_then_change_the_plan_is_back_to_waiting(stage):
    async with stage(World()) as scene:
        handle = await open_gate(scene, required=2)
        await handle.signal("approve", claims(handle, "bob"))
        await handle.signal("amended", {"digest": CHANGED, "actor": "cyd", "reason": "a node was added"})
        await handle.signal("approve", claims(handle, "dan"))  # of the old plan
        await handle.signal("approve", claims(handle, "cyd", plan=CHANGED))  # who changed it
        await handle.signal("approve", claims(handle, "bob", plan=CHANGED, number=2))
        await scene.until(lambda: events(scene).count(EventKind.VOTE_COUNTED) == 2)
        poll = await handle.query("poll")
        assert [vote["voter"] for vote in poll["voided"]] == ["bob"]
        assert [vote["voter"] for vote in poll["votes"]] == ["bob"]
        assert [each["reason"] for each in poll["refused"]] == [Refusal.STALE_PLAN, Refusal.REQUESTER]
        await handle.signal("approve", claims(handle, "dan", plan=CHANGED, number=2))
        outcome = await handle.result()
    assert outcome.approves(CHANGED)
    assert not outcome.approves(PLAN)
    [changed] = [entry for entry in scene.world.entries if entry.event is EventKind.GATE_AMENDED]
    assert "bob" in changed.message


def delegation(handle, delegator: str, delegate: str, **changes) -> Delegation:
    return Delegation.model_validate(
        {
            "id": f"{delegator}-{delegate}",
            "kind": DelegationKind.LINK,
            "delegator": delegator,
            "role": Role.APPROVER,
            "delegate": delegate,
            "gate": handle.id,
            "plan": PLAN,
            "decision": Decision.APPROVE,
            **changes,
        }
    )


async def test_a_delegated_vote_is_the_delegators_one_vote_and_is_used_once(stage):
    async with stage(World()) as scene:
        handle = await open_gate(scene, required=2)
        given = delegation(handle, "bob", "zoe")
        by_zoe = {"on_behalf_of": "bob", "delegation": given.id}
        await handle.signal("approve", claims(handle, "zoe", **by_zoe))  # not delegated yet
        await handle.signal("delegate", {"token": given.model_dump_json()})
        await handle.signal("delegate", {"token": delegation(handle, "bob", "ana").model_dump_json()})
        await handle.signal("delegate", {"token": "forged"})
        await handle.signal("approve", claims(handle, "zoe", number=2, **by_zoe))
        await handle.signal("approve", claims(handle, "zoe", number=3, **by_zoe))
        await handle.signal("approve", claims(handle, "bob"))  # his vote is given
        await handle.signal("approve", claims(handle, "zoe", number=4))  # and she has spoken
        await handle.signal("approve", claims(handle, "cyd"))
        outcome = await handle.result()
    assert [(vote.voter, vote.on_behalf_of) for vote in outcome.poll.votes] == [("zoe", "bob"), ("cyd", None)]
    assert [refusal.reason for refusal in outcome.poll.refused] == [
        Refusal.DELEGATION,
        Refusal.REQUESTER,
        Refusal.FORGED_TOKEN,
        Refusal.DELEGATION,
        Refusal.DUPLICATE,
        Refusal.DUPLICATE,
    ]
    assert EventKind.GATE_DELEGATED in events(scene)


async def test_expiry_rejects_in_skipped_time_and_is_written_down(stage):
    async with stage(World()) as scene:
        handle = await open_gate(scene, expires_after=24 * HOUR)
        outcome = await handle.result()
    assert outcome.result is GateResult.EXPIRED
    assert scene.world.polls[-1].result is GateResult.EXPIRED


async def test_expiry_escalates_to_others_and_then_rejects(stage):
    managers = {"role": "admin", "groups": [{"group": "managers"}], "expires_after": HOUR}
    rule = {"required": 2, "expires_after": HOUR, "on_expiry": "escalate", "escalation": managers}
    chief = {"role": Role.ADMIN, "groups": ("managers",)}
    async with stage(World()) as scene:
        forgotten = await open_gate(scene, **rule)
        assert (await forgotten.result()).result is GateResult.EXPIRED
        assert events(scene) == [EventKind.GATE_OPENED, EventKind.GATE_ESCALATED, EventKind.GATE_CLOSED]
        scene.world.entries.clear()

        handle = await open_gate(scene, **rule)
        await handle.signal("approve", claims(handle, "bob"))
        await scene.until(lambda: EventKind.GATE_ESCALATED in events(scene))
        before = scene.world.polls[-1]
        assert before.poll.waits_for == "1 × approver or 1 × managers"
        await handle.signal("approve", claims(handle, "mia", **chief))
        outcome = await handle.result()
    assert outcome.result is GateResult.APPROVED
    assert [vote.voter for vote in outcome.poll.votes] == ["bob", "mia"]
    assert before.expires > scene.world.polls[0].expires


async def test_reminders_come_on_time_are_written_down_and_have_an_end(stage):
    async with stage(World()) as scene:
        handle = await open_gate(scene, expires_after=10 * HOUR, remind_every=3 * HOUR)
        assert (await handle.result()).poll.reminders == 3
        assert events(scene)[1:-1] == [EventKind.GATE_REMINDED] * 3
        scene.world.entries.clear()

        handle = await open_gate(scene, expires_after=60, on_expiry="hold", remind_every=60)
        await scene.until(lambda: events(scene).count(EventKind.GATE_REMINDED) == MOST_REMINDERS)
        assert events(scene).count(EventKind.GATE_HELD) == 1
        await scene.env.sleep(timedelta(days=1))
        assert scene.world.polls[-1].poll.reminders == MOST_REMINDERS
        await handle.signal("approve", claims(handle, "bob"))
        assert (await handle.result()).result is GateResult.APPROVED


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.finding("N6")
@pytest.mark.finding("X9")
async def test_of_approve_reject_and_expiry_exactly_one_wins(real_stage, seed):
    """Sent at the very moment of the expiry: whatever comes first in history decides, and stays.

    On a real server: the time-skipping one may lose a workflow whose signal and timer come at once ("invalid
    history builder state for action").
    """
    async with real_stage(World()) as scene:
        handle = await open_gate(scene, expires_after=1)
        await scene.env.sleep(timedelta(seconds=0.95))
        rivals = [
            handle.signal("approve", claims(handle, "bob")),
            handle.signal("reject", {"approver": "cyd"}),
            scene.env.sleep(timedelta(seconds=0.2)),
        ]
        order = rivals[seed % 3 :] + rivals[: seed % 3]
        await asyncio.gather(*order, return_exceptions=True)
        outcome = await handle.result()
        kept = [record.result for record in scene.world.polls if record.result is not None]
        assert set(kept) == {outcome.result}
        assert events(scene).count(EventKind.GATE_CLOSED) == 1
        counted = [vote.decision for vote in outcome.poll.votes]
        assert (
            counted
            == {
                GateResult.APPROVED: [Decision.APPROVE],
                GateResult.REJECTED: [Decision.REJECT],
                GateResult.EXPIRED: [],
            }[outcome.result]
        )


async def test_votes_after_the_decision_are_kept_as_too_late(real_stage):
    async with real_stage(World()) as scene:
        handle = await open_gate(scene)
        rivals = [handle.signal("approve", claims(handle, person)) for person in ("bob", "cyd", "dan")]
        await asyncio.gather(*rivals, return_exceptions=True)  # who is too late may find nobody there
        outcome = await handle.result()
    assert len(outcome.poll.votes) == 1
    late = [refusal.reason for refusal in outcome.poll.refused]
    assert late == [Refusal.CLOSED] * len(late)
    assert events(scene).count(EventKind.VOTE_REFUSED) == len(late)


async def test_other_kinds_of_request_are_decided_the_same_way(stage):
    async with stage(World()) as scene:
        handle = await open_gate(scene, kind=SubjectKind.FREEZE_OVERRIDE)
        await handle.signal("approve", claims(handle, "bob"))
        assert (await handle.result()).approves(PLAN)
    assert {record.request.subject.kind for record in scene.world.polls} == {SubjectKind.FREEZE_OVERRIDE}
