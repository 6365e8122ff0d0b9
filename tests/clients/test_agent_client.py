"""The client of agents: deadlines, retries, errors. An agent that can be killed is in tests/agent."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent import Agent
from clients.agent import AgentClient, error_of
from domain import errors
from domain.errors import HotswapError, NodeError, NodeUnreachable
from domain.wire import Action, Fault
from tests.agent.nodes import Node, Pki, Releases, config
from tests.conftest import free_port


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest_asyncio.fixture(loop_scope="session")
async def client(pki: Pki) -> AsyncIterator[AgentClient]:
    async with pki.connect() as connected:
        yield connected


async def test_nobody_answers_within_the_deadline(client: AgentClient) -> None:
    began = time.monotonic()
    with pytest.raises(NodeUnreachable, match=r"did not answer within 0.5 s: .*[Cc]onnect"):
        await client.report(f"https://127.0.0.1:{free_port()}", deadline=0.5)
    assert 0.4 < time.monotonic() - began < 2


@pytest.mark.finding("23")
async def test_a_silent_peer_is_unreachable(client: AgentClient) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(NodeUnreachable, match="did not answer within"):
        await client.report(f"https://127.0.0.1:{port}", deadline=0.5)
    server.close()


@pytest.mark.finding("23")
async def test_an_agent_that_comes_back_in_time_is_found(
    client: AgentClient, pki: Pki, tmp_path: Path
) -> None:
    port = free_port()
    asked = asyncio.create_task(client.report(f"https://127.0.0.1:{port}", deadline=20))
    await asyncio.sleep(0.2)
    agent = Agent(config(tmp_path / "agent.toml", pki, port=port))
    await agent.start()
    assert (await asked).node == "node-1"
    await agent.stop()


async def test_a_bundle_is_sent_once(client: AgentClient, pki: Pki, tmp_path: Path) -> None:
    releases = Releases(tmp_path / "releases", pki)
    one = releases.files("1.0.0")
    agent = Agent(config(tmp_path / "agent.toml", pki))
    await agent.start()
    node = Node(client, agent.address, tmp_path / "node")
    await node.stage(one)
    received = (node.directory / "bundles" / one.ref.digest).stat()
    await client.stage(agent.address, node.operation(Action.STAGE, one), tmp_path / "not needed any more")
    assert (node.directory / "bundles" / one.ref.digest).stat().st_ino == received.st_ino
    await agent.stop()


def test_every_error_of_ours_comes_back_as_its_type() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HotswapError)
    ]
    assert len(kinds) > 15
    for kind in kinds:
        found = error_of(Fault(code=kind.code, message="why"))
        assert type(found) is kind
        assert found.message == "why"


def test_an_unknown_code_is_a_node_error_that_says_it() -> None:
    found = error_of(Fault(code="from-the-future", message="why"))
    assert type(found) is NodeError
    assert "from-the-future" in found.message
