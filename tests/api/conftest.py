"""The real application over a real database and a real Temporal server, asked through ASGI."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from google.protobuf.duration_pb2 import Duration
from sqlalchemy import func, select
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from api.application import create_app
from api.bell import Bell
from api.passwords import Passwords
from api.services import Services, token_keys
from api.turns import Turns
from domain.node import Node
from domain.roles import Role
from runtime.authority import ensure_token_keys
from runtime.settings import ApiSettings, Profile
from runtime.temporal import ensure_search_attributes
from store import nodes, schema, users
from store.bootstrap import bootstrap
from store.bundles import BundleDirectory
from store.database import Database
from store.limits import LimitCounters
from store.metadata import METADATA
from tests.agent.nodes import Pki, Release, Releases
from tests.conftest import as_owner

TENANT = "default"
PASSWORD = secrets.token_urlsafe(24)
# Many tests are one person here; tests/api/test_limits.py sets limits of its own.
LIMITS = ("sign_in", "sign_in_address", "reads", "writes", "tenant")
PEOPLE = {
    "vera": Role.VIEWER,
    "dora": Role.DEPLOYER,
    "abel": Role.APPROVER,
    "anna": Role.APPROVER,
    "admin": Role.ADMIN,
}


@dataclass
class World:
    """The application, what it stands on, and people who ask."""

    app: FastAPI
    services: Services
    pki: Pki
    releases: Releases

    def asks(self, person: str | None) -> httpx.AsyncClient:
        """A client of the API, signed in as this person."""
        headers = {"Authorization": f"Bearer {self.token(person)}"} if person else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(
            transport=transport, base_url="http://api/api/v1", headers=headers, timeout=30
        )

    def token(self, person: str, *, tenant: str = TENANT, username: str | None = None) -> str:
        minted = self.services.minter.user(tenant=tenant, username=username or person, role=PEOPLE[person])
        return minted.token

    async def rows(self) -> dict[str, int]:
        """How many rows each table has. The audit trail is left out: refusals are in it."""
        async with self.services.database.transaction(TENANT) as session:
            return {
                name: await session.scalar(select(func.count()).select_from(table)) or 0
                for name, table in METADATA.tables.items()
                if not name.startswith("audit")
            }

    async def push(self, release: Release) -> httpx.Response:
        async with self.asks("dora") as dora:
            return await dora.post("/modules", files=form(release))

    async def signals(self, workflow_id: str) -> list[tuple[str, dict[str, str]]]:
        """The signals that a workflow has received, as its history has them; none is under way any more."""
        await self.services.bell.rest()
        handle = self.services.temporal.get_workflow_handle(workflow_id)
        history = await handle.fetch_history()
        found = []
        for event in history.events:
            attributes = event.workflow_execution_signaled_event_attributes
            if event.HasField("workflow_execution_signaled_event_attributes"):
                [body] = await self.services.temporal.data_converter.decode(attributes.input.payloads)
                found.append((attributes.signal_name, body))
        return found


def form(release: Release) -> dict[str, tuple[str, bytes]]:
    """The two parts of a push."""
    return {
        "bundle": ("bundle", release.bundle.read_bytes()),
        "signature": ("signature", base64.b64decode(release.signature)),
    }


async def new_namespace(temporal: WorkflowEnvironment) -> Client:
    """A namespace of the test's own, so that no other test's worker takes its lanes."""
    name = f"api-{secrets.token_hex(4)}"
    retention = Duration(seconds=int(timedelta(days=1).total_seconds()))
    await temporal.client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
    )
    address = temporal.client.service_client.config.target_host
    client = await Client.connect(address, namespace=name, data_converter=pydantic_data_converter)
    patiently = AsyncRetrying(
        stop=stop_after_delay(30), wait=wait_fixed(0.2), retry=retry_if_exception_type(RPCError), reraise=True
    )
    await patiently(ensure_search_attributes, client)
    await patiently(client.count_workflows)
    return client


def new_settings(directory: Path, database_url: str, client: Client, pki: Pki) -> ApiSettings:
    """Settings of an API that trusts this PKI."""
    trust = directory / "trust"
    trust.mkdir()
    (trust / "root.pem").write_bytes(pki.signing.root.certificate.read_bytes())
    keys = ensure_token_keys(directory / "tokens")
    return ApiSettings(
        profile=Profile.DEVELOPMENT,
        database_url=database_url,
        temporal_address=client.service_client.config.target_host,
        temporal_namespace=client.namespace,
        bundle_directory=directory / "bundles",
        trust_directory=trust,
        max_bundle_bytes=256 * 1024,
        tls_ca=pki.ca.root.certificate,
        tls_certificate=pki.control.certificate,
        tls_key=pki.control.key,
        jwt_public_key_file=keys.public,
        jwt_private_key_file=keys.private,
        **{f"limit_{name}": "1000000/minute" for name in LIMITS},
    )


@asynccontextmanager
async def new_world(
    directory: Path, database_url: str, client: Client, **changes: str
) -> AsyncIterator[World]:
    """An application with its people, on a new database, without nodes."""
    pki = Pki(directory / "pki")
    settings = new_settings(directory, database_url, client, pki).model_copy(update=changes)
    await asyncio.to_thread(schema.upgrade, as_owner(database_url))
    database = Database(database_url, pool_size=20, pool_wait=60)  # the machine may be busy
    await bootstrap(database, tenant=TENANT, username="admin", password=PASSWORD)
    async with database.transaction(TENANT) as session:
        for person, role in PEOPLE.items():
            if person != "admin":
                await users.insert(session, TENANT, username=person, password_hash="!", role=role)
    minter, reader = token_keys(settings)
    counters = LimitCounters(database_url)
    async with pki.agents() as agents:
        services = Services(
            settings=settings,
            database=database,
            temporal=client,
            bell=Bell(client),
            turns=Turns(settings.database_pool_wait),
            agents=agents,
            bundles=BundleDirectory(settings.bundle_directory),
            passwords=Passwords(),
            minter=minter,
            reader=reader,
            counters=counters,
        )
        yield World(create_app(services), services, pki, Releases(directory / "releases", pki))
        await services.bell.rest()
    await counters.dispose()
    await database.dispose()


@pytest_asyncio.fixture(scope="module")
async def own_world(
    temporal: WorkflowEnvironment,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    """One for a module that counts what there is: without nodes or a worker, in a namespace of its own."""
    client = await new_namespace(temporal)
    async with new_world(tmp_path_factory.mktemp("own"), new_database(), client) as made:
        yield made


@pytest_asyncio.fixture(scope="session")
async def world(
    temporal: WorkflowEnvironment,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    """One for most tests: three nodes in production that do not answer, and no worker."""
    client = await new_namespace(temporal)
    async with new_world(tmp_path_factory.mktemp("api"), new_database(), client) as world:
        async with world.services.database.transaction(TENANT) as session:
            for number in range(1, 4):
                address = f"https://127.0.0.1:{number}"
                node = Node(name=f"silent-{number}", environment="production", address=address)
                await nodes.register(session, TENANT, node)
        yield world


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")
