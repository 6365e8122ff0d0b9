"""Whose agent it is: two tenants' agents, each a process, under one CA and one control plane."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from clients.agent import AgentClient
from domain.errors import SignatureRefused, WrongTenant
from domain.wire import TENANT_HEADER, Action
from runtime.authority import Authority, Credentials, Usage
from tests.agent.nodes import AgentProcess, Node, Pki, Release, Releases, clean, write_config
from tests.conftest import free_port


@dataclass
class Owned:
    """A tenant's agent, its trust roots on the node, and a signer of the tenant's."""

    node: Node
    trust: Path
    root: Credentials
    signer: Credentials

    def signed(self, release: Release, releases: Releases) -> Release:
        return Release(release.ref, release.bundle, releases.signature(release.bundle, self.signer))


@dataclass
class Neighbours:
    """Two tenants on one installation."""

    acme: Owned
    globex: Owned
    agents: AgentClient

    def as_acme(self) -> Node:
        """What acme's orders reach when its inventory names the other tenant's agent."""
        return Node(self.agents.of("acme"), self.globex.node.address, self.globex.node.directory)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def neighbours(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Neighbours]:
    owned: dict[str, Owned] = {}
    processes = []
    async with pki.agents() as agents:
        for tenant in ("acme", "globex"):
            home = tmp_path_factory.mktemp(tenant)
            authority = Authority.ensure(home, "root", f"{tenant} signing root")
            signer = authority.issue(
                home, "signer", usage=Usage.CODE_SIGNING, common_name=f"{tenant} releases"
            )
            trust = home / "trust.pem"
            trust.write_bytes(authority.root.certificate.read_bytes())
            config = write_config(home / "agent.toml", pki, port=free_port(), tenant=tenant, trust=str(trust))
            process = AgentProcess(config, agents)
            processes.append(process)
            owned[tenant] = Owned(await process.start(), trust, authority.root, signer)
        yield Neighbours(**owned, agents=agents)
        for process in processes:
            process.terminate()
            clean(process.node.directory)


async def test_a_bundle_of_one_tenants_signer_is_refused_by_the_others_agent(
    neighbours: Neighbours, releases: Releases
) -> None:
    acme, globex = neighbours.acme, neighbours.globex
    ours = acme.signed(releases.files("1.0.0"), releases)
    assert (await acme.node.install(ours)).report.current == ours.ref
    # Even when the control plane orders it in the name of the agent's own tenant.
    with pytest.raises(SignatureRefused, match="'CN=acme signing root' is not a trust root"):
        await globex.node.stage(ours)
    assert (await globex.node.module("site")).current is None


async def test_another_tenants_orders_and_questions_are_refused(
    neighbours: Neighbours, releases: Releases
) -> None:
    globex, stranger = neighbours.globex, neighbours.as_acme()
    theirs = globex.signed(releases.files("2.0.0"), releases)
    installed = await globex.node.install(theirs)
    before = globex.node.journal()
    # Removing needs no bundle, hence no signature: only the tenant is in the way.
    removal = stranger.operation(Action.REVERT, None, module="site")
    for call in (
        stranger.client.operate(stranger.address, removal),
        stranger.stage(theirs, name="foreign"),
        stranger.client.report(stranger.address),
        stranger.client.module(stranger.address, "site"),
        stranger.client.samples(stranger.address, "site", since=0),
        stranger.client.journal(stranger.address),
    ):
        with pytest.raises(WrongTenant):
            await call
    assert globex.node.journal() == before
    assert (await globex.node.module("site")).current == installed.report.current


async def test_who_names_no_tenant_is_refused(neighbours: Neighbours, pki: Pki) -> None:
    address = neighbours.globex.node.address
    async with aiohttp.ClientSession() as session:
        for headers in ({}, {TENANT_HEADER: ""}, {TENANT_HEADER: "GLOBEX"}, {TENANT_HEADER: "globex, acme"}):
            context = neighbours.agents._tls
            async with session.get(f"{address}/v1/report", ssl=context, headers=headers) as answer:
                assert (answer.status, (await answer.json())["code"]) == (421, "wrong-tenant")
    async with pki.agents() as unbound:
        with pytest.raises(RuntimeError, match="for a tenant"):
            await unbound.report(address)


async def test_only_the_file_on_the_node_says_who_is_trusted(
    neighbours: Neighbours, releases: Releases
) -> None:
    """A change of roots: the new one beside the old, then without it; no restart, and each is reported."""
    acme, globex = neighbours.acme, neighbours.globex
    ours = acme.signed(releases.files("3.0.0"), releases)
    old, new = (owner.root.certificate.read_bytes() for owner in (globex, acme))
    [first] = (await globex.node.client.report(globex.node.address)).roots
    globex.trust.write_bytes(old + new)
    assert first in (both := (await globex.node.client.report(globex.node.address)).roots)
    assert len(both) == 2
    assert (await globex.node.stage(ours)).ok
    globex.trust.write_bytes(old)
    later = acme.signed(releases.files("3.0.1"), releases)
    with pytest.raises(SignatureRefused):
        await globex.node.stage(later)
    globex.trust.write_text("nothing")
    assert (await globex.node.client.report(globex.node.address)).roots == ()
    globex.trust.write_bytes(old)
    assert (await globex.node.client.report(globex.node.address)).roots == (first,)
