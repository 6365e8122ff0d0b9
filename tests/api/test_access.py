"""Who may do what: every route of the OpenAPI document, as every role."""

import secrets
import time
from statistics import median

import httpx
import jwt
import pytest

from domain.roles import Role
from tests.api.conftest import PASSWORD, World

# Nobody has to be signed in for these.
OPEN = {("post", "/api/v1/auth/token"), ("get", "/healthz"), ("get", "/readyz"), ("get", "/metrics")}
# A node's own token, and no person's.
NODES_ONLY = {("post", "/api/v1/nodes/{node}/heartbeat")}
ROLES = {
    ("get", "/api/v1/auth/me"): Role.VIEWER,
    ("post", "/api/v1/users"): Role.ADMIN,
    ("get", "/api/v1/users"): Role.ADMIN,
    ("post", "/api/v1/deployments"): Role.DEPLOYER,
    ("get", "/api/v1/deployments"): Role.VIEWER,
    ("get", "/api/v1/deployments/{deployment}"): Role.VIEWER,
    ("get", "/api/v1/deployments/{deployment}/events"): Role.VIEWER,
    ("post", "/api/v1/deployments/plan"): Role.DEPLOYER,
    ("post", "/api/v1/deployments/{deployment}/pause"): Role.DEPLOYER,
    ("post", "/api/v1/deployments/{deployment}/resume"): Role.DEPLOYER,
    ("post", "/api/v1/deployments/{deployment}/promote"): Role.DEPLOYER,
    ("post", "/api/v1/deployments/{deployment}/abort"): Role.DEPLOYER,
    ("post", "/api/v1/deployments/{deployment}/rollback"): Role.DEPLOYER,
    ("get", "/api/v1/approvals/pending"): Role.VIEWER,
    ("get", "/api/v1/approvals/{approval}"): Role.VIEWER,
    ("post", "/api/v1/approvals/{approval}/approve"): Role.APPROVER,
    ("post", "/api/v1/approvals/{approval}/reject"): Role.APPROVER,
    ("post", "/api/v1/approvals/{approval}/token"): Role.APPROVER,
    ("post", "/api/v1/modules"): Role.DEPLOYER,
    ("get", "/api/v1/modules"): Role.VIEWER,
    ("get", "/api/v1/modules/{module}"): Role.VIEWER,
    ("get", "/api/v1/modules/{module}/{version}"): Role.VIEWER,
    ("get", "/api/v1/clusters"): Role.VIEWER,
    ("get", "/api/v1/clusters/{environment}"): Role.VIEWER,
    ("get", "/api/v1/clusters/{environment}/metrics"): Role.VIEWER,
    ("post", "/api/v1/clusters/{environment}/resolve"): Role.ADMIN,
    ("put", "/api/v1/clusters/{environment}/policy"): Role.ADMIN,
    ("post", "/api/v1/nodes"): Role.ADMIN,
    ("get", "/api/v1/nodes"): Role.VIEWER,
    ("get", "/api/v1/nodes/{node}"): Role.VIEWER,
    ("get", "/api/v1/nodes/{node}/metrics"): Role.VIEWER,
}
BY_ROLE = {Role.VIEWER: "vera", Role.DEPLOYER: "dora", Role.APPROVER: "abel", Role.ADMIN: "admin"}


def routes(world: World) -> set[tuple[str, str]]:
    return {(method, path) for path, item in world.app.openapi()["paths"].items() for method in item}


