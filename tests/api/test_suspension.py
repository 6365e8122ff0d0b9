"""A tenant suspended, let go on, and taken away, while its real nodes work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from domain.deployment import Phase
from domain.events import EventKind
from domain.roles import Role
from domain.tenancy import TenantState
from domain.wire import ModuleReport
from store import users
from tests.agent.nodes import AgentProcess, Release, write_config
from tests.api.conftest import World, form, new_namespace, new_world
from tests.api.serving import PATIENCE, serving
from tests.api.working import at_work
from tests.conftest import free_port

pytestmark = [pytest.mark.faults_long, pytest.mark.timeout(300)]

ACME = "acme"
NODES = ("acme-1", "acme-2")
LANE = "development"
MODULE = "echo"
WAVES = {"kind": "rolling", "batch": 1, "max_unavailable": 1, "bake": 4}


@dataclass
class Tenant:
    """The tenant as its deployer, the platform and its agents have it."""

    world: World
    dora: httpx.AsyncClient
    platform: httpx.AsyncClient
    agents: dict[str, AgentProcess]

    async def deploy(self, release: Release, **more: Any) -> str:
        body = {"module": MODULE, "version": release.ref.version, "environment": LANE}
        answer = await self.dora.post("/deployments", json=body | more)
        assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
        return str(answer.json()["id"])

    async def shown(self, deployment: str) -> dict[str, Any]:
        """As the platform's admin sees it, whatever the tenant's own people may."""
        answer = await self.platform.get(f"/deployments/{deployment}", headers={"X-Tenant-ID": ACME})
        assert answer.status_code == HTTPStatus.OK, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def comes_to(self, deployment: str, **wanted: object) -> None:
        async with asyncio.timeout(PATIENCE):
            while not wanted.items() <= (await self.shown(deployment)).items():
                await asyncio.sleep(0.1)

    async def heard(self) -> dict[str, str]:
        answer = await self.platform.get("/nodes", headers={"X-Tenant-ID": ACME})
        return {node["name"]: node["last_seen"] or "" for node in answer.json()["items"]}

    async def heard_again(self) -> None:
        before = now = await self.heard()
        async with asyncio.timeout(PATIENCE):
            while not all(now[name] > at for name, at in before.items()):
                await asyncio.sleep(0.1)
                now = await self.heard()

    async def reached(self, state: TenantState) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await self.platform.get(f"/tenants/{ACME}")).json()["state"] != state:
                await asyncio.sleep(0.1)

    async def running(self, release: Release) -> dict[str, int]:
        """The processes that run this release, as the agents themselves say."""
        reports: dict[str, ModuleReport] = {
            name: await agent.node.module(MODULE) for name, agent in self.agents.items()
        }
        assert {report.current and report.current.version for report in reports.values()} == {
            release.ref.version
        }
        return {name: report.process.pid for name, report in reports.items() if report.process is not None}


@pytest_asyncio.fixture(scope="module")
async def acme(
    temporal: WorkflowEnvironment,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Tenant]:
    """A tenant with two nodes of its own, on an installation with a worker and an API process."""
    directory = tmp_path_factory.mktemp("acme")
    client = await new_namespace(temporal)
    async with (
        new_world(directory, new_database(), client) as world,
        at_work(world, client),
        serving(world, directory) as (_, platform),
    ):
        made = await platform.post("/tenants", json={"id": ACME, "name": ACME, "tier": "starter"})
        assert made.status_code == HTTPStatus.ACCEPTED, made.text
        url = str(platform.base_url)
        token = world.services.minter.user(tenant=ACME, username="dora", role=Role.DEPLOYER).token
        async with httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60
        ) as dora:
            tenant = Tenant(world, dora, platform, {})
            await tenant.reached(TenantState.ACTIVE)
            async with world.services.database.transaction(ACME) as session:
                await users.insert(session, ACME, username="dora", password_hash="!", role=Role.DEPLOYER)
            try:
                for name in NODES:
                    tenant.agents[name] = await join(tenant, directory / name)
                yield tenant
            finally:
                for agent in tenant.agents.values():
                    with contextlib.suppress(ProcessLookupError):
                        agent.terminate()


async def join(tenant: Tenant, place: Path) -> AgentProcess:
    """An agent of the tenant's, registered, that reports to the API process and ends with its modules."""
    place.mkdir()
    port = free_port()
    node = {"name": place.name, "environment": LANE, "address": f"https://127.0.0.1:{port}"}
    answer = await tenant.platform.post("/nodes", json=node, headers={"X-Tenant-ID": ACME})
    assert answer.status_code == HTTPStatus.CREATED, answer.text
    (place / "token").write_text(answer.json()["token"])
    config = write_config(
        place / "agent.toml",
        tenant.world.pki,
        port=port,
        node=place.name,
        tenant=ACME,
        control_plane=f"{tenant.platform.base_url.scheme}://{tenant.platform.base_url.netloc.decode()}",
        token_file=str(place / "token"),
        heartbeat_seconds=0.5,
        stop_modules_on_exit=True,
    )
    agent = AgentProcess(config, tenant.world.services.agents)
    await agent.start()
    return agent


