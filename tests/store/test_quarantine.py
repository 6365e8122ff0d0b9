"""Quarantine: by a rollout and by hand, once, lifted; margins read from what the nodes report."""

import pytest
from sqlalchemy import text

from domain.deployment import NodeFailure
from domain.errors import Conflict, NotFound
from domain.events import EventKind
from domain.messages import QuarantineOrder
from domain.outcomes import OutcomeKind
from domain.wire import NodeReport
from store import availability, deployments, events, nodes, quarantine
from store.database import Database
from store.records import NodeOutcome
from tests.store.conftest import NODES, TENANT, planned, queue

FULL = NodeFailure(node="node-02", code="disk-full", message="no space left")


def order(key: str = "quarantine-1", *failures: NodeFailure) -> QuarantineOrder:
    return QuarantineOrder(tenant=TENANT, deployment="d1", key=key, nodes=failures or (FULL,))


async def test_a_repeat_writes_nothing_and_the_first_cause_stays(database: Database) -> None:
    await queue(database)
    later = NodeFailure(node="node-02", code="node-unreachable", message="gone")
    for each in (order(), order(), order("quarantine-2", later)):
        async with database.transaction(TENANT) as session:
            await quarantine.take(session, each)
    async with database.transaction(TENANT) as session:
        stored = await nodes.get(session, TENANT, "node-02")
        names = await quarantine.of_environment(session, TENANT, "production")
        told = [
            each
            for each in await events.after(session, TENANT, "d1", 0)
            if each.kind == EventKind.NODES_QUARANTINED
        ]
    assert names == ("node-02",)
    assert stored.quarantine is not None
    assert (stored.quarantine.code, stored.quarantine.deployment) == ("disk-full", "d1")
    assert len(told) == 2


async def test_a_lifted_quarantine_leaves_the_node_to_be_caught_up(database: Database) -> None:
    async with database.transaction(TENANT) as session:
        await quarantine.by_hand(session, TENANT, "node-05", "ana", "flaky disk")
        with pytest.raises(Conflict):
            await quarantine.by_hand(session, TENANT, "node-05", "ana", "again")
    async with database.transaction(TENANT) as session:
        why = await quarantine.lift(session, TENANT, "node-05")
        with pytest.raises(Conflict):
            await quarantine.lift(session, TENANT, "node-05")
        with pytest.raises(NotFound):
            await quarantine.lift(session, TENANT, "nobody")
        stored = await nodes.get(session, TENANT, "node-05")
    assert (why["actor"], why["message"]) == ("ana", "flaky disk")
    assert stored.quarantine is None
    assert stored.due_since is not None


async def everybody_reports(database: Database, *but: str) -> None:
    async with database.transaction(TENANT) as session:
        for name in NODES:
            if name not in but:
                report = NodeReport(
                    node=name, boot_id="b", agent_version="1", agent_started=1.0, disk_free_bytes=5
                )
                await nodes.seen(session, TENANT, name, report)


async def admitted(database: Database, *names: str, least: int) -> tuple[str, ...]:
    async with database.transaction(TENANT) as session:
        margin = dict.fromkeys("abc", least)
        return await availability.may_start(session, TENANT, "d1", names, margin)


async def test_the_margin_counts_nodes_that_report_and_are_not_in_change(database: Database) -> None:
    await queue(database)
    plan = await planned(database)
    await everybody_reports(database)
    zone_a = NODES[::3]  # four of the ten
    assert await admitted(database, *zone_a, least=2) == zone_a[:2]
    first = plan.wave(1).nodes
    async with database.transaction(TENANT) as session:
        await deployments.touch(session, TENANT, "d1", first, 1)
        zone = (await nodes.get(session, TENANT, first[0])).node.labels["zone"]
    mates = NODES["abc".index(zone) :: 3]
    others = [name for name in mates if name not in first]
    assert await admitted(database, *others, least=len(mates) - 1) == ()
    async with database.transaction(TENANT) as session:
        done = [NodeOutcome(node=name, outcome=OutcomeKind.ACTIVATED) for name in first]
        await deployments.record_outcomes(session, TENANT, "d1", done)
    assert await admitted(database, *others, least=len(mates) - 1) == (others[0],)


async def test_a_silent_node_is_not_up(database: Database) -> None:
    await queue(database)
    await planned(database)
    await everybody_reports(database, "node-04")
    async with database.transaction(TENANT) as session:
        await session.execute(
            text("UPDATE nodes SET last_seen = now() - interval '5 minutes' WHERE name = 'node-07'")
        )
    zone_a = NODES[::3]  # node-01, 04, 07, 10
    assert await admitted(database, "node-01", least=2) == ()
    assert await admitted(database, *zone_a, least=1) == ("node-01", "node-04", "node-07")


async def test_an_ill_node_spoils_its_zone_for_the_deployment_that_has_changed_it(database: Database) -> None:
    await queue(database)
    [first] = (await planned(database)).wave(1).nodes
    await everybody_reports(database, first)
    mates = [name for name in NODES[NODES.index(first) % 3 :: 3] if name != first]
    for changed in (False, True):
        async with database.transaction(TENANT) as session:
            if changed:
                await deployments.touch(session, TENANT, "d1", [first], 1)
            found = await availability.spoilt_by(session, TENANT, "d1", NODES[1:])
        assert set(found) - {first} == (set(mates) if changed else set())
