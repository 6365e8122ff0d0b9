"""Tenants through the API, made by their real workflow: who may, what they may use, whose name counts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import func, select
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.errors import ErrorInterceptor
from activities.registry import tenant_activities
from activities.tenants import DatabaseTenancy
from api.application import create_app
from api.tenancy import look_after, subdomain
from domain.names import CONTROL_QUEUE
from runtime.authority import Authority
from runtime.temporal import worker_tuning, workflow_runner
from store.metadata import METADATA
from tests.api.conftest import PASSWORD, World, form, new_namespace, new_world
from workflows import ALL_WORKFLOWS

DOMAIN = "example.com"


@pytest_asyncio.fixture(scope="module")
async def platform(
    temporal: WorkflowEnvironment,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    """A world with a worker that makes tenants."""
    client = await new_namespace(temporal)
    async with new_world(
        tmp_path_factory.mktemp("platform"), new_database(), client, base_domain=DOMAIN
    ) as world:
        tenancy = DatabaseTenancy(world.services.database, client)
        async with Worker(
            client,
            task_queue=CONTROL_QUEUE,
            workflows=ALL_WORKFLOWS,
            activities=tenant_activities(tenancy),
            workflow_runner=workflow_runner(),
            interceptors=[ErrorInterceptor()],
            **worker_tuning(),
        ):
            yield world


async def reached(world: World, tenant: str, state: str) -> dict:
    async with world.asks("admin") as admin, asyncio.timeout(30):
        while True:
            found = (await admin.get(f"/tenants/{tenant}")).json()
            if found["state"] == state:
                return found
            await asyncio.sleep(0.05)


async def made(world: World, tenant: str, **more: object) -> httpx.AsyncClient:
    """A new tenant, and a client of its first admin, whose password is changed already."""
    async with world.asks("admin") as admin:
        answer = await admin.post("/tenants", json={"id": tenant, "name": tenant.title(), **more})
        assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
        await reached(world, tenant, "active")
        first = (await admin.post(f"/tenants/{tenant}/bootstrap")).json()
    client = world.asks(None)
    who = {"tenant": tenant, "username": first["username"]}
    signed_in = (await client.post("/auth/token", json={**who, "password": first["password"]})).json()
    client.headers["Authorization"] = f"Bearer {signed_in['access_token']}"
    assert signed_in["must_change"]
    assert (await client.get("/clusters")).json()["code"] == "password-change-required"
    change = {"current": first["password"], "new": "quite-another-Word-71-for-it"}
    changed = (await client.post("/auth/password", json=change)).json()
    client.headers["Authorization"] = f"Bearer {changed['access_token']}"
    return client


async def test_other_roots_of_a_tenant_count_from_the_next_push_on(platform: World, tmp_path: Path) -> None:
    release = platform.releases.files("1.0.0", module="keyed")
    ours = platform.pki.signing.root.certificate.read_text()
    other = Authority.ensure(tmp_path, "root", "another signing root").root.certificate.read_text()
    client = await made(platform, "keyed", trust=other)
    async with platform.asks("admin") as admin:
        refused = await client.post("/modules", files=form(release))
        assert (refused.status_code, refused.json()["code"]) == (422, "signature-refused")
        assert (await admin.put("/tenants/keyed/trust", json={"trust": "not pem"})).json()["field"] == "trust"
        assert (await client.put("/tenants/keyed/trust", json={"trust": ours})).status_code == 403
        assert (await admin.put("/tenants/keyed/trust", json={"trust": other + ours})).status_code == 200
        assert (await client.post("/modules", files=form(release))).status_code == 201
        assert (await admin.put("/tenants/keyed/trust", json={"trust": None})).status_code == 200
        query = {"action": "tenant.trust-set"}
        noted = (await client.get("/audit", params=query)).json()["items"]
        assert [len(entry["after"]["roots"]) for entry in noted] == [0, 2]


async def test_a_tenant_begins_with_its_environments_and_one_admin(platform: World) -> None:
    acme = await made(platform, "acme", tier="starter")
    async with platform.asks("admin") as admin:
        names = [each["environment"] for each in (await acme.get("/clusters")).json()["items"]]
        assert names == ["development", "qa", "staging", "production"]
        own = (await acme.get("/tenant")).json()
        assert (own["state"], own["tier"]) == ("active", "starter")
        assert own["usage"] == {"nodes": 0, "deployments": 0, "storage_bytes": 0}
        again = await admin.post("/tenants/acme/bootstrap")
        assert again.json()["code"] == "conflict"
        trail = (await acme.get("/audit", params={"category": "tenant"})).json()["items"]
        actions = [entry["action"] for entry in trail[::-1]]
        assert actions[:3] == ["tenant.added", "tenant.active", "tenant.bootstrapped"]
    await acme.aclose()


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"id": "Acme"}, 422, "id"),
        ({"id": "www"}, 422, "id"),
        ({"id": "default"}, 409, "id"),
        ({"name": ""}, 422, "name"),
        ({"tier": "gold"}, 422, "tier"),
        ({"quota": {"nodes": 1}}, 422, "quota"),
        ({"trust": "not pem"}, 422, "trust"),
        ({"state": "active"}, 422, "state"),
    ],
)
async def test_bad_tenants_are_refused(
    platform: World, change: dict[str, object], status: int, field: str
) -> None:
    async with platform.asks("admin") as admin:
        before = (await admin.get("/tenants")).json()
        answer = await admin.post("/tenants", json={"id": "fresh", "name": "Fresh", **change})
        assert (answer.status_code, answer.json()["field"]) == (status, field)
        assert (await admin.get("/tenants")).json() == before


async def test_a_suspended_tenant_is_refused_with_a_code_and_comes_back(platform: World) -> None:
    client = await made(platform, "sleepy")
    async with platform.asks("admin") as admin:
        assert (await client.get("/nodes")).status_code == HTTPStatus.OK
        reason = {"reason": "unpaid"}
        assert (await admin.post("/tenants/sleepy/suspend", json=reason)).json()["reason"] == "unpaid"
        refused = await client.get("/nodes")
        assert (refused.status_code, refused.json()["code"]) == (403, "tenant-suspended")
        who = {"tenant": "sleepy", "username": "admin", "password": "quite-another-Word-71-for-it"}
        assert (await client.post("/auth/token", json=who)).json()["code"] == "tenant-suspended"
        assert (await admin.post("/tenants/sleepy/activate")).json()["state"] == "active"
        assert (await client.get("/nodes")).status_code == HTTPStatus.OK
    await client.aclose()


@pytest.mark.finding("X14")
async def test_a_deleted_tenant_leaves_its_audit_trail_only(platform: World) -> None:
    client = await made(platform, "gone")
    async with platform.asks("admin") as admin:
        assert (await admin.delete("/tenants/gone")).status_code == HTTPStatus.ACCEPTED
        await reached(platform, "gone", "deleted")
        assert (await client.get("/nodes")).status_code == HTTPStatus.UNAUTHORIZED
        for what in ("activate", "bootstrap"):
            assert (await admin.post(f"/tenants/gone/{what}")).status_code == HTTPStatus.CONFLICT
        assert (await admin.post("/tenants", json={"id": "gone", "name": "Again"})).status_code == 409
    async with platform.services.database.transaction("gone") as session:
        left = {
            name: await session.scalar(select(func.count()).select_from(table))
            for name, table in METADATA.tables.items()
        }
    assert [name for name, count in left.items() if count] == ["tenants", "audit", "audit_heads"]
    await client.aclose()


@pytest.mark.finding("X13")
async def test_quota_counts_at_the_api(platform: World) -> None:
    client = await made(platform, "small", tier="custom", quota={"nodes": 1, "requests_per_minute": 30})
    node = {"environment": "qa", "address": "https://127.0.0.1:9"}
    assert (await client.post("/nodes", json={"name": "one", **node})).status_code == HTTPStatus.CREATED
    refused = await client.post("/nodes", json={"name": "two", **node})
    assert (refused.status_code, refused.json()["code"]) == (409, "quota-exceeded")
    async with platform.asks("admin") as admin:
        await admin.put("/tenants/small/tier", json={"tier": "starter"})
    assert (await client.post("/nodes", json={"name": "two", **node})).status_code == HTTPStatus.CREATED
    await client.aclose()


async def test_what_the_quota_refuses_leaves_no_file_behind(platform: World) -> None:
    bundles = platform.services.settings.bundle_directory
    client = await made(platform, "full", tier="custom", quota={"storage_bytes": 1})
    before = sorted(path for path in bundles.rglob("*") if path.is_file())
    refused = await client.post("/modules", files=form(platform.releases.files("1.0.0", module="too-much")))
    assert (refused.status_code, refused.json()["code"]) == (409, "quota-exceeded")
    assert sorted(path for path in bundles.rglob("*") if path.is_file()) == before
    await client.aclose()


async def test_a_tenants_own_requests_per_minute(platform: World) -> None:
    client = await made(platform, "calm", tier="custom", quota={"requests_per_minute": 20})
    answers = [(await client.get("/nodes")).status_code for _ in range(25)]
    assert answers.count(HTTPStatus.TOO_MANY_REQUESTS) >= 5
    assert HTTPStatus.OK in answers
    await client.aclose()


async def test_a_tenants_nodes_count_against_its_own_requests_per_minute(platform: World) -> None:
    """Neither beyond it, nor by the installation's figure, which may be far too small for it."""
    tight = platform.services.settings.model_copy(update={"limit_tenant": "2/minute"})
    few = replace(platform, app=create_app(replace(platform.services, settings=tight)))
    client = await made(platform, "fleet", tier="custom", quota={"requests_per_minute": 12})
    token = platform.services.minter.node(tenant="fleet", node="one").token
    path, headers = "/nodes/one/heartbeat", {"Authorization": f"Bearer {token}"}
    async with few.asks(None) as node:
        codes = [(await node.post(path, json={}, headers=headers)).status_code for _ in range(14)]
    assert codes[:3] == [HTTPStatus.UNPROCESSABLE_ENTITY] * 3
    assert codes[-1] == HTTPStatus.TOO_MANY_REQUESTS
    assert (await client.get("/nodes")).status_code == HTTPStatus.TOO_MANY_REQUESTS
    await client.aclose()


