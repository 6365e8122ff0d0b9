"""The real application over a real database and a real Temporal server, asked through ASGI."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
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
from api.passwords import Passwords
from api.services import Services, token_keys
from clients.agent import AgentClient
from domain.node import Node
from domain.roles import Role
from runtime.authority import ensure_token_keys
from runtime.settings import ApiSettings, Profile
from runtime.temporal import ensure_search_attributes
from store import nodes, schema, users
from store.bootstrap import bootstrap
from store.bundles import BundleDirectory
from store.database import Database
from store.tables import Table
from tests.agent.nodes import Pki, Release, Releases

TENANT = "default"
PASSWORD = secrets.token_urlsafe(24)
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

    def token(self, person: str, *, tenant: str = TENANT) -> str:
        return self.services.minter.user(tenant=tenant, username=person, role=PEOPLE[person]).token

    async def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        async with self.services.database.transaction() as session:
            return {
                name: await session.scalar(select(func.count()).select_from(table)) or 0
                for name, table in Table.metadata.tables.items()
            }

    async def push(self, release: Release) -> httpx.Response:
        async with self.asks("dora") as dora:
            return await dora.post("/modules", files=form(release))

    async def signals(self, workflow_id: str) -> list[tuple[str, dict[str, str]]]:
        """The signals that a workflow has received, as its history has them."""
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
    import base64

    return {
        "bundle": ("bundle", release.bundle.read_bytes()),
        "signature": ("signature", base64.b64decode(release.signature)),
    }


@pytest_asyncio.fixture(scope="session")
async def api_namespace(temporal: WorkflowEnvironment) -> Client:
    """A namespace of our own, so that no other test's worker takes our lanes."""
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


@pytest.fixture(scope="session")
def api_settings(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str], api_namespace: Client
) -> tuple[ApiSettings, Pki]:
    directory = tmp_path_factory.mktemp("api")
    pki = Pki(directory / "pki")
    trust = directory / "trust"
    trust.mkdir()
    (trust / "root.pem").write_bytes(pki.signing.root.certificate.read_bytes())
    keys = ensure_token_keys(directory / "tokens")
    settings = ApiSettings(
        profile=Profile.DEVELOPMENT,
        database_url=new_database(),
        temporal_address=api_namespace.service_client.config.target_host,
        temporal_namespace=api_namespace.namespace,
        bundle_directory=directory / "bundles",
        trust_directory=trust,
        max_bundle_bytes=256 * 1024,
        tls_ca=pki.ca.root.certificate,
        tls_certificate=pki.control.certificate,
        tls_key=pki.control.key,
        jwt_public_key_file=keys.public,
        jwt_private_key_file=keys.private,
    )
    return settings, pki


@pytest_asyncio.fixture(scope="session")
async def world(
    api_settings: tuple[ApiSettings, Pki], api_namespace: Client, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    settings, pki = api_settings
    await asyncio.to_thread(schema.upgrade, settings.database_url)
    database = Database(settings.database_url, pool_size=5)
    await bootstrap(database, tenant=TENANT, username="admin", password=PASSWORD)
    async with database.transaction() as session:
        for person, role in PEOPLE.items():
            if person != "admin":
                await users.insert(session, TENANT, username=person, password_hash="!", role=role)
        for number in range(1, 4):
            node = Node(
                name=f"silent-{number}", environment="production", address=f"https://127.0.0.1:{number}"
            )
            await nodes.register(session, TENANT, node)
    minter, reader = token_keys(settings)
    agents = AgentClient(ca=settings.tls_ca, certificate=settings.tls_certificate, key=settings.tls_key)
    async with agents:
        services = Services(
            settings=settings,
            database=database,
            temporal=api_namespace,
            agents=agents,
            bundles=BundleDirectory(settings.bundle_directory),
            passwords=Passwords(),
            minter=minter,
            reader=reader,
        )
        releases = Releases(tmp_path_factory.mktemp("releases"), pki)
        yield World(create_app(services), services, pki, releases)
    await database.dispose()


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")
