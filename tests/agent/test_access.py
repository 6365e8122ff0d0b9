"""Who may connect, who may read, who may order."""

import ssl
from pathlib import Path

import aiohttp
import pytest

from domain.errors import Forbidden, NodeUnreachable, NodeUntrusted
from domain.wire import Action
from runtime.authority import Authority, Credentials, Usage
from tests.agent.nodes import Node, Pki, Releases


async def test_a_stranger_is_refused_by_tls(node: Node, pki: Pki, tmp_path: Path) -> None:
    other = Authority.ensure(tmp_path, "other", "another CA")
    stranger = other.issue(tmp_path, "x", usage=Usage.CLIENT, common_name="hotswap-control-plane")
    async with pki.connect(stranger) as client:
        with pytest.raises(NodeUnreachable, match=r"disconnected|alert"):
            await client.report(node.address, deadline=0.5)


async def test_a_client_without_a_certificate_is_refused(node: Node, pki: Pki) -> None:
    context = ssl.create_default_context(cafile=str(pki.ca.root.certificate))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"{node.address}/healthz", ssl=context)


async def test_a_server_certificate_is_no_clients(node: Node, pki: Pki) -> None:
    async with pki.connect(pki.node) as client:
        with pytest.raises(NodeUnreachable, match=r"disconnected|alert"):
            await client.report(node.address, deadline=0.5)


async def test_other_clients_of_the_ca_may_read_but_not_order(
    node: Node, pki: Pki, releases: Releases
) -> None:
    reader = pki.client("prometheus", "prometheus")
    one = releases.files("1.0.0")
    async with pki.connect(reader) as client:
        assert (await client.report(node.address)).node == "node-1"
        assert await client.journal(node.address) == ()
        with pytest.raises(Forbidden):
            await client.stage(node.address, node.operation(Action.STAGE, one), one.bundle)
        with pytest.raises(Forbidden):
            await client.operate(node.address, node.operation(Action.VERIFY, one))
        with pytest.raises(Forbidden):
            await client._ask("PUT", f"{node.address}/v1/bundles/{one.ref.digest}", data=b"x")
    assert node.journal() == []
    assert list((node.directory / "bundles").iterdir()) == []


async def test_the_agent_has_to_prove_itself_too(node: Node, pki: Pki, tmp_path: Path) -> None:
    async with pki.connect() as client:
        with pytest.raises(NodeUntrusted):
            await client.report(node.address.replace("127.0.0.1", "localhost"), deadline=5)


def old_context(pki: Pki, credentials: Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.ca.root.certificate))
    context.load_cert_chain(credentials.certificate, credentials.key)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_old_tls_is_refused(node: Node, pki: Pki) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"{node.address}/healthz", ssl=old_context(pki, pki.control))