async def test_only_the_platforms_admins_manage_tenants(platform: World) -> None:
    client = await made(platform, "nosy")
    for method, path in (("GET", "/tenants"), ("GET", "/tenants/default"), ("DELETE", "/tenants/default")):
        assert (await client.request(method, path)).status_code == HTTPStatus.FORBIDDEN
    await client.aclose()
    async with platform.asks("admin") as admin:
        assert (await admin.delete("/tenants/default")).status_code == HTTPStatus.CONFLICT


async def test_the_claim_decides_and_header_and_subdomain_only_confirm(platform: World) -> None:
    client = await made(platform, "named")
    for headers, status, code in (
        ({"X-Tenant-ID": "named"}, 200, None),
        ({"Host": "named.example.com"}, 200, None),
        ({"Host": "api.example.com:8080"}, 200, None),
        ({"X-Tenant-ID": "default"}, 403, "tenant-mismatch"),
        ({"X-Tenant-ID": ""}, 403, "tenant-mismatch"),
        ({"Host": "default.example.com"}, 403, "tenant-mismatch"),
        ({"Host": "NAMED.example.com", "X-Tenant-ID": "other"}, 403, "tenant-mismatch"),
    ):
        answer = await client.get("/nodes", headers=headers)
        assert (answer.status_code, answer.json().get("code")) == (status, code), headers
    await client.aclose()


