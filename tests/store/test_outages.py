"""A provider that goes away and comes back is told once each, and is shown for as long as it is away."""

from domain.conditions.metric import ConditionMetric
from domain.events import EventKind
from domain.measuring import MeasureOrder
from domain.messages import AnalysisInput
from domain.names import analysis_id, background_id
from domain.policy import AnalysisRule
from domain.providers import ConditionCheck, WebProvider
from store import events, outages
from store.database import Database
from tests.store.conftest import TENANT, queue


def order(number: int, *, wave: int = 1, background: bool = False) -> MeasureOrder:
    metric = ConditionMetric(name="orders", success_condition="result > 0")
    check = ConditionCheck(metric=metric, provider=WebProvider(url="http://broker/"))
    analysis = AnalysisInput(
        tenant=TENANT,
        environment="production",
        deployment="d1",
        analysis=background_id("d1") if background else analysis_id("d1", wave),
        wave=wave,
        module="greeter",
        canary=("node-01",),
        baseline=(),
        canary_version="2.0.0",
        rule=AnalysisRule(),
        subject="greeter@2.0.0",
        background=background,
    )
    return MeasureOrder(analysis=analysis, check=check, number=number)


async def after(database: Database, *changes: tuple[MeasureOrder, str], wave: int = 1) -> list[str]:
    """What does not answer once these changes are written, each of them twice."""
    async with database.transaction(TENANT) as session:
        for change in (*changes, *changes):
            await outages.changed(session, *change)
        return [each.message for each in await outages.present(session, TENANT, "d1", wave)]


async def test_one_that_is_back_is_not_shown_any_more(database: Database) -> None:
    await queue(database, "d1")
    assert await after(database, (order(1), "refused")) == ["web does not answer: refused"]
    assert await after(database, (order(2), "")) == []
    assert await after(database, (order(3), "late")) == ["web does not answer: late"]
    async with database.transaction(TENANT) as session:
        told = [each.kind for each in await events.after(session, TENANT, "d1", 0)]
    down, back = EventKind.PROVIDER_DOWN, EventKind.PROVIDER_BACK
    assert [kind for kind in told if kind in outages.KINDS] == [down, back, down]


async def test_an_earlier_wave_is_over_but_the_background_is_not(database: Database) -> None:
    await queue(database, "d1")
    changes = ((order(1), "refused"), (order(1, background=True), "late"))
    assert await after(database, *changes, wave=2) == ["web does not answer: late"]
