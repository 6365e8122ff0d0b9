"""Nodes that were away go straight to what is current, through the lane, and only when it is idle."""

from sqlalchemy import text

from domain.deployment import NodeFailure, Phase
from domain.events import EventKind
from domain.lane import startable, startable_beside
from domain.messages import LaneView, Progress
from domain.node import Node
from domain.outcomes import OutcomeKind
from domain.release import ReleaseRef
from domain.wire import BesideReport, ModuleReport, ModuleState, NodeReport
from store import catching_up, deployments, lanes, nodes
from store.database import Database
from store.records import NodeOutcome
from tests.store.conftest import NEW, NODES, OLD, TENANT, planned, queue

AWAY = "node-10"


async def phase(database: Database, deployment: str, *phases: Phase) -> None:
    for each in phases:
        async with database.transaction(TENANT) as session:
            await deployments.record(
                session,
                Progress(
                    tenant=TENANT,
                    deployment=deployment,
                    key=f"test-{each}",
                    event=EventKind.FINISHED if each.terminal else EventKind.PHASE,
                    message=f"now {each}",
                    phase=each,
                ),
            )


async def reports(
    database: Database, runs: ReleaseRef, *names: str, beside: ReleaseRef | None = None
) -> None:
    module = ModuleReport(
        module=runs.module,
        state=ModuleState.RUNNING,
        current=runs,
        beside=BesideReport(release=beside) if beside is not None else None,
    )
    for name in names:
        report = NodeReport(
            node=name,
            boot_id="b",
            agent_version="1",
            agent_started=1.0,
            disk_free_bytes=5,
            modules=(module,),
        )
        async with database.transaction(TENANT) as session:
            await nodes.seen(session, TENANT, name, report)


async def completed(database: Database, deployment: str = "d1") -> None:
    """A deployment that reached every node but one."""
    await queue(database, deployment)
    await planned(database, deployment)
    done = [NodeOutcome(node=name, outcome=OutcomeKind.VERIFIED) for name in NODES if name != AWAY]
    async with database.transaction(TENANT) as session:
        await deployments.record_outcomes(session, TENANT, deployment, done)
    await phase(database, deployment, Phase.PLANNING, Phase.ACTIVATING, Phase.COMPLETED)


async def due(database: Database) -> list[str]:
    async with database.transaction(TENANT) as session:
        stored = await nodes.stored_of_environment(session, TENANT, "production")
    return [each.node.name for each in stored if each.due_since is not None]


async def caught_up(database: Database) -> tuple[str, ...]:
    async with database.transaction(TENANT) as session:
        return await catching_up.queue(session, TENANT, "production")


async def nobody_is_due(database: Database) -> None:
    async with database.transaction(TENANT) as session:
        await session.execute(text("UPDATE nodes SET due_since = NULL"))


async def test_only_the_node_that_was_left_out_is_due_and_is_brought_to_what_is_current(
    database: Database,
) -> None:
    await nobody_is_due(database)
    await completed(database)
    assert await due(database) == [AWAY]
    assert await caught_up(database) == ()  # it has not reported yet
    await reports(database, OLD, AWAY)
    (made,) = await caught_up(database)
    async with database.transaction(TENANT) as session:
        wanted = await deployments.request_of(session, TENANT, made)
    assert (wanted.release, wanted.only_nodes, wanted.catch_up) == (NEW, (AWAY,), True)
    assert await caught_up(database) == ()  # the lane is busy with it
    await phase(database, made, Phase.PLANNING, Phase.ACTIVATING, Phase.COMPLETED)
    await reports(database, NEW, AWAY)
    assert await caught_up(database) == ()
    assert await due(database) == []


async def test_a_node_that_was_switched_and_lost_before_what_it_ran_was_ended_is_caught_up_too(
    database: Database,
) -> None:
    await nobody_is_due(database)
    await completed(database)
    await reports(database, NEW, AWAY, beside=OLD)
    (made,) = await caught_up(database)
    async with database.transaction(TENANT) as session:
        assert (await deployments.request_of(session, TENANT, made)).only_nodes == (AWAY,)
    await phase(database, made, Phase.PLANNING, Phase.ACTIVATING, Phase.COMPLETED)