async def ask(client: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    """With names that nothing has: who may ask, gets to hear that it is not there, or what is missing."""
    for part in ("deployment", "approval", "module", "version", "environment", "node"):
        path = path.replace(f"{{{part}}}", "nothing-here")
    return await client.request(method, f"http://api{path}")


def test_every_route_has_its_role_in_the_table(world: World) -> None:
    assert routes(world) == OPEN | NODES_ONLY | set(ROLES)


async def test_without_a_token_nothing_but_the_open_routes_answers(world: World) -> None:
    async with world.asks(None) as nobody:
        for method, path in sorted(routes(world)):
            answer = await ask(nobody, method, path)
            assert (answer.status_code == 401) == ((method, path) not in OPEN), (method, path)
            if answer.status_code == 401:
                assert answer.json()["code"] == "unauthenticated"
                assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("role", list(Role))
async def test_each_role_reaches_its_routes_and_no_others(world: World, role: Role) -> None:
    before = await world.rows()
    async with world.asks(BY_ROLE[role]) as person:
        for (method, path), needed in ROLES.items():
            answer = await ask(person, method, path)
            assert (answer.status_code == 403) == (not role.includes(needed)), (method, path, answer.text)
            assert answer.status_code < 500, (method, path, answer.text)
        for method, path in NODES_ONLY:
            assert (await ask(person, method, path)).status_code == 401
    assert await world.rows() == before


async def test_another_tenant_finds_nothing(world: World) -> None:
    release = world.releases.files("1.0.0", module="secret-site")
    assert (await world.push(release)).status_code == 201
    async with world.asks(None) as other:
        other.headers["Authorization"] = f"Bearer {world.token('admin', tenant='other')}"
        for path in ("/modules/secret-site", "/modules/secret-site/1.0.0", "/nodes/silent-1"):
            assert (await other.get(path)).status_code == 404, path
        for path in ("/clusters/production", "/clusters/production/metrics"):
            assert (await other.get(path)).status_code == 404, path
        for path in ("/modules", "/nodes", "/deployments", "/clusters", "/approvals/pending", "/users"):
            assert (await other.get(path)).json()["items"] == [], path


async def test_signing_in_gives_a_token_that_works(world: World) -> None:
    async with world.asks(None) as client:
        answer = await client.post("/auth/token", json={"username": "admin", "password": PASSWORD})
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        me = (await client.get("/auth/me")).json()
    assert me == {"tenant": "default", "username": "admin", "role": "admin"}


async def test_a_wrong_password_and_an_unknown_name_look_the_same(world: World) -> None:
    async with world.asks(None) as client:

        async def refused(username: str) -> tuple[float, httpx.Response]:
            began = time.perf_counter()
            answer = await client.post(
                "/auth/token", json={"username": username, "password": secrets.token_urlsafe(12)}
            )
            assert answer.status_code == 401
            return time.perf_counter() - began, answer

        known = [await refused("admin") for _ in range(5)]
        unknown = [await refused("nobody-here") for _ in range(5)]
    first, second = known[0][1].json(), unknown[0][1].json()
    del first["trace_id"], second["trace_id"]
    assert first == second
    ratio = median(seconds for seconds, _ in known) / median(seconds for seconds, _ in unknown)
    assert 0.5 < ratio < 2.0


async def test_forged_tokens_are_refused(world: World) -> None:
    good = world.token("admin")
    said = jwt.decode(good, options={"verify_signature": False})
    head, body, signature = good.split(".")
    vote = world.services.minter.node(tenant="default", node="silent-1").token
    forged = [
        jwt.encode(said, None, algorithm="none"),
        jwt.encode(said, "x" * 32, algorithm="HS256"),
        f"{head}.{body}.{signature[:-4]}AAAA",
        vote,
        "x",
    ]
    async with world.asks(None) as client:
        for token in forged:
            client.headers["Authorization"] = f"Bearer {token}"
            assert (await client.get("/auth/me")).status_code == 401
        client.headers["Authorization"] = f"Basic {good}"
        assert (await client.get("/auth/me")).status_code == 401


async def test_users_are_added_by_an_admin_and_listed_without_their_hashes(world: World) -> None:
    async with world.asks("admin") as admin:
        body = {"username": "newcomer", "password": secrets.token_urlsafe(16), "role": "deployer"}
        assert (await admin.post("/users", json=body)).status_code == 201
        assert (await admin.post("/users", json=body)).status_code == 409
        signed_in = await admin.post(
            "/auth/token", json={"username": body["username"], "password": body["password"]}
        )
        assert signed_in.status_code == 200
        first = (await admin.get("/users", params={"limit": 2})).json()
        rest = (await admin.get("/users", params={"cursor": first["next_cursor"]})).json()
    names = [user["username"] for user in first["items"] + rest["items"]]
    assert names == sorted(names)
    assert "newcomer" in names
    assert all(set(user) == {"username", "role", "created_at"} for user in first["items"])
