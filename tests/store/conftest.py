"""A migrated database with one tenant, its environments, ten nodes and two releases."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest_asyncio

from domain.manifest import Files, Manifest
from domain.node import Node
from domain.plan import Plan
from domain.planner import make_plan
from domain.policy import default_policy
from domain.release import Kind, ReleaseRef
from domain.strategy import Canary
from store import deployments, nodes, releases, schema
from store.bootstrap import bootstrap
from store.database import Database
from tests.conftest import as_owner

TENANT = "default"
OLD = ReleaseRef(module="greeter", version="1.0.0", digest="1" * 64, tree="2" * 64)
NEW = ReleaseRef(module="greeter", version="2.0.0", digest="3" * 64, tree="4" * 64)
NODES = tuple(f"node-{number:02}" for number in range(1, 11))
PRIOR: dict[str, ReleaseRef | None] = {**dict.fromkeys(NODES, OLD), "node-10": None}


@pytest_asyncio.fixture
async def database(new_database: Callable[[], str]) -> AsyncIterator[Database]:
    url = new_database()
    await asyncio.to_thread(schema.upgrade, as_owner(url))
    database = Database(url, pool_size=5)
    await bootstrap(database, tenant=TENANT, username="admin", password="correct horse battery")
    async with database.transaction(TENANT) as session:
        for number, name in enumerate(NODES):
            node = Node(
                name=name,
                environment="production",
                address=f"https://127.0.0.1:{7000 + number}",
                labels={"zone": "abc"[number % 3]},
            )
            await nodes.register(session, TENANT, node)
        for ref in (OLD, NEW):
            await releases.insert(
                session,
                TENANT,
                ref=ref,
                kind=Kind.FILES,
                manifest=Manifest(name=ref.module, version=ref.version, kind=Kind.FILES, files=Files()),
                signature=b"signature",
                signer="CN=release",
                size=1000,
                pushed_by="admin",
            )
    yield database
    await database.dispose()


async def queue(database: Database, deployment: str = "d1", **changes: str | None) -> str:
    asked = {"environment": "production", "module": "greeter", "version": "2.0.0", **changes}
    async with database.transaction(TENANT) as session:
        await deployments.insert(session, TENANT, deployment=deployment, requester="ana", **asked)
    return deployment


async def a_plan(database: Database, *only: str) -> Plan:
    async with database.transaction(TENANT) as session:
        everybody = await nodes.of_environment(session, TENANT, "production")
    fleet = [each for each in everybody if not only or each.name in only]
    return make_plan(
        tenant=TENANT,
        environment="production",
        release=NEW,
        nodes=fleet,
        running={node.name: ref.version if (ref := PRIOR.get(node.name)) else None for node in fleet},
        strategy=Canary(),
        policy=default_policy("production"),
    )


async def planned(database: Database, deployment: str = "d1", *only: str) -> Plan:
    """A stored plan of the deployment, of the whole environment or of some nodes `only`."""
    plan = await a_plan(database, *only)
    prior = {name: PRIOR.get(name) for name in plan.nodes}
    async with database.transaction(TENANT) as session:
        await deployments.save_plan(session, TENANT, deployment, plan, prior)
    return plan
