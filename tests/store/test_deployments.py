import asyncio

import pytest
from sqlalchemy import func, select

from domain.deployment import TRANSITIONS, Cause, CauseKind, NodeFailure, Phase
from domain.errors import Conflict, IllegalTransition, NotFound
from domain.events import EventKind
from domain.messages import Progress
from domain.plan import Plan
from domain.wire import BesideReport, ModuleReport, ModuleState, RunningProcess
from store import audit, deployments, events
from store.audit import AuditFilter
from store.database import Database
from store.deployments import AlreadyPlanned, NodeOutcome, OutcomeKind
from store.tables import DeploymentRow, EventRow
from tests.store.conftest import NEW, NODES, OLD, PRIOR, TENANT, a_plan, planned, queue


def progress(key: str, phase: Phase | None, **more: object) -> Progress:
    event = EventKind.FINISHED if phase and phase.terminal else EventKind.PHASE
    return Progress(
        tenant=TENANT, deployment="d1", key=key, event=event, message=f"now {phase}", phase=phase, **more
    )


async def write(database: Database, *entries: Progress) -> None:
    for entry in entries:
        async with database.transaction(TENANT) as session:
            await deployments.record(session, entry)


async def read(database: Database, deployment: str = "d1") -> deployments.StoredDeployment:
    async with database.transaction(TENANT) as session:
        return await deployments.get(session, TENANT, deployment)


async def kinds(database: Database) -> list[str]:
    async with database.transaction(TENANT) as session:
        return [event.kind for event in await events.after(session, TENANT, "d1", 0)]


async def test_a_queued_deployment_waits_with_one_event(database: Database) -> None:
    await queue(database)
    stored = await read(database)
    assert stored.phase is Phase.QUEUED
    assert stored.release == NEW
    assert stored.started_at is None
    assert await kinds(database) == [EventKind.QUEUED]


async def test_a_record_moves_the_phase_and_writes_its_event_once(database: Database) -> None:
    await queue(database)
    entry = progress("deployment-1", Phase.PLANNING, waiting_for="answers")
    await write(database, entry, entry, entry)
    stored = await read(database)
    assert (stored.phase, stored.waiting_for, stored.message) == (Phase.PLANNING, "answers", "now planning")
    assert stored.started_at is not None
    assert await kinds(database) == [EventKind.QUEUED, EventKind.PHASE]


async def test_a_record_without_a_phase_only_adds_an_event(database: Database) -> None:
    await queue(database)
    await write(database, progress("1", Phase.PLANNING), progress("2", None))
    assert (await read(database)).message == "now planning"
    assert len(await kinds(database)) == 3


@pytest.mark.finding("X3")
async def test_the_end_keeps_its_cause_and_its_time(database: Database) -> None:
    await queue(database)
    cause = Cause(kind=CauseKind.ANALYSIS, message="errors up")
    await write(
        database,
        progress("1", Phase.PLANNING),
        progress("2", Phase.ROLLING_BACK, cause=cause),
        progress("3", Phase.ROLLED_BACK_UNVERIFIED, unverified=("node-01",)),
    )
    first = await read(database)
    await write(database, progress("4", Phase.ROLLED_BACK_UNVERIFIED, unverified=("node-01",)))
    again = await read(database)
    assert first.finished_at is not None
    assert again.finished_at == first.finished_at
    assert again.cause == cause
    assert again.unverified == ("node-01",)


@pytest.mark.finding("1")
async def test_every_step_that_the_table_forbids_changes_nothing(database: Database) -> None:
    await queue(database)
    for present in Phase:
        for following in Phase:
            if following is present or following in TRANSITIONS[present]:
                continue
            async with database.transaction(TENANT) as session:
                row = await session.get(DeploymentRow, (TENANT, "d1"))
                assert row is not None
                row.phase = present
            with pytest.raises(IllegalTransition):
                await write(database, progress(f"{present}-{following}", following))
            assert (await read(database)).phase is present
    assert await kinds(database) == [EventKind.QUEUED]