async def test_one_signs_in_at_ones_own_subdomain(platform: World) -> None:
    who = {"tenant": "default", "username": "admin", "password": PASSWORD}
    async with platform.asks(None) as anybody:
        for host, status in (
            ("default.example.com", 200),
            ("www.example.com", 200),
            ("acme.example.com", 403),
        ):
            answer = await anybody.post("/auth/token", json=who, headers={"Host": host})
            assert answer.status_code == status, host
        assert answer.json()["code"] == "tenant-mismatch"


async def test_a_platform_admin_chooses_and_acts_under_his_full_name(platform: World) -> None:
    client = await made(platform, "helped")
    chosen = {"X-Tenant-ID": "helped"}
    async with platform.asks("admin") as admin:
        policy = (await admin.get("/clusters/qa", headers=chosen)).json()["policy"]
        done = await admin.put("/clusters/qa/policy", json=policy, headers=chosen)
        assert done.status_code == HTTPStatus.OK
        for path in ("/auth/me", "/auth/keys"):
            assert (await admin.get(path, headers=chosen)).status_code == HTTPStatus.FORBIDDEN
        unknown = await admin.get("/nodes", headers={"X-Tenant-ID": "nobody"})
        assert (unknown.status_code, unknown.json()["code"]) == (403, "tenant-unavailable")
    async with platform.asks("dora") as dora:
        assert (await dora.get("/nodes", headers=chosen)).json()["code"] == "tenant-mismatch"
    [entry] = (await client.get("/audit", params={"action": "policy.set"})).json()["items"]
    assert entry["actor"] == "admin@default"
    await client.aclose()


async def test_a_tenant_whose_workflow_was_not_started_is_made_later(platform: World) -> None:
    from domain.tenancy import TenantOrder, Tier
    from store import tenants

    order = TenantOrder(tenant="late", actor="admin")
    async with platform.services.database.transaction("late") as session:
        await tenants.add(session, order, name="Late", tier=Tier.FREE)
    await look_after(platform.services.temporal, platform.services.database)
    await reached(platform, "late", "active")


@pytest.mark.parametrize(
    ("host", "base", "tenant"),
    [
        ("acme.example.com", DOMAIN, "acme"),
        ("acme.example.com:8080", DOMAIN, "acme"),
        ("example.com", DOMAIN, None),
        ("www.example.com", DOMAIN, None),
        ("acme.example.com", None, None),
        ("acme.example.org", DOMAIN, None),
        ("a.b.example.com", DOMAIN, "a.b"),
        ("", DOMAIN, None),
    ],
)
def test_subdomains(host: str, base: str | None, tenant: str | None) -> None:
    assert subdomain(host, base) == tenant