async def test_what_a_due_node_said_before_a_deployment_reached_it_does_not_count(database: Database) -> None:
    await reports(database, OLD, *NODES)  # all of them are due since they joined
    await completed(database)
    assert await caught_up(database) == ()
    await reports(database, NEW, *NODES)
    assert await caught_up(database) == ()
    assert await due(database) == []


async def test_while_a_rollout_has_no_plan_yet_nobody_is_caught_up(database: Database) -> None:
    await nobody_is_due(database)
    await completed(database)
    await reports(database, OLD, AWAY)
    await queue(database, "d2")
    await phase(database, "d2", Phase.PLANNING)
    assert await caught_up(database) == ()
    assert await due(database) == [AWAY]


async def joined(database: Database, name: str = "node-11") -> None:
    """A new node, with nothing on it."""
    async with database.transaction(TENANT) as session:
        await nodes.register(
            session, TENANT, Node(name=name, environment="production", address="https://127.0.0.1:7011")
        )
    report = NodeReport(node=name, boot_id="b", agent_version="1", agent_started=1.0, disk_free_bytes=5)
    async with database.transaction(TENANT) as session:
        await nodes.seen(session, TENANT, name, report)


async def a_rollout_with_a_plan(database: Database, **changes: str) -> None:
    """Of ten nodes; the eleventh has joined since."""
    await completed(database)
    await nobody_is_due(database)
    await queue(database, "d2", **changes)
    await phase(database, "d2", Phase.PLANNING)
    await planned(database, "d2")
    await joined(database)
    await phase(database, "d2", Phase.ACTIVATING)


async def lane(database: Database) -> LaneView:
    async with database.transaction(TENANT) as session:
        return await lanes.load(session, TENANT, "production")


async def test_a_node_that_joins_during_a_rollout_is_brought_to_the_stable_release_beside_it(
    database: Database,
) -> None:
    await a_rollout_with_a_plan(database)
    await queue(database, "d3")  # what waits does not matter
    (made,) = await caught_up(database)
    assert await caught_up(database) == ()  # once
    async with database.transaction(TENANT) as session:
        wanted = await deployments.request_of(session, TENANT, made)
    assert (wanted.release, wanted.only_nodes) == (NEW, ("node-11",))
    assert startable_beside(await lane(database)).deployment == made
    await phase(database, made, Phase.PLANNING, Phase.ACTIVATING)
    view = await lane(database)
    assert (view.running.deployment, view.beside.deployment) == ("d2", made)
    assert startable_beside(view) is None
    await phase(database, "d2", Phase.COMPLETED)
    view = await lane(database)
    assert (view.running.deployment, view.beside) == (made, None)  # d3 waits for it
    await phase(database, made, Phase.COMPLETED)
    assert startable(await lane(database)).deployment == "d3"
    assert "node-11" in await due(database)  # what d2 has brought it does not have yet


async def test_what_was_to_go_beside_a_rollout_that_is_over_is_withdrawn(database: Database) -> None:
    await a_rollout_with_a_plan(database)
    (made,) = await caught_up(database)
    await phase(database, "d2", Phase.COMPLETED)
    assert startable(await lane(database)) is None
    await joined(database)
    (anew,) = await caught_up(database)
    async with database.transaction(TENANT) as session:
        assert (await deployments.get(session, TENANT, made)).phase is Phase.SUPERSEDED
        assert (await nodes.get(session, TENANT, "node-11")).quarantine is None
    assert startable(await lane(database)).deployment == anew


async def test_while_what_is_current_is_taken_back_nobody_is_brought_to_it(database: Database) -> None:
    await completed(database)
    await nobody_is_due(database)
    await queue(database, "undo", rolls_back="d1")
    await phase(database, "undo", Phase.ROLLING_BACK)
    await joined(database)
    assert await caught_up(database) == ()
    assert await due(database) == ["node-11"]


