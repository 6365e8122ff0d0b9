"""Amendments: both plans are kept, one that is applied is the plan, each state has one event."""

from domain.amendment import Amendment, AmendmentState, Changes, amended
from domain.approval import ApprovalInput, PollRecord, Subject
from domain.events import EventKind
from domain.gate_rule import SubjectKind
from domain.names import amendment_gate_id
from domain.plan import Plan
from domain.widening import widens
from store import amendments, deployments, events, polls
from store.database import Database
from tests.store.conftest import TENANT, planned, queue


def of(plan: Plan, changes: Changes, state: AmendmentState, number: int = 1) -> Amendment:
    after = amended(plan, 0, changes)
    return Amendment(
        number=number,
        changes=changes,
        actor="bob",
        reason="slower",
        plan=after,
        widens=widens(plan, after),
        gate=amendment_gate_id("d1", number),
        state=state,
        message="said so",
    )


async def save(database: Database, *entries: Amendment) -> None:
    for entry in entries:
        async with database.transaction(TENANT) as session:
            await amendments.save(session, TENANT, "d1", entry)


async def test_one_that_is_applied_is_the_plan_and_moves_the_nodes(database: Database) -> None:
    await queue(database)
    before = await planned(database)
    entry = of(before, Changes(wave_nodes=1), AmendmentState.APPLIED)
    await save(database, entry, entry)
    async with database.transaction(TENANT) as session:
        stored = await deployments.get(session, TENANT, "d1")
        nodes = await deployments.nodes_of(session, TENANT, "d1")
        [kept] = await amendments.of_deployment(session, TENANT, "d1")
        [told] = [
            event for event in await events.after(session, TENANT, "d1", 0) if event.kind == EventKind.AMENDED
        ]
    assert (stored.plan, stored.plan_digest) == (entry.plan, entry.plan.digest)
    assert {node.node: node.wave for node in nodes} == {
        name: wave.number for wave in entry.plan.waves for name in wave.nodes
    }
    assert (kept.before, kept.plan, kept.state) == (before, entry.plan, AmendmentState.APPLIED)
    assert kept.settled_at is not None
    assert told.payload["actor"] == "bob"
    assert (told.payload["before"], told.payload["plan"]) == (before.digest, entry.plan.digest)
    assert told.payload["steps_new"]


async def test_one_that_lapses_leaves_the_plan_and_closes_its_gate(database: Database) -> None:
    await queue(database)
    before = await planned(database)
    waiting = of(before, Changes(deadline=90_000), AmendmentState.WAITING)
    assert waiting.widens
    await save(database, waiting)
    request = ApprovalInput(
        tenant=TENANT,
        environment=before.environment,
        deployment="d1",
        gate=amendment_gate_id("d1", 1),
        rule=before.amendment,
        requester="ana",
        amended_by=("bob",),
        subject=Subject(
            kind=SubjectKind.AMENDMENT, reference="d1", digest=waiting.plan.digest, words="longer"
        ),
    )
    async with database.transaction(TENANT) as session:
        await polls.save(session, PollRecord(request=request, poll=request.poll(), expires=1e9))
        assert len((await polls.pending(session, TENANT)).items) == 1
    await save(database, waiting.model_copy(update={"state": AmendmentState.LAPSED}))
    async with database.transaction(TENANT) as session:
        stored = await deployments.get(session, TENANT, "d1")
        [kept] = await amendments.of_deployment(session, TENANT, "d1")
        told = [event.kind for event in await events.after(session, TENANT, "d1", 0)][-2:]
        assert (await polls.pending(session, TENANT)).items == ()
    assert stored.plan == before
    assert (kept.before, kept.plan, kept.state) == (before, waiting.plan, AmendmentState.LAPSED)
    assert told == [EventKind.AMENDMENT_PROPOSED, EventKind.AMENDMENT_DROPPED]
