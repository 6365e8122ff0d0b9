"""The client of agents: deadlines, retries, errors. An agent that can be killed is in tests/agent."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

import clients.agent
from agent import Agent
from clients.agent import AgentClient, error_of
from domain import errors
from domain.errors import AddressRefused, AnswerUnreadable, HotswapError, NodeError, NodeUnreachable
from domain.networks import AgentNetworks
from domain.wire import Action, Fault
from tests.agent.nodes import Node, Pki, Releases, config
from tests.clients.receiver import answers, receiving
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


@asynccontextmanager
async def pretending(pki: Pki, **answer: Any) -> AsyncIterator[tuple[str, list[str]]]:
    """A server with a node's certificate that always answers so; its address, and the paths asked for."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(**answer)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pki.node.certificate, pki.node.key)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


@pytest.mark.finding("N17")
async def test_a_taken_node_cannot_send_the_control_plane_elsewhere(client: AgentClient, pki: Pki) -> None:
    async with receiving(answers(200)) as elsewhere:
        there = {"Location": f"{elsewhere.url}/latest/meta-data"}
        async with pretending(pki, status=307, headers=there) as (address, asked):
            with pytest.raises(AnswerUnreadable, match="points elsewhere"):
                await client.report(address)
    assert asked == ["/v1/report"]
    assert elsewhere.got == []


@pytest.mark.parametrize("text", ["", "[]", '{"node": 7}', "x" * 4096])
async def test_an_answer_of_another_form_is_an_error_of_the_nodes(
    client: AgentClient, pki: Pki, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients.agent, "LARGEST_ANSWER", 4095)
    async with pretending(pki, text=text) as (address, _):
        for call in (client.report, client.journal):
            with pytest.raises(AnswerUnreadable, match="longer than" if len(text) > 4095 else "form"):
                await call(address)
            if text == "[]":
                break  # an empty journal


@pytest.mark.finding("N17")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "agent.test"])
async def test_where_no_agent_may_be_nothing_connects_to(
    pki: Pki, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, connected = socket.getaddrinfo, []

    def resolving(name: str, *more: object, **named: object) -> object:
        return ask("127.0.0.1" if name == "agent.test" else name, *more, **named)

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        writer.close()

    monkeypatch.setattr(socket, "getaddrinfo", resolving)
    server = await asyncio.start_server(note, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    elsewhere = AgentNetworks(networks=("10.0.0.0/8",))
    ca, own = pki.ca.root.certificate, pki.control
    async with AgentClient(ca=ca, certificate=own.certificate, key=own.key, networks=elsewhere) as strict:
        with pytest.raises(AddressRefused, match="no agent may be at"):
            await strict.of("default").report(f"https://{host}:{port}")
    server.close()
    assert connected == []