async def test_a_failed_catch_up_quarantines_its_nodes_instead_of_trying_for_ever(database: Database) -> None:
    await nobody_is_due(database)
    await completed(database)
    await reports(database, OLD, AWAY)
    (made,) = await caught_up(database)
    await phase(database, made, Phase.PLANNING, Phase.FAILED)
    async with database.transaction(TENANT) as session:
        stored = await nodes.get(session, TENANT, AWAY)
    assert stored.quarantine is not None
    assert (stored.quarantine.code, stored.quarantine.deployment) == ("catch-up-failed", made)
    assert await due(database) == []


async def catching_up_two(database: Database) -> tuple[str, str]:
    """Both run what is old; one fails, and both are taken back. The deployment and the node that failed."""
    await completed(database)
    await nobody_is_due(database)
    await joined(database)
    await joined(database, "node-12")
    (made,) = await caught_up(database)
    await phase(database, made, Phase.PLANNING)
    await planned(database, made, "node-11", "node-12")
    await phase(database, made, Phase.ACTIVATING)
    fault = NodeFailure(node="node-12", code="smoke-failed", message="it says no")
    outcomes = [
        NodeOutcome(node="node-11", outcome=OutcomeKind.ACTIVATED),
        NodeOutcome(node="node-12", outcome=OutcomeKind.FAILED, fault=fault),
    ]
    async with database.transaction(TENANT) as session:
        await deployments.record_outcomes(session, TENANT, made, outcomes)
    return made, "node-12"


async def test_only_the_nodes_that_failed_are_quarantined_and_the_others_are_tried_again(
    database: Database,
) -> None:
    made, failed = await catching_up_two(database)
    await phase(database, made, Phase.ROLLING_BACK)
    back = [NodeOutcome(node=name, outcome=OutcomeKind.REVERT_VERIFIED) for name in ("node-11", failed)]
    async with database.transaction(TENANT) as session:
        await deployments.record_outcomes(session, TENANT, made, back)
    await phase(database, made, Phase.ROLLED_BACK_VERIFIED)
    async with database.transaction(TENANT) as session:
        stored = await nodes.get(session, TENANT, failed)
        other = await nodes.get(session, TENANT, "node-11")
    assert stored.quarantine is not None
    assert (stored.quarantine.code, stored.quarantine.message) == ("catch-up-failed", "it says no")
    assert other.quarantine is None
    assert await due(database) == ["node-11"]
    assert await caught_up(database) == ()  # it has to report anew
    await reports(database, OLD, "node-11")
    (again,) = await caught_up(database)
    async with database.transaction(TENANT) as session:
        assert (await deployments.request_of(session, TENANT, again)).only_nodes == ("node-11",)


async def test_a_node_that_a_completed_catch_up_has_lost_is_not_tried_for_ever(database: Database) -> None:
    made, failed = await catching_up_two(database)
    await phase(database, made, Phase.COMPLETED)
    async with database.transaction(TENANT) as session:
        assert (await nodes.get(session, TENANT, failed)).quarantine is not None
    await reports(database, NEW, "node-11")
    await reports(database, OLD, failed)
    assert await caught_up(database) == ()
    assert await due(database) == []


async def test_after_an_undo_everybody_is_looked_at(database: Database) -> None:
    await nobody_is_due(database)
    await completed(database)
    await queue(database, "undo", rolls_back="d1")
    await phase(database, "undo", Phase.ROLLING_BACK, Phase.ROLLED_BACK_VERIFIED)
    assert await due(database) == list(NODES)
    await reports(database, NEW, *NODES)
    assert await caught_up(database) == ()  # nothing is current: the only release was taken back
    assert await due(database) == []


async def test_a_catch_up_is_not_what_an_undo_takes_back(database: Database) -> None:
    await completed(database)
    await reports(database, OLD, AWAY)
    (made,) = await caught_up(database)
    await phase(database, made, Phase.PLANNING, Phase.ACTIVATING, Phase.COMPLETED)
    async with database.transaction(TENANT) as session:
        assert await deployments.newest_of_module(session, TENANT, "production", "greeter") == "d1"
