"""Who may do what: every route of the OpenAPI document, as every role."""

import itertools
import re
import secrets
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import APIRouter
from pwdlib import PasswordHash

from api.access import Admin, Viewer
from api.policies import NoPolicy, declare
from domain.permissions import GRANTED, Permission, may
from domain.roles import Role
from store import users
from store.tables import TenantRow, UserRow
from tests.api import authorisation
from tests.api.conftest import PASSWORD, TENANT, World

BY_ROLE = {Role.VIEWER: "vera", Role.DEPLOYER: "dora", Role.APPROVER: "abel", Role.ADMIN: "admin"}
OWN_REFUSALS = {"POST /api/v1/nodes/{node}/heartbeat"}


def routes(world: World) -> set[str]:
    found = world.app.openapi()["paths"].items()
    return {f"{method.upper()} {path}" for path, item in found for method in item}


async def ask(client: httpx.AsyncClient, route: str) -> httpx.Response:
    """With names that nothing has: who may ask, gets to hear that it is not there, or what is missing."""
    method, path = route.split(" ")
    return await client.request(method, "http://api" + re.sub(r"{\w+}", "nothing-here", path))


@pytest.mark.finding("14")
def test_the_checked_in_matrix_is_what_the_application_declares(world: World) -> None:
    """Who changed a policy runs `make authorisation` and has the diff reviewed."""
    assert authorisation.kept() == authorisation.matrix()
    assert routes(world) == set(authorisation.kept())
    shown = world.app.openapi()["paths"]
    for route, row in authorisation.kept().items():
        method, path = route.split(" ")
        assert shown[path][method.lower()]["x-policy"] == row["policy"], route


@pytest.mark.finding("14")
def test_a_route_without_a_policy_stops_the_start() -> None:
    router = APIRouter()
    router.add_api_route("/unguarded", lambda: None)
    with pytest.raises(NoPolicy, match="GET /unguarded declares no policy"):
        declare([router])


@pytest.mark.finding("14")
def test_a_route_with_two_policies_stops_the_start() -> None:
    def both(_reader: Viewer, _admin: Admin) -> None: ...

    router = APIRouter()
    router.add_api_route("/both", both)
    with pytest.raises(NoPolicy, match="administer"):
        declare([router])


@pytest.mark.finding("14")
@pytest.mark.parametrize("who", [authorisation.ANONYMOUS, authorisation.NODE, *Role])
async def test_each_who_asks_gets_what_the_matrix_says(world: World, who: str) -> None:
    before = await world.rows()
    async with world.asks(BY_ROLE.get(who)) as person:
        if who == authorisation.NODE:
            token = world.services.minter.node(tenant=TENANT, node="silent-1").token
            person.headers["Authorization"] = f"Bearer {token}"
        for route, row in authorisation.kept().items():
            answer = await ask(person, route)
            assert answer.status_code < 500, (route, answer.text)
            refused = answer.status_code if answer.status_code in (401, 403) else authorisation.YES
            # Signing in with nothing is refused like signing in with something wrong; a node that is not
            # the one of the path is known and not allowed.
            if route not in OWN_REFUSALS or row[who] != authorisation.YES:
                assert refused == row[who], (route, answer.text)
            if answer.status_code == 401:
                assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert await world.rows() == before


@pytest.mark.finding("14")
def test_each_role_may_all_that_the_ones_before_it_may() -> None:
    roles = list(Role)
    assert set(GRANTED) == set(roles)
    for lesser, greater in itertools.pairwise(roles):
        assert set(GRANTED[lesser]) < set(GRANTED[greater])
    for permission in Permission:
        assert may(Role.ADMIN, permission)


@pytest.mark.parametrize(
    ("permission", "least"),
    [
        (Permission.READ, Role.VIEWER),
        (Permission.DEPLOY, Role.DEPLOYER),
        (Permission.PAUSE, Role.DEPLOYER),
        (Permission.PROMOTE, Role.DEPLOYER),
        (Permission.ABORT, Role.DEPLOYER),
        (Permission.APPROVE, Role.APPROVER),
        (Permission.FREEZE, Role.APPROVER),
        (Permission.RESOLVE, Role.ADMIN),
        (Permission.ADMINISTER, Role.ADMIN),
    ],
)
def test_the_least_role_for_a_permission(permission: Permission, least: Role) -> None:
    assert [role for role in Role if may(role, permission)] == [r for r in Role if r.includes(least)]