@pytest.mark.finding("1")
async def test_every_step_that_the_table_has_is_taken(database: Database) -> None:
    await queue(database)
    steps = [(present, following) for present in Phase for following in sorted(TRANSITIONS[present])]
    for present, following in steps:
        async with database.transaction(TENANT) as session:
            row = await session.get(DeploymentRow, (TENANT, "d1"))
            assert row is not None
            row.phase = present
        await write(database, progress(f"{present}-{following}", following))
        assert (await read(database)).phase is following
    assert len(await kinds(database)) == 1 + len(steps)


@pytest.mark.finding("X3")
@pytest.mark.finding("11")
async def test_of_twenty_ends_written_at_once_one_counts_with_one_event_and_one_audit_entry(
    database: Database,
) -> None:
    await queue(database)
    await write(database, progress("1", Phase.PLANNING), progress("2", Phase.STAGING))
    ends = [progress("end", Phase.COMPLETED) for _ in range(10)]
    others = [progress(f"other-{number}", Phase.REJECTED) for number in range(10)]
    told = await asyncio.gather(*(write(database, end) for end in [*ends, *others]), return_exceptions=True)
    assert {type(each) for each in told} == {type(None), IllegalTransition}
    assert (await kinds(database)).count(EventKind.FINISHED) == 1
    async with database.transaction(TENANT) as session:
        found = await audit.list_page(session, TENANT, AuditFilter(subject="deployment", subject_id="d1"))
    written = [entry for entry in found.items if f'"action":"{EventKind.FINISHED}"' in entry.content]
    assert len(written) == 1
    assert (await read(database)).phase is Phase.COMPLETED


@pytest.mark.finding("11")
async def test_fifty_writers_lose_nothing_and_keep_their_order(database: Database) -> None:
    await queue(database)
    await write(database, progress("0", Phase.PLANNING))
    await asyncio.gather(*(write(database, progress(str(number), None)) for number in range(1, 51)))
    async with database.transaction(TENANT) as session:
        found = await events.after(session, TENANT, "d1", 0)
    assert len(found) == 52
    assert [event.id for event in found] == sorted(event.id for event in found)


async def test_another_tenant_sees_nothing(database: Database) -> None:
    await queue(database)
    async with database.transaction(TENANT) as session:
        with pytest.raises(NotFound):
            await deployments.get(session, "other", "d1")
        assert (await deployments.list_page(session, "other")).items == ()
        assert await events.after(session, "other", "d1", 0) == []
        assert await deployments.nodes_of(session, "other", "d1") == []


async def test_a_plan_is_stored_once_with_every_node_and_its_prior_release(database: Database) -> None:
    await queue(database)
    plan = await planned(database)
    async with database.transaction(TENANT) as session:
        fence = await deployments.save_plan(session, TENANT, "d1", plan, PRIOR)
        prepared = await deployments.stored_plan(session, TENANT, "d1")
        rows = await deployments.nodes_of(session, TENANT, "d1")
        prior = await deployments.prior(session, TENANT, "d1", ["node-01", "node-10"])
    assert prepared is not None
    assert prepared.plan == plan
    assert prepared.fence == fence == 1000
    assert {row.node: row.wave for row in rows} == {
        name: wave.number for wave in plan.waves for name in wave.nodes
    }
    assert prior == {"node-01": OLD, "node-10": None}


async def test_a_different_plan_is_refused_so_that_the_retry_takes_the_first(database: Database) -> None:
    await queue(database)
    plan = await planned(database)
    other = plan.model_copy(update={"unsigned_votes": not plan.unsigned_votes})
    async with database.transaction(TENANT) as session:
        with pytest.raises(AlreadyPlanned):
            await deployments.save_plan(session, TENANT, "d1", other, PRIOR)


