"""How long steps took: read from the events of completed deployments, people's time left out."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from domain.deployment import Phase
from domain.plan import Gate
from store import durations
from store.database import Database
from store.tables import DeploymentRow, EventRow
from tests.store.conftest import TENANT, planned, queue
from tests.store.test_deployments import progress, write

START = datetime(2026, 1, 1, tzinfo=UTC)


async def completed(database: Database, name: str, seconds: dict[str, float]) -> None:
    """A deployment whose steps took so many seconds by kind, one phase per step, the gate an hour."""
    await queue(database, name)
    plan = await planned(database, name)
    moments, at = [], START
    for index, step in enumerate(plan.steps):
        phase = Phase.WAITING_APPROVAL if isinstance(step, Gate) else Phase.STAGING
        moments.append((f"deployment-{index}", phase, index, at))
        at += timedelta(seconds=3600 if isinstance(step, Gate) else seconds[step.kind])
    moments.append(("end", Phase.COMPLETED, len(plan.steps), at))
    moments.insert(0, ("deployment-p", Phase.PLANNING, 0, START - timedelta(hours=1)))
    for key, phase, index, _ in moments:
        entry = progress(key, phase, step=index).model_copy(update={"deployment": name})
        await write(database, entry)
    async with database.transaction(TENANT) as session:
        for key, _, _, moment in moments:
            found = update(EventRow).where(EventRow.deployment == name, EventRow.key == key)
            await session.execute(found.values(at=moment))


async def read(database: Database, module: str = "greeter") -> dict[str, list[float]]:
    async with database.transaction(TENANT) as session:
        return await durations.of_steps(session, TENANT, "production", module)


async def test_each_step_of_completed_deployments_counts_beyond_its_certain_wait(database: Database) -> None:
    assert await read(database) == {}
    await completed(
        database, "d1", {"stage": 4.0, "activate": 2.0, "verify": 1.0, "analyze": 615.0, "bake": 61.5}
    )
    found = await read(database)
    assert found["stage"] == [4.0] * 4
    assert found["analyze"] == [5.0] * 3
    assert found["bake"] == [1.5]
    assert "gate" not in found or found["gate"] == [0.0]


async def test_another_modules_times_stand_in_for_a_module_that_is_new_here(database: Database) -> None:
    await completed(database, "d1", dict.fromkeys(("stage", "activate", "verify", "analyze", "bake"), 7.0))
    assert (await read(database, "other-module"))["stage"] == [7.0] * 4


async def test_deployments_that_did_not_complete_tell_nothing(database: Database) -> None:
    await completed(database, "d1", dict.fromkeys(("stage", "activate", "verify", "analyze", "bake"), 7.0))
    async with database.transaction(TENANT) as session:
        await session.execute(update(DeploymentRow).values(phase=Phase.ROLLED_BACK_VERIFIED))
    assert await read(database) == {}