async def test_another_tenant_finds_nothing(world: World) -> None:
    release = world.releases.files("1.0.0", module="secret-site")
    assert (await world.push(release)).status_code == 201
    async with world.services.database.transaction("other") as session:
        session.add(TenantRow(id="other"))
        await session.flush()
        await users.insert(session, "other", username="admin", password_hash="!", role=Role.ADMIN)
    async with world.asks(None) as other:
        other.headers["Authorization"] = f"Bearer {world.token('admin', tenant='other')}"
        for path in ("/modules/secret-site", "/modules/secret-site/1.0.0", "/nodes/silent-1"):
            assert (await other.get(path)).status_code == 404, path
        for path in ("/clusters/production", "/clusters/production/metrics"):
            assert (await other.get(path)).status_code == 404, path
        for path in ("/modules", "/nodes", "/deployments", "/clusters", "/approvals/pending"):
            assert (await other.get(path)).json()["items"] == [], path
        people = (await other.get("/users")).json()["items"]
    assert [each["username"] for each in people] == ["admin"]


async def test_signing_in_gives_a_token_that_works(world: World) -> None:
    async with world.asks(None) as client:
        answer = await client.post("/auth/token", json={"username": "admin", "password": PASSWORD})
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        me = (await client.get("/auth/me")).json()
    assert (me["tenant"], me["username"], me["role"]) == ("default", "admin", "admin")
    assert me["permissions"] == [permission.value for permission in Permission]


@pytest.mark.finding("X12")
@pytest.mark.parametrize("name", ["admin", "nobody-here", "locked-one", "gone-one"])
async def test_whoever_fails_to_sign_in_gets_the_same_answer_after_the_same_work(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known, unknown, locked and disabled names each cost one check of a hash with the same parameters.

    What is left of a difference is measured in bench/front_door.py: times are no matter for a test.
    """
    checked: list[str] = []
    scheme = world.services.passwords._scheme

    def verify(password: str, kept: str) -> bool:
        checked.append(kept.rsplit("$", 2)[0])
        return PasswordHash.verify(scheme, password, kept)

    monkeypatch.setattr(scheme, "verify", verify)
    async with world.services.database.transaction(TENANT) as session:
        if name in ("locked-one", "gone-one"):
            await users.insert(session, TENANT, username=name, password_hash="!", role=Role.VIEWER)
            row = await session.get(UserRow, (TENANT, name))
            assert row is not None
            row.disabled = name == "gone-one"
            row.locked_until = datetime.now(UTC) + timedelta(hours=1) if name == "locked-one" else None
    async with world.asks(None) as client:
        answer = await client.post("/auth/token", json={"username": name, "password": "wrong"})
    async with world.asks("admin") as admin:
        await admin.post("/users/admin/unlock")
    assert checked == [world.services.passwords._nobody.rsplit("$", 2)[0]]
    said = answer.json()
    del said["trace_id"]
    assert said == {
        "type": "urn:hotswap:problem:unauthenticated",
        "title": "Unauthenticated",
        "status": 401,
        "detail": "the name or the password is wrong, or the name is locked for a while",
        "code": "unauthenticated",
        "field": None,
        "errors": [],
    }


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
    assert all("password" not in name for user in first["items"] for name in user)


@pytest.mark.finding("X1")
@pytest.mark.parametrize(
    "odd", ["%F0%94%AF%BB", "%00", "-", "A%2FB", "..%2F..", "%20", "x" * 300, "%27%3B--"]
)
async def test_no_name_in_a_path_is_an_error_of_ours(world: World, odd: str) -> None:
    """Names that nothing can have: not found or refused, with a body that is as good as any."""
    bodies = {"reason": "why", "name": "n", "comment": ""}
    async with world.asks("admin") as admin:
        for route in authorisation.kept():
            method, path = route.split(" ")
            if "{" in path:
                for body in (None, bodies, {"reason": "why"}):
                    url = "http://api" + re.sub(r"{\w+}", odd, path)
                    answer = await admin.request(method, url, json=body)
                    assert answer.status_code < 500, (route, answer.text)