async def test_fences_grow_from_deployment_to_deployment(database: Database) -> None:
    await queue(database, "d1")
    await queue(database, "d2")
    plan = await a_plan(database)
    async with database.transaction(TENANT) as session:
        first = await deployments.save_plan(session, TENANT, "d1", plan, PRIOR)
        second = await deployments.save_plan(session, TENANT, "d2", plan, PRIOR)
        back = await deployments.rollback_targets(session, TENANT, "d1", "d1")
    assert first < back.fence < second


async def test_touching_is_refused_once_the_rollback_has_begun(database: Database) -> None:
    await queue(database)
    plan = await planned(database)
    first, *_ = plan.wave(1).nodes
    async with database.transaction(TENANT) as session:
        await deployments.touch(session, TENANT, "d1", [first], 1)
    await write(database, progress("1", Phase.ROLLING_BACK))
    async with database.transaction(TENANT) as session:
        with pytest.raises(Conflict):
            await deployments.touch(session, TENANT, "d1", plan.wave(2).nodes, 2)
    async with database.transaction(TENANT) as session:
        targets = await deployments.rollback_targets(session, TENANT, "d1", "d1")
    assert targets.nodes == (first,)
    assert targets.deadline == plan.deadlines.node


async def test_a_rollback_and_a_touch_at_once_never_miss_a_node(database: Database) -> None:
    """Whoever gets the row first: the node is either in the targets or refused."""
    for number in range(20):
        name = f"race-{number}"
        await queue(database, name)
        plan = await a_plan(database)
        async with database.transaction(TENANT) as session:
            await deployments.save_plan(session, TENANT, name, plan, PRIOR)

        async def touch(name: str = name, plan: Plan = plan) -> bool:
            try:
                async with database.transaction(TENANT) as session:
                    await deployments.touch(session, TENANT, name, plan.wave(1).nodes, 1)
            except Conflict:
                return False
            return True

        async def turn_back(name: str = name) -> tuple[str, ...]:
            entry = progress("back", Phase.ROLLING_BACK).model_copy(update={"deployment": name})
            await write(database, entry)
            async with database.transaction(TENANT) as session:
                return (await deployments.rollback_targets(session, TENANT, name, name)).nodes

        touched, targets = await asyncio.gather(touch(), turn_back())
        assert targets == (plan.wave(1).nodes if touched else ())


async def test_a_node_of_another_wave_is_not_touched(database: Database) -> None:
    await queue(database)
    plan = await planned(database)
    async with database.transaction(TENANT) as session:
        with pytest.raises(Conflict):
            await deployments.touch(session, TENANT, "d1", plan.wave(2).nodes, 1)


async def test_outcomes_of_a_batch_are_written_each_to_its_node(database: Database) -> None:
    await queue(database)
    await planned(database)
    report = ModuleReport(module="greeter", state=ModuleState.RUNNING, current=NEW)
    fault = NodeFailure(node="node-02", code="disk-full", message="no space")
    outcomes = [
        NodeOutcome(node="node-01", outcome=OutcomeKind.VERIFIED, observed=report),
        NodeOutcome(node="node-02", outcome=OutcomeKind.FAILED, fault=fault),
        NodeOutcome(node="node-03", outcome=OutcomeKind.ACTIVATED, observed=report),
    ]
    async with database.transaction(TENANT) as session:
        await deployments.record_outcomes(session, TENANT, "d1", outcomes)
        rows = {row.node: row for row in await deployments.nodes_of(session, TENANT, "d1")}
    assert rows["node-01"].observed == report
    assert rows["node-01"].verified_at is not None
    assert (rows["node-02"].outcome, rows["node-02"].fault) == (OutcomeKind.FAILED, fault)
    assert rows["node-03"].verified_at is None
    assert rows["node-04"].outcome is None

    later = [NodeOutcome(node="node-02", outcome=OutcomeKind.REVERTED)]
    async with database.transaction(TENANT) as session:
        await deployments.record_outcomes(session, TENANT, "d1", later)
        rows = {row.node: row for row in await deployments.nodes_of(session, TENANT, "d1")}
    assert rows["node-02"].fault == fault  # why it went back
    assert rows["node-01"].observed == report
    better = [NodeOutcome(node="node-02", outcome=OutcomeKind.VERIFIED)]
    async with database.transaction(TENANT) as session:
        await deployments.record_outcomes(session, TENANT, "d1", better)
        rows = {row.node: row for row in await deployments.nodes_of(session, TENANT, "d1")}
    assert rows["node-02"].fault is None


