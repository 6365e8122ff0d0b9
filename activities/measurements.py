"""Measuring what condition checks ask, from whichever provider they name."""

import asyncio
import time
from typing import Any

from temporalio import activity
from typing_extensions import override

from activities.heartbeats import beating
from activities.orders import Measurements
from clients.agent import AgentClient
from clients.providers.command import run_command
from clients.providers.http import ProviderHttp
from clients.providers.plugins import ask_plugin
from clients.providers.prometheus import PrometheusClient
from clients.providers.web import ask_web
from domain.conditions.measurement import Measurement, phase_of, shown
from domain.conditions.metric import MetricPhase
from domain.errors import NodeError, ProviderDown, ProviderRefused
from domain.measuring import Conclusion, Measured, MeasureOrder, circumstances, judged_metric
from domain.messages import AnalysisInput
from domain.pooling import pooled
from domain.provider_settings import ProviderSettings
from domain.providers import (
    AgentProvider,
    Circumstances,
    CommandProvider,
    PluginProvider,
    PrometheusProvider,
    Provider,
    WebProvider,
    filled,
)
from domain.windows import NodeWindow, reduce_samples
from store import analyses, nodes, outages
from store.database import Database

External = PrometheusProvider | WebProvider | CommandProvider | PluginProvider
READS_AT_ONCE = 64
CLOCK_SKEW = 300.0  # seconds that a node's clock may be behind ours; its own clock cuts the window
READ_DEADLINE = 5.0  # seconds per node


class ProviderMeasurements(Measurements):
    """Asks agents, Prometheus, web servers, allowed commands and plug-ins."""

    def __init__(
        self, database: Database, agents: AgentClient, http: ProviderHttp, settings: ProviderSettings
    ) -> None:
        self._database = database
        self._agents = agents
        self._http = http
        self._settings = settings

    @activity.defn
    @override
    async def measure(self, order: MeasureOrder) -> Measured:
        async with beating():
            measured = await self._measured(order)
            if bool(measured.outage) is not bool(order.outages):
                async with self._database.transaction(order.analysis.tenant) as session:
                    await outages.changed(session, order, measured.outage)
        return measured

    async def _measured(self, order: MeasureOrder) -> Measured:
        started = time.time()
        metric = judged_metric(order.check)
        try:
            result = await self._result(order.analysis, order.check.provider)
        except ProviderDown as error:
            return Measured(outage=error.message)
        except ProviderRefused as error:
            phase, message, value = MetricPhase.ERROR, error.message, ""
        else:
            # Conditions are the policy's; evaluating them never holds the event loop up.
            phase, message = await asyncio.to_thread(phase_of, metric, result, order.check.semantics)
            value = shown(result)
        return Measured(
            measurement=Measurement(
                phase=phase, value=value, message=message, started=started, finished=time.time()
            )
        )

    @activity.defn
    @override
    async def keep(self, conclusion: Conclusion) -> None:
        async with beating(), self._database.transaction(conclusion.analysis.tenant) as session:
            await analyses.conclude(session, conclusion)

    async def _result(self, request: AnalysisInput, provider: Provider) -> Any:
        around = circumstances(request)
        if isinstance(provider, AgentProvider):
            return await self._from_agents(request, provider)
        provider = _filled(provider, around)
        if isinstance(provider, PrometheusProvider):
            client = PrometheusClient(self._http)
            return await client.value(provider.address, provider.query, timeout=provider.timeout)
        if isinstance(provider, WebProvider):
            return await ask_web(self._http, provider)
        if isinstance(provider, CommandProvider):
            command = self._settings.command(provider.command)
            return await run_command(command, around.values(), timeout=provider.timeout)
        return await ask_plugin(self._settings, provider, around)

    async def _from_agents(self, request: AnalysisInput, provider: AgentProvider) -> dict[str, float | None]:
        """Both sides' numbers over the last interval.

        Raises:
            ProviderDown: no canary node answers with samples.
        """
        names = (*request.canary, *request.baseline)
        async with self._database.transaction(request.tenant) as session:
            addresses = await nodes.addresses(session, request.tenant, names)
        slots = asyncio.Semaphore(READS_AT_ONCE)

        async def window(name: str) -> NodeWindow:
            async with slots:
                return await self._window(request, name, addresses.get(name))

        windows = dict(zip(names, await asyncio.gather(*map(window, names)), strict=True))
        if not any(windows[name].samples for name in request.canary):
            raise ProviderDown("no canary node answers with samples")
        return {
            side: pooled([windows[name] for name in members], provider.metric)
            for side, members in (("canary", request.canary), ("baseline", request.baseline))
        }

    async def _window(self, request: AnalysisInput, name: str, address: str | None) -> NodeWindow:
        if address is None:
            return NodeWindow(node=name)
        seconds = request.rule.interval
        since = time.time() - seconds - CLOCK_SKEW
        try:
            agents = self._agents.of(request.tenant)
            found = await agents.samples(address, request.module, since=since, deadline=READ_DEADLINE)
        except NodeError as error:
            activity.logger.warning("no samples from %s: %s", name, error)
            return NodeWindow(node=name)
        version = request.canary_version if name in request.canary else None
        return reduce_samples(
            name, found.samples, version=version, since=found.now - seconds, until=found.now
        )


def _filled(provider: External, around: Circumstances) -> External:
    """The provider with its placeholders filled in."""
    return provider.model_copy(update=filled(provider.model_dump(), around.values()))
