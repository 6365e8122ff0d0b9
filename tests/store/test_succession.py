"""What a deployment takes over from the one that it supersedes: nodes that are changed, and their base."""

import pytest

from domain.arrival import Admission, Arrival, SupersedeMode
from domain.deployment import Cause, CauseKind, Phase
from domain.events import EventKind
from domain.messages import Progress
from domain.release import ReleaseRef
from store import deployments, events, freezes, inheritance, lanes, rollouts, succession
from store.database import Database
from tests.store.conftest import NEW, NODES, PRIOR, TENANT, a_plan, planned, queue
from tests.store.test_freezes import order

FORWARD, REVERT = SupersedeMode.ROLL_FORWARD, SupersedeMode.REVERT_FIRST
ABORT = Cause(kind=CauseKind.ABORTED, message="abort by ana", actor="ana")


async def enter(database: Database, deployment: str, *phases: Phase) -> None:
    for phase in phases:
        async with database.transaction(TENANT) as session:
            await deployments.record(
                session,
                Progress(
                    tenant=TENANT,
                    deployment=deployment,
                    key=f"{deployment}-{phase}",
                    event=EventKind.PHASE,
                    message=phase,
                    phase=phase,
                ),
            )


async def arrive(
    database: Database, deployment: str, mode: SupersedeMode = FORWARD, arrival: Arrival = Arrival.SUPERSEDE
) -> Admission:
    await queue(database, deployment)
    async with database.transaction(TENANT) as session:
        return await succession.arrive(session, TENANT, deployment, arrival=arrival, mode=mode)


async def half_rolled(database: Database) -> tuple[str, ...]:
    """d1 has changed its first wave when d2 supersedes it, and stops there."""
    await queue(database, "d1")
    plan = await planned(database, "d1")
    await enter(database, "d1", Phase.PLANNING, Phase.ACTIVATING)
    first = plan.waves[0].nodes
    async with database.transaction(TENANT) as session:
        await deployments.touch(session, TENANT, "d1", first, 1)
    admission = await arrive(database, "d2")
    assert admission == Admission(supersedes="d1", mode=FORWARD)
    await enter(database, "d1", Phase.SUPERSEDED)
    return first


async def targets(database: Database, deployment: str, of: str | None = None) -> tuple[str, ...]:
    async with database.transaction(TENANT) as session:
        return (await rollouts.rollback_targets(session, TENANT, deployment, of or deployment)).nodes


async def prior(database: Database, of: str) -> dict[str, ReleaseRef | None]:
    async with database.transaction(TENANT) as session:
        return await rollouts.prior(session, TENANT, of, NODES)


async def test_the_successor_takes_changed_nodes_over_with_the_base_before_both(database: Database) -> None:
    first = await half_rolled(database)
    async with database.transaction(TENANT) as session:
        found = await succession.successor(session, TENANT, "d1")
        taken = await inheritance.inherited(session, TENANT, "d2")
        [entry] = (await lanes.load(session, TENANT, "production")).queued
    assert found is not None
    assert (found.deployment, found.mode) == ("d2", FORWARD)
    assert taken == {name: PRIOR[name] for name in first}
    assert (entry.continues, entry.supersedes) == ("d1", "d1")

    plan = await a_plan(database)
    seen = {name: NEW if name in first else PRIOR[name] for name in NODES}  # what the nodes report now
    async with database.transaction(TENANT) as session:
        await deployments.save_plan(session, TENANT, "d2", plan, {**seen, **taken})
    assert await targets(database, "d2") == first
    assert await prior(database, "d2") == PRIOR
    assert NEW not in (await prior(database, "d2")).values()


async def test_a_chain_of_successors_returns_to_the_base_of_the_first(database: Database) -> None:
    first = await half_rolled(database)
    await enter(database, "d2", Phase.PLANNING)
    assert (await arrive(database, "d3")).supersedes == "d2"
    await enter(database, "d2", Phase.SUPERSEDED)  # it never had a plan
    assert await targets(database, "d3") == first
    assert await prior(database, "d3") == {name: PRIOR[name] for name in first}


async def test_one_that_waits_passes_what_it_took_over_on_to_who_takes_its_place(database: Database) -> None:
    first = await half_rolled(database)
    admission = await arrive(database, "d3", REVERT)
    assert admission == Admission(withdrawn=("d2",), supersedes="d1", mode=FORWARD)
    async with database.transaction(TENANT) as session:
        stored = await deployments.get(session, TENANT, "d2")
    assert stored.phase is Phase.SUPERSEDED
    assert stored.cause is not None
    assert (stored.cause.kind, "deployment d3" in stored.cause.message) == (CauseKind.SUPERSEDED, True)
    assert await targets(database, "d3") == first


async def test_withdrawn_while_it_waits_it_takes_back_what_it_took_over(database: Database) -> None:
    first = await half_rolled(database)
    async with database.transaction(TENANT) as session:
        assert await succession.take_back_instead(session, TENANT, "d2", ABORT)
        assert not await succession.take_back_instead(session, TENANT, "d2", ABORT)
        [entry] = (await lanes.load(session, TENANT, "production")).queued
        kinds = [event.kind for event in await events.after(session, TENANT, "d2", 0)]
    assert (entry.deployment, entry.rolls_back) == ("d2", "d1")
    assert kinds == [EventKind.QUEUED, EventKind.SUPERSEDES, EventKind.COMMAND]
    assert await targets(database, "d2", "d1") == first


async def test_where_nothing_was_taken_over_there_is_nothing_to_take_back(database: Database) -> None:
    await queue(database, "d1")
    await planned(database, "d1")
    await enter(database, "d1", Phase.PLANNING, Phase.STAGING)
    assert (await arrive(database, "d2", REVERT)).mode is REVERT
    await enter(database, "d1", Phase.ROLLING_BACK, Phase.ROLLED_BACK_VERIFIED)
    async with database.transaction(TENANT) as session:
        assert await inheritance.inherited(session, TENANT, "d2") == {}
        assert not await succession.take_back_instead(session, TENANT, "d2", ABORT)
        [entry] = (await lanes.load(session, TENANT, "production")).queued
    assert entry.continues is None


async def test_a_hotfix_comes_first_and_no_freeze_holds_it(database: Database) -> None:
    await queue(database, "d1")
    await queue(database, "d2", hotfix="it burns")
    async with database.transaction(TENANT) as session:
        await freezes.freeze(session, order("k1"))
        view = await lanes.load(session, TENANT, "production", at=0.0)
        held = [await freezes.holding(session, TENANT, "production", name, 0.0) for name in ("d1", "d2")]
    assert [entry.deployment for entry in view.queued] == ["d2", "d1"]
    assert [each is not None for each in held] == [True, False]


@pytest.mark.parametrize("frozen", [False, True])
async def test_only_a_lane_that_a_rollback_has_frozen_can_be_overridden(
    database: Database, frozen: bool
) -> None:
    await queue(database, "d1")
    async with database.transaction(TENANT) as session:
        if frozen:
            await lanes.freeze(session, TENANT, "d1", "node-01 is not back")
        view = await lanes.load(session, TENANT, "production")
    assert view.may_override is frozen
    assert (view.override_gate is not None) is frozen
