"""Agents of all sorts. Module processes outlive an agent, so every fixture ends them by their directory."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent import Agent
from clients.agent import AgentClient
from tests.agent.nodes import AgentProcess, Node, Pki, Releases, clean, config, write_config
from tests.conftest import free_port


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Releases:
    return Releases(tmp_path_factory.mktemp("releases"), pki)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(pki: Pki) -> AsyncIterator[AgentClient]:
    async with pki.connect() as connected:
        yield connected


@pytest.fixture
def node_directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "node"
    clean(tmp_path / "node")


@pytest_asyncio.fixture(loop_scope="session")
async def node(tmp_path: Path, node_directory: Path, pki: Pki, client: AgentClient) -> AsyncIterator[Node]:
    """An agent in this process; its modules stop with it."""
    agent = Agent(config(tmp_path / "agent.toml", pki, stop_modules_on_exit=True))
    await agent.start()
    yield Node(client, agent.address, node_directory)
    await agent.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def process(
    tmp_path: Path, node_directory: Path, pki: Pki, client: AgentClient
) -> AsyncIterator[AgentProcess]:
    """An agent in a process of its own, not started yet."""
    process = AgentProcess(write_config(tmp_path / "agent.toml", pki, port=free_port()), client)
    yield process
    process.kill()