@pytest_asyncio.fixture(scope="module")
async def releases(acme: Tenant) -> tuple[Release, Release]:
    """The first of two releases is on every node."""
    found = (acme.world.releases.program("1.0.0"), acme.world.releases.program("2.0.0"))
    for release in found:
        assert (await acme.dora.post("/modules", files=form(release))).status_code == HTTPStatus.CREATED
    await acme.heard_again()
    await acme.comes_to(await acme.deploy(found[0], strategy="direct"), phase=Phase.COMPLETED)
    return found


@pytest.mark.finding("X14")
async def test_suspended_its_people_are_refused_what_runs_ends_and_what_waits_waits(
    acme: Tenant, releases: tuple[Release, Release]
) -> None:
    old, new = releases
    running, waiting = await acme.deploy(new, strategy=WAVES), await acme.deploy(old, strategy="direct")
    await acme.comes_to(running, wave=1)
    stream = asyncio.create_task(read(acme.dora, running))
    suspended = await acme.platform.post(f"/tenants/{ACME}/suspend", json={"reason": "unpaid"})
    assert suspended.status_code == HTTPStatus.OK, suspended.text

    body = {"module": MODULE, "version": "1.0.0", "environment": LANE}
    asked = {
        "look": acme.dora.get(f"/deployments/{running}"),
        "list": acme.dora.get("/nodes"),
        "deploy": acme.dora.post("/deployments", json=body),
        "abort": acme.dora.post(f"/deployments/{running}/abort", json={"reason": "no"}),
        "push": acme.dora.post("/modules", files=form(old)),
    }
    answers = dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))
    refused = {name: (each.status_code, each.json()["code"]) for name, each in answers.items()}
    assert refused == dict.fromkeys(asked, (HTTPStatus.FORBIDDEN, "tenant-suspended"))
    last = (await asyncio.wait_for(stream, PATIENCE))[-1]
    assert "authorization.ended" in last
    assert "tenant-suspended" in last

    await acme.comes_to(running, phase=Phase.COMPLETED)
    pids = await acme.running(new)
    await acme.heard_again()
    assert (await acme.shown(waiting))["phase"] == Phase.QUEUED
    assert await acme.running(new) == pids

    assert (await acme.platform.post(f"/tenants/{ACME}/activate")).status_code == HTTPStatus.OK
    await acme.comes_to(waiting, phase=Phase.COMPLETED)
    assert set(await acme.running(old)) == set(NODES)
    assert EventKind.FINISHED in (await read(acme.dora, running))[-1]


@pytest.mark.finding("X14")
async def test_taken_away_what_runs_ends_and_its_nodes_run_on_unheard(
    acme: Tenant, releases: tuple[Release, Release]
) -> None:
    old, new = releases
    running, waiting = await acme.deploy(new, strategy=WAVES), await acme.deploy(old, strategy="direct")
    await acme.comes_to(running, wave=1)
    assert (await acme.platform.delete(f"/tenants/{ACME}")).status_code == HTTPStatus.ACCEPTED
    refused = await acme.dora.get(f"/deployments/{running}")
    assert (refused.status_code, refused.json()["code"]) == (HTTPStatus.FORBIDDEN, "tenant-unavailable")
    await acme.comes_to(waiting, phase=Phase.ABORTED)
    await acme.reached(TenantState.DELETED)
    pids = await acme.running(new)
    assert set(pids) == set(NODES)
    async with asyncio.timeout(PATIENCE):
        while not all("heartbeats do not reach" in agent.log() for agent in acme.agents.values()):
            await asyncio.sleep(0.1)
    assert await acme.running(new) == pids


async def read(client: httpx.AsyncClient, deployment: str) -> list[str]:
    """A deployment's live stream to its end, event by event."""
    async with client.stream("GET", f"/deployments/{deployment}/events") as answer:
        assert answer.status_code == HTTPStatus.OK
        text = (await answer.aread()).decode()
    return [part for part in text.replace("\r\n", "\n").split("\n\n") if "data:" in part]
