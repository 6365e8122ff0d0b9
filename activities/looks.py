"""One look of the judge: samples from both groups of nodes, reduced and judged."""

import asyncio
import time
from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity
from typing_extensions import override

from activities.comparison import SOURCES, Found, Ran, compare, read_from
from activities.heartbeats import beating
from activities.node_samples import collect
from activities.orders import Looks
from activities.recorded import compare_recorded, recall
from activities.source_metrics import read_sources
from clients.agent import AgentClient
from clients.providers.http import ProviderHttp
from domain.agent_metrics import interval_count
from domain.analysis import Doubt, Outcome, Verdict
from domain.judges import health
from domain.messages import Look
from domain.windows import NodeWindow, reduce_samples
from store import analyses, nodes, rollouts
from store.database import Database

CLOCK_SKEW = 300.0  # seconds that a node's clock may be behind ours; its own clock cuts the window


class AgentLooks(Looks):
    """Reads samples from agents; a silent node is missing evidence, never good news."""

    def __init__(self, database: Database, agents: AgentClient, http: ProviderHttp) -> None:
        self._database = database
        self._http = http
        self._agents = agents

    @activity.defn
    @override
    async def look(self, look: Look) -> Verdict:
        async with beating():
            if look.analysis.against == "health":
                return await self._look_alone(look)
            if look.analysis.against == "recorded":
                return await self._look_at_recorded(look)
            return await self._look_at_both(look)

    async def _look_at_both(self, look: Look) -> Verdict:
        request = look.analysis
        async with self._database.transaction(request.tenant) as session:
            everybody = (*request.canary, *request.baseline)
            addresses = await nodes.addresses(session, request.tenant, everybody)
            memory = await analyses.memory(session, look)
            ran = await _ran(session, look, everybody)
        earliest = time.time() - look.seconds - CLOCK_SKEW
        found = await collect(
            self._agents.of(request.tenant), addresses, request.module, read_from(look, memory, earliest)
        )
        now = time.time()
        start = memory.cursors.get(SOURCES, now - look.seconds) if memory else now - look.seconds
        parts = interval_count(request.rule.interval)
        sources = await read_sources(
            self._http, request, start=start, end=now, parts=parts, back=request.clock_shift
        )
        compared = await asyncio.to_thread(compare, look, found, memory, now, sources=sources, ran=ran)
        async with self._database.transaction(request.tenant) as session:
            await analyses.save(session, look, compared.verdict, compared.judged, compared.memory)
        return compared.verdict

    async def _look_at_recorded(self, look: Look) -> Verdict:
        """The first look records what the nodes did before; later ones read that."""
        request = look.analysis
        now = time.time()
        began = request.began if request.began is not None else now
        async with self._database.transaction(request.tenant) as session:
            addresses = await nodes.addresses(session, request.tenant, request.canary)
            known = await analyses.recorded(session, look)
            ran = await _ran(session, look, request.canary)
        since = (now if known is not None else began) - look.seconds - CLOCK_SKEW
        found = await collect(
            self._agents.of(request.tenant), addresses, request.module, dict.fromkeys(request.canary, since)
        )
        recorded = known if known is not None else recall(look, found, ran)
        sources = await read_sources(
            self._http,
            request,
            start=now - look.seconds,
            end=now,
            parts=interval_count(look.seconds),
            back=now - began,
        )
        compared = await asyncio.to_thread(compare_recorded, look, found, recorded, now, sources)
        async with self._database.transaction(request.tenant) as session:
            await analyses.save(session, look, compared.verdict, compared.judged, compared.memory)
        return compared.verdict

    async def _look_alone(self, look: Look) -> Verdict:
        request = look.analysis
        async with self._database.transaction(request.tenant) as session:
            addresses = await nodes.addresses(session, request.tenant, request.canary)
        since = dict.fromkeys(request.canary, time.time() - look.seconds - CLOCK_SKEW)
        found = await collect(self._agents.of(request.tenant), addresses, request.module, since)
        verdict = await asyncio.to_thread(_judge_health, look, found)
        async with self._database.transaction(request.tenant) as session:
            await analyses.save(session, look, verdict)
        return verdict


async def _ran(session: AsyncSession, look: Look, names: Iterable[str]) -> Ran:
    """What the nodes ran when the rollout was planned."""
    prior = await rollouts.prior(session, look.analysis.tenant, look.analysis.deployment, names)
    return {name: release.version for name, release in prior.items() if release is not None}


def _judge_health(look: Look, found: Found) -> Verdict:
    request = look.analysis
    windows = [
        NodeWindow(node=name)
        if samples is None
        else reduce_samples(
            name,
            samples.samples,
            version=request.canary_version,
            since=samples.now - look.seconds,
            until=samples.now,
        )
        for name, samples in found.items()
    ]
    verdict = health.judge(windows, request.rule.health)
    if not any(window.samples for window in windows):
        verdict = verdict.model_copy(
            update={
                "outcome": Outcome.INCONCLUSIVE,
                "doubt": Doubt.PROVIDER_DOWN,
                "reason": "no canary node answers with samples",
            }
        )
    return verdict.model_copy(update={"looks": look.number})
