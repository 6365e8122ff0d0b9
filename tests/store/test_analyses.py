"""Analyses as they are listed, and what a guard's first look leaves for the others."""

from domain.analysis import Outcome, Verdict
from domain.increments import silent
from domain.judging import JudgeState, LookMemory
from domain.messages import AnalysisInput, Look
from domain.names import analysis_id, guard_id
from domain.policy import AnalysisRule
from store import analyses
from store.database import Database
from tests.store.conftest import TENANT, queue

RECORDED = {"node-01": silent("node-01", 2)}


def look(deployment: str, analysis: str, number: int) -> Look:
    request = AnalysisInput(
        tenant=TENANT,
        environment="production",
        deployment=deployment,
        analysis=analysis,
        wave=1,
        module="greeter",
        canary=("node-01",),
        baseline=(),
        canary_version="2.0.0",
        rule=AnalysisRule(),
        subject="test",
    )
    return Look(analysis=request, number=number, seconds=60)


async def save(database: Database, deployment: str, analysis: str, looks: int) -> None:
    for number in range(1, looks + 1):
        verdict = Verdict(outcome=Outcome.PASS, reason=f"look {number}", looks=number)
        left = LookMemory(state=JudgeState(judge="threshold"), recorded=RECORDED if number == 1 else {})
        async with database.transaction(TENANT) as session:
            await analyses.save(session, look(deployment, analysis, number), verdict, None, left)


async def listed(database: Database, **asked) -> list[tuple[str, int]]:
    """All pages of one entry each."""
    found, before, more = [], None, True
    while more:
        async with database.transaction(TENANT) as session:
            page = await analyses.page(
                session, TENANT, **{"deployment": None, **asked}, before=before, limit=1
            )
        found += [(each.analysis, each.look) for each in page.items]
        before, more = page.items[-1].id if page.items else None, page.more
    return found


async def test_each_analysis_is_listed_once_by_its_last_look(database: Database) -> None:
    await queue(database, "d1")
    await queue(database, "d2")
    await save(database, "d1", analysis_id("d1", 1), 3)
    await save(database, "d2", analysis_id("d2", 1), 1)
    await save(database, "d1", guard_id("d1"), 2)
    assert await listed(database) == [("guard-d1", 2), ("analysis-d2-1", 1), ("analysis-d1-1", 3)]
    assert await listed(database, deployment="d1") == [("guard-d1", 2), ("analysis-d1-1", 3)]
    assert await listed(database, deployment="d3") == []


async def test_what_the_first_look_recorded_is_there_for_every_later_one(database: Database) -> None:
    await queue(database, "d1")
    await save(database, "d1", guard_id("d1"), 3)
    async with database.transaction(TENANT) as session:
        assert await analyses.recorded(session, look("d1", guard_id("d1"), 1)) is None
        assert await analyses.recorded(session, look("d1", guard_id("d1"), 4)) == RECORDED
