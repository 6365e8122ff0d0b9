"""A breach queues the way back once, in front of what waits, and never takes back what came later."""

from domain.deployment import Phase
from domain.guard import Breach
from store import deployments, guards, lanes
from store.database import Database
from tests.store.conftest import TENANT, queue
from tests.store.test_catching_up import completed, phase

BREACH = Breach(tenant=TENANT, environment="production", deployment="d1", reason="errors at 9 %")


async def test_the_way_back_is_queued_once_and_goes_first(database: Database) -> None:
    await completed(database)
    for _ in range(2):
        async with database.transaction(TENANT) as session:
            returned = await guards.take_back(session, BREACH)
            assert returned.deployment == "d1-guard"
    async with database.transaction(TENANT) as session:
        view = await lanes.load(session, TENANT, "production")
        stored = await deployments.get(session, TENANT, "d1-guard")
    assert [each.deployment for each in view.queued] == ["d1-guard"]
    assert (stored.rolls_back, stored.requester) == ("d1", "guard")


async def test_what_was_replaced_meanwhile_is_left_alone(database: Database) -> None:
    await completed(database)
    await queue(database, "d2", version="1.0.0")
    async with database.transaction(TENANT) as session:
        returned = await guards.take_back(session, BREACH)
    assert returned.deployment is None
    assert "d2 of greeter came later" in returned.reason


async def test_what_came_later_and_left_nothing_does_not_matter(database: Database) -> None:
    await completed(database)
    await queue(database, "rejected", version="1.0.0")
    await phase(database, "rejected", Phase.PLANNING, Phase.REJECTED)
    await queue(database, "failed", version="1.0.0")
    await phase(database, "failed", Phase.PLANNING, Phase.ROLLING_BACK, Phase.ROLLED_BACK_VERIFIED)
    await queue(database, "d2", version="1.0.0")
    await phase(database, "d2", Phase.PLANNING, Phase.ACTIVATING, Phase.COMPLETED)
    async with database.transaction(TENANT) as session:
        assert "d2 of greeter came later" in (await guards.take_back(session, BREACH)).reason
    await queue(database, "undo", rolls_back="d2", version="1.0.0")
    await phase(database, "undo", Phase.ROLLING_BACK, Phase.ROLLED_BACK_VERIFIED)
    async with database.transaction(TENANT) as session:
        assert (await guards.take_back(session, BREACH)).deployment == "d1-guard"


async def test_one_that_was_taken_back_already_is_left_alone(database: Database) -> None:
    await completed(database)
    await queue(database, "undo", rolls_back="d1")
    await phase(database, "undo", Phase.ROLLING_BACK, Phase.ROLLED_BACK_VERIFIED)
    async with database.transaction(TENANT) as session:
        returned = await guards.take_back(session, BREACH)
    assert returned.deployment is None