@pytest.mark.finding("X5")
async def test_taking_back_a_completed_deployment_gives_the_new_record_its_nodes(database: Database) -> None:
    await queue(database)
    plan = await planned(database)
    async with database.transaction(TENANT) as session:
        await deployments.touch(session, TENANT, "d1", plan.wave(1).nodes, 1)
    await queue(database, "d2", rolls_back="d1")
    async with database.transaction(TENANT) as session:
        targets = await deployments.rollback_targets(session, TENANT, "d2", "d1")
        again = await deployments.rollback_targets(session, TENANT, "d2", "d1")
        rows = await deployments.nodes_of(session, TENANT, "d2")
    assert targets == again
    assert targets.fence == 2000
    assert tuple(row.node for row in rows) == targets.nodes == plan.wave(1).nodes
    assert all(row.prior == NEW and row.touched_at is not None for row in rows)


async def test_only_a_waiting_deployment_is_withdrawn(database: Database) -> None:
    await queue(database)
    cause = Cause(kind=CauseKind.ABORTED, message="abort by ana", actor="ana")
    async with database.transaction(TENANT) as session:
        assert await deployments.withdraw(session, TENANT, "d1", cause)
    async with database.transaction(TENANT) as session:
        assert not await deployments.withdraw(session, TENANT, "d1", cause)
    stored = await read(database)
    assert (stored.phase, stored.cause) == (Phase.ABORTED, cause)


async def test_pages_are_newest_first_and_leave_nothing_out(database: Database) -> None:
    names = [f"d{number}" for number in range(5)]
    for name in names:
        await queue(database, name)
    seen: list[str] = []
    before = None
    async with database.transaction(TENANT) as session:
        while True:
            page = await deployments.list_page(session, TENANT, before=before, limit=2)
            seen += [item.id for item in page.items]
            before = (page.items[-1].created_at, page.items[-1].id)
            if not page.more:
                break
        none = await deployments.list_page(session, TENANT, environment="qa")
        assert await deployments.newest_of_module(session, TENANT, "production", "greeter") == "d4"
    assert seen == names[::-1]
    assert none.items == ()


async def test_an_unknown_release_cannot_be_queued(database: Database) -> None:
    with pytest.raises(Exception, match="violates foreign key"):
        await queue(database, version="9.9.9")
    async with database.transaction(TENANT) as session:
        assert await session.scalar(select(func.count()).select_from(EventRow)) == 0


async def test_a_process_whose_directory_is_gone_is_written_down_and_read(database: Database) -> None:
    await queue(database)
    await planned(database)
    process = RunningProcess(
        pid=7, started=8, executable="/usr/bin/python3", release_directory="/releases/old (deleted)"
    )
    beside = BesideReport(release=OLD, process=process)
    seen = ModuleReport(module=OLD.module, state=ModuleState.RUNNING, current=NEW, beside=beside)
    async with database.transaction(TENANT) as session:
        outcome = NodeOutcome(node=NODES[0], outcome=OutcomeKind.FAILED, observed=seen)
        await deployments.record_outcomes(session, TENANT, "d1", [outcome])
        stored = {each.node: each for each in await deployments.nodes_of(session, TENANT, "d1")}
    assert stored[NODES[0]].observed == seen
