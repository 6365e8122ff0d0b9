"""Analyses as they are listed, and what a guard's first look leaves for the others."""

import time

from activities.looks import AgentLooks
from clients.agent import AgentClient
from clients.providers.http import ProviderHttp
from domain.analysis import Outcome, Verdict
from domain.guard import GuardRule
from domain.guarding import GuardInput, guard_analysis
from domain.increments import silent
from domain.judging import JudgeState, LookMemory
from domain.messages import AnalysisInput, Look
from domain.names import analysis_id, guard_id
from domain.policy import AnalysisRule
from domain.provider_settings import ProviderSettings
from domain.wire import Sample, Samples
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


class Answering(AgentClient):
    """Nodes that sample once a second, a hundred requests each; every request fails from a moment on."""

    def __init__(self, changed: float, failing: float) -> None:
        self.changed, self.failing = changed, failing

    def of(self, tenant: str) -> "Answering":
        assert tenant == TENANT
        return self

    async def samples(self, address: str, module: str, *, since: float, deadline: float) -> Samples:
        now = time.time()
        begun, found = int(self.changed) - 60, []
        for at in range(begun, int(now) + 1):
            old = at < self.changed
            sample = Sample(
                at=at,
                version="1.0.0" if old else "2.0.0",
                instance="old" if old else "new",
                requests=100.0 * (at - begun),
                errors=100.0 * max(0.0, at - self.failing),
            )
            found += [sample] if at > since else []
        return Samples(node="node-01", module=module, now=now, samples=tuple(found))


async def test_a_guard_reads_each_tenants_agents_and_what_its_first_look_recorded(database: Database) -> None:
    await queue(database, "d1")
    now = time.time()
    rule = GuardRule(seconds=300, interval=10, window=20, against="recorded")
    guarded = GuardInput(
        tenant=TENANT,
        environment="production",
        deployment="d1",
        module="greeter",
        version="2.0.0",
        nodes=("node-01",),
        wave=1,
        rule=rule,
        began=now - 90,
    )
    analysis = guard_analysis(guarded, now - 60)
    outcomes = []
    async with ProviderHttp(ProviderSettings()) as http:
        for number, failing in ((1, now + 60), (2, now - 60)):
            looks = AgentLooks(database, Answering(now - 90, failing), http)
            verdict = await looks.look(Look(analysis=analysis, number=number, seconds=rule.window))
            outcomes.append(verdict.outcome)
    assert outcomes == [Outcome.PASS, Outcome.FAIL]
