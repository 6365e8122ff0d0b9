"""One look of the judge: samples from both groups of nodes, reduced and judged."""

import asyncio
import time

from temporalio import activity
from typing_extensions import override

from activities.heartbeats import beating
from activities.orders import Looks
from clients.agent import AgentClient
from domain.analysis import Doubt, Outcome, Verdict
from domain.errors import NodeError
from domain.judges import health, threshold
from domain.messages import AnalysisInput, Look
from domain.windows import NodeWindow, reduce_samples
from store import analyses, nodes
from store.database import Database

READS_AT_ONCE = 64
CLOCK_SKEW = 300.0  # seconds that a node's clock may be behind ours; its own clock cuts the window
READ_DEADLINE = 5.0  # seconds per node: a look that misses a node is a weaker look, not a late one


class AgentLooks(Looks):
    """Reads samples from agents; a silent node is missing evidence, never good news."""

    def __init__(self, database: Database, agents: AgentClient) -> None:
        self._database = database
        self._agents = agents

    @activity.defn
    @override
    async def look(self, look: Look) -> Verdict:
        request = look.analysis
        async with beating():
            names = (*request.canary, *request.baseline)
            async with self._database.transaction(request.tenant) as session:
                addresses = await nodes.addresses(session, request.tenant, names)
            windows = await self._windows(request, addresses, look.seconds)
            verdict = await asyncio.to_thread(_judge, look, windows)
            async with self._database.transaction(request.tenant) as session:
                await analyses.save(session, look, verdict)
        return verdict

    async def _windows(
        self, request: AnalysisInput, addresses: dict[str, str], seconds: float
    ) -> dict[str, NodeWindow]:
        slots = asyncio.Semaphore(READS_AT_ONCE)
        since = time.time() - seconds - CLOCK_SKEW

        async def window(name: str, version: str | None) -> NodeWindow:
            async with slots:
                try:
                    samples = await self._agents.samples(
                        addresses[name], request.module, since=since, deadline=READ_DEADLINE
                    )
                except (NodeError, KeyError) as error:
                    activity.logger.warning("no samples from %s: %s", name, error)
                    return NodeWindow(node=name)
            return reduce_samples(
                name, samples.samples, version=version, since=samples.now - seconds, until=samples.now
            )

        versions = dict.fromkeys(request.canary, request.canary_version)
        names = (*request.canary, *request.baseline)
        found = await asyncio.gather(*(window(name, versions.get(name)) for name in names))
        return {each.node: each for each in found}


def _judge(look: Look, windows: dict[str, NodeWindow]) -> Verdict:
    request = look.analysis
    canary = [windows[name] for name in request.canary]
    baseline = [windows[name] for name in request.baseline]
    if request.against == "health":
        verdict = health.judge(canary, request.rule.health)
    else:
        verdict = threshold.judge(canary, baseline, request.rule.thresholds)
    if not any(window.samples for window in canary):
        verdict = verdict.model_copy(
            update={
                "outcome": Outcome.INCONCLUSIVE,
                "doubt": Doubt.PROVIDER_DOWN,
                "reason": "no canary node answers with samples",
            }
        )
    return verdict.model_copy(update={"looks": look.number})
