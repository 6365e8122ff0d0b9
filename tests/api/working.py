"""What makes a world of the API's tests live: the product's workers, and real agents."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from temporalio.client import Client

from activities.registry import Holdings
from clients.hooks import HookCaller
from clients.providers.http import ProviderHttp
from domain.hook_settings import HookSettings
from domain.provider_settings import ProviderSettings
from store import nodes
from tests.agent.nodes import AgentProcess, Node, write_config
from tests.api.conftest import TENANT, World
from tests.conftest import free_port
from worker import workers

NOTHING_ALLOWED = ProviderSettings()


@asynccontextmanager
async def at_work(
    world: World, client: Client, providers: ProviderSettings = NOTHING_ALLOWED
) -> AsyncIterator[None]:
    """The three workers, as worker.py starts them, that need no settings of hooks."""
    services = world.services
    async with HookCaller(HookSettings()) as hook_caller, ProviderHttp(providers) as provider_http:
        held = Holdings(
            client=client,
            database=services.database,
            agents=services.agents,
            bundles=services.bundles,
            tokens=services.reader,
            hooks=hook_caller,
            provider_http=provider_http,
            providers=providers,
        )
        control, hands, callers = workers(held)
        async with control, hands, callers:
            yield


class Agents:
    """Real agents that are ended together."""

    def __init__(self, world: World, directory: Path) -> None:
        self._world = world
        self._directory = directory
        self._processes: list[AgentProcess] = []

    async def join(self, environment: str, name: str, **settings: Any) -> Node:
        """Start an agent and register its node. Nobody has heard of it yet."""
        place = self._directory / name
        place.mkdir()
        config = write_config(place / "agent.toml", self._world.pki, port=free_port(), node=name, **settings)
        self._processes.append(AgentProcess(config, self._world.services.agents))
        node = await self._processes[-1].start()
        body = {"name": name, "environment": environment, "address": node.address}
        async with self._world.asks("admin") as admin:
            answer = await admin.post("/nodes", json=body)
        assert answer.status_code == 201, answer.text
        return node

    async def report(self, name: str, node: Node) -> None:
        """What the agent says now, as a heartbeat."""
        services = self._world.services
        said = await services.agents.of(TENANT).report(node.address)
        async with services.database.transaction(TENANT) as session:
            await nodes.seen(session, TENANT, name, said)

    def kill(self) -> None:
        """End all of them."""
        for process in self._processes:
            process.kill()
