"""Signing in: lock-out, sessions, passwords, API keys, the rights of people."""

import asyncio
import itertools
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from api.application import create_app
from api.passwords import Passwords
from domain.identity import FAILURES_ALLOWED
from domain.permissions import NEVER_BY_KEY, Permission
from domain.roles import Role
from store import sign_in, users
from store.database import Database
from store.tables import UserRow
from store.tables.identity import ApiKeyRow
from tests.api.conftest import TENANT, World

_numbers = itertools.count(1)
_SCHEME = Passwords()


async def person(world: World, role: Role = Role.DEPLOYER, *, must_change: bool = False) -> tuple[str, str]:
    """A new person; name and password."""
    name, password = f"person-{next(_numbers)}", secrets.token_urlsafe(16)
    kept = await _SCHEME.hash(password)
    async with world.services.database.transaction(TENANT) as session:
        await users.insert(
            session, TENANT, username=name, password_hash=kept, role=role, must_change=must_change
        )
    return name, password


async def sign_in_as(world: World, name: str, password: str) -> httpx.Response:
    async with world.asks(None) as client:
        return await client.post("/auth/token", json={"username": name, "password": password})


async def get(world: World, token: str, path: str = "/auth/me") -> httpx.Response:
    async with world.asks(None) as client:
        return await client.get(path, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.finding("X12")
async def test_of_a_hundred_parallel_guesses_five_are_checked_and_the_name_is_locked(world: World) -> None:
    name, password = await person(world)
    async with world.asks(None) as client:
        asked = [client.post("/auth/token", json={"username": name, "password": "wrong"}) for _ in range(100)]
        answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {401}
    async with world.services.database.transaction(TENANT) as session:
        kept = await session.get(UserRow, (TENANT, name))
    assert kept is not None
    assert kept.failures == FAILURES_ALLOWED
    locked = await sign_in_as(world, name, password)
    assert locked.status_code == 401
    unknown = await sign_in_as(world, "nobody-at-all", password)
    assert locked.json()["detail"] == unknown.json()["detail"]
    async with world.asks("admin") as admin:
        assert (await admin.post(f"/users/{name}/unlock")).json()["locked"] is False
    assert (await sign_in_as(world, name, password)).status_code == 200


@pytest.mark.finding("X12")
@pytest.mark.finding("N6")
async def test_two_hundred_times_parallel_guesses_one_limit(
    new_database: Callable[[], str], world: World
) -> None:
    """The lock-out's race by itself, without the hashes: eight at once, five may be checked, every time."""
    database = world.services.database
    for _ in range(200):
        name = f"raced-{next(_numbers)}"
        async with database.transaction(TENANT) as session:
            await users.insert(session, TENANT, username=name, password_hash="!", role=Role.VIEWER)
        guesses = await asyncio.gather(*(guess(database, name) for _ in range(8)))
        assert sum(guesses) == FAILURES_ALLOWED


async def guess(database: Database, name: str) -> bool:
    async with database.transaction(TENANT) as session:
        return (await sign_in.begin(session, TENANT, name)).user is not None


async def test_a_right_password_forgets_the_wrong_ones_and_time_ends_a_lock_out(world: World) -> None:
    name, password = await person(world)
    for _ in range(3):
        for _ in range(FAILURES_ALLOWED - 1):
            assert (await sign_in_as(world, name, "wrong")).status_code == 401
        assert (await sign_in_as(world, name, password)).status_code == 200
    for _ in range(FAILURES_ALLOWED):
        await sign_in_as(world, name, "wrong")
    assert (await sign_in_as(world, name, password)).status_code == 401
    async with world.services.database.transaction(TENANT) as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await session.execute(update(UserRow).where(UserRow.username == name).values(locked_until=past))
    assert (await sign_in_as(world, name, password)).status_code == 200


@pytest.mark.finding("X12")
async def test_a_refresh_token_is_good_once_and_a_copy_ends_the_session(world: World) -> None:
    name, password = await person(world)
    first = (await sign_in_as(world, name, password)).json()
    async with world.asks(None) as client:
        second = await client.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})
        assert second.status_code == 200
        assert (await get(world, second.json()["access_token"])).json()["username"] == name
        again = await client.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})
        assert (again.status_code, again.json()["code"]) == (401, "token-reused")
        copied = await client.post("/auth/refresh", json={"refresh_token": second.json()["refresh_token"]})
        assert (copied.status_code, copied.json()["code"]) == (401, "token-revoked")
        for nonsense in ("x", "hsr...", f"hsr.{TENANT}.nothing.here", "hsr.other.a.b"):
            answer = await client.post("/auth/refresh", json={"refresh_token": nonsense})
            assert answer.status_code == 401
    assert (await get(world, first["access_token"])).status_code == 401


@pytest.mark.finding("X12")
async def test_of_parallel_refreshes_one_wins(world: World) -> None:
    name, password = await person(world)
    token = (await sign_in_as(world, name, password)).json()["refresh_token"]
    async with world.asks(None) as client:
        asked = [client.post("/auth/refresh", json={"refresh_token": token}) for _ in range(10)]
        codes = [answer.status_code for answer in await asyncio.gather(*asked)]
    assert sorted(codes) == [200, *[401] * 9]


@pytest.mark.finding("X12")
async def test_signing_out_counts_at_once_and_on_other_replicas_within_seconds(world: World) -> None:
    name, password = await person(world)
    signed_in = (await sign_in_as(world, name, password)).json()
    other = create_app(world.services)  # a replica: its own memory, the same database
    token = {"Authorization": f"Bearer {signed_in['access_token']}"}
    transport = httpx.ASGITransport(other, raise_app_exceptions=False)
    async with (
        world.asks(None) as here,
        httpx.AsyncClient(transport=transport, base_url="http://api/api/v1") as there,
    ):
        assert (await there.get("/auth/me", headers=token)).status_code == 200
        assert (await here.post("/auth/logout", headers=token)).status_code == 204
        assert (await here.get("/auth/me", headers=token)).status_code == 401
        async with asyncio.timeout(60):
            while (await there.get("/auth/me", headers=token)).status_code != 401:
                await asyncio.sleep(0.2)
        refused = await here.post("/auth/refresh", json={"refresh_token": signed_in["refresh_token"]})
        assert refused.status_code == 401


@pytest.mark.finding("5")
async def test_who_must_change_the_password_may_do_nothing_else(world: World) -> None:
    name, password = await person(world, Role.ADMIN, must_change=True)
    signed_in = (await sign_in_as(world, name, password)).json()
    assert signed_in["must_change"] is True
    async with world.asks(None) as client:
        client.headers["Authorization"] = f"Bearer {signed_in['access_token']}"
        assert (await client.get("/auth/me")).json()["must_change"] is True
        for method, path in (("GET", "/deployments"), ("GET", "/users"), ("POST", "/auth/keys")):
            refused = await client.request(method, path)
            assert (refused.status_code, refused.json()["code"]) == (403, "password-change-required")
        new = secrets.token_urlsafe(16)
        wrong = await client.post("/auth/password", json={"current": "wrong", "new": new})
        assert wrong.status_code == 401
        changed = await client.post("/auth/password", json={"current": password, "new": new})
        assert (changed.status_code, changed.json()["must_change"]) == (200, False)
        assert (await client.get("/deployments")).status_code == 401  # the sign-in with the old one is over
        client.headers["Authorization"] = f"Bearer {changed.json()['access_token']}"
        assert (await client.get("/deployments")).status_code == 200
    assert (await sign_in_as(world, name, password)).status_code == 401
    assert (await sign_in_as(world, name, new)).status_code == 200


async def test_a_kept_value_that_is_no_hash_fits_no_password() -> None:
    assert not await _SCHEME.check("!", "!")


@pytest.mark.parametrize(
    "bad", ["short", "aaaaaaaaaaaaaaaa", "password1234", "qwertyuiop12", "administrator1", "x" * 257]
)
@pytest.mark.finding("X12")
async def test_passwords_that_are_easy_to_guess_are_refused(world: World, bad: str) -> None:
    name, password = await person(world)
    token = (await sign_in_as(world, name, password)).json()["access_token"]
    async with world.asks("admin") as admin:
        before = await world.rows()
        added = await admin.post("/users", json={"username": "weak-one", "password": bad, "role": "viewer"})
        assert (added.status_code, added.json()["field"]) == (422, "password")
        assert await world.rows() == before
        admin.headers["Authorization"] = f"Bearer {token}"
        changed = await admin.post("/auth/password", json={"current": password, "new": bad})
        assert (changed.status_code, changed.json()["field"]) == (422, "new")
    assert (await sign_in_as(world, name, password)).status_code == 200


@pytest.mark.finding("X7")
async def test_a_changed_role_counts_for_tokens_that_were_made_before(world: World) -> None:
    name, password = await person(world, Role.ADMIN)
    token = (await sign_in_as(world, name, password)).json()["access_token"]
    assert (await get(world, token, "/users")).status_code == 200
    async with world.asks("admin") as admin:
        changed = await admin.patch(f"/users/{name}", json={"role": "viewer"})
        assert changed.json()["role"] == "viewer"
        assert (await get(world, token, "/users")).status_code == 403
        await admin.patch(f"/users/{name}", json={"disabled": True})
        assert (await get(world, token)).status_code == 401
        assert (await sign_in_as(world, name, password)).status_code == 401
        assert (await admin.patch("/users/nobody-at-all", json={"role": "viewer"})).status_code == 404
        own = await admin.patch("/users/admin", json={"role": "viewer"})
        assert own.status_code == 409


async def test_an_administrator_resets_a_password_and_ends_sign_ins(world: World) -> None:
    name, password = await person(world)
    token = (await sign_in_as(world, name, password)).json()["access_token"]
    fresh = secrets.token_urlsafe(16)
    async with world.asks("admin") as admin:
        assert (await admin.post(f"/users/{name}/password", json={"password": fresh})).status_code == 204
        assert (await get(world, token)).status_code == 401
        again = (await sign_in_as(world, name, fresh)).json()
        assert again["must_change"] is True
        assert (await admin.post(f"/users/{name}/sign-out")).status_code == 204
        assert (await get(world, again["access_token"])).status_code == 401
        assert (await admin.post("/users/nobody-at-all/sign-out")).status_code == 404


async def make_key(world: World, token: str, **body: Any) -> httpx.Response:
    asked = {"name": "ci", "scopes": ["read", "deploy"], **body}
    async with world.asks(None) as client:
        return await client.post("/auth/keys", json=asked, headers={"Authorization": f"Bearer {token}"})


async def test_an_api_key_acts_for_its_owner_within_its_scopes(world: World) -> None:
    name, password = await person(world)
    token = (await sign_in_as(world, name, password)).json()["access_token"]
    made = (await make_key(world, token)).json()
    key = made["key"]
    assert (await get(world, key, "/deployments")).status_code == 200
    for path in ("/auth/me", "/auth/keys"):  # a key says nothing of its owner and makes no keys
        assert (await get(world, key, path)).status_code == 403
    async with world.asks(None) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        body = {"module": "nothing-here", "version": "1.0.0", "environment": "production"}
        assert (await client.post("/deployments", json=body)).json()["field"] == "module"
        assert (await client.post("/deployments/nothing/abort")).status_code == 403
        client.headers["Authorization"] = f"Bearer {token}"
        listed = (await client.get("/auth/keys")).json()["items"]
        assert [each["name"] for each in listed] == ["ci"]
        assert "key" not in listed[0]
        assert (await make_key(world, token)).status_code == 409
        assert (await client.delete(f"/auth/keys/{made['id']}")).status_code == 204
        assert (await client.delete(f"/auth/keys/{made['id']}")).status_code == 404
    assert (await get(world, key, "/deployments")).status_code == 401
    assert (await make_key(world, token)).status_code == 201  # the name is free again


async def test_a_key_is_kept_as_a_hash_expires_and_falls_with_its_owner(world: World) -> None:
    name, password = await person(world)
    token = (await sign_in_as(world, name, password)).json()["access_token"]
    expiring, disabled = [(await make_key(world, token, name=each)).json() for each in ("one", "two")]
    async with world.services.database.transaction(TENANT) as session:
        row = await session.get(ApiKeyRow, (TENANT, expiring["id"]))
        assert row is not None
        assert expiring["key"].rsplit(".", 1)[1] not in repr(vars(row))
        row.created_at = datetime.now(UTC) - timedelta(days=2)
        row.expires_at = datetime.now(UTC) - timedelta(days=1)
    assert (await get(world, expiring["key"], "/deployments")).status_code == 401
    assert (await get(world, disabled["key"], "/deployments")).status_code == 200
    changed = disabled["key"][:-1] + ("A" if disabled["key"][-1] != "A" else "B")
    for forged in (changed, "hsk.x", "hsk...", f"hsk.other.{disabled['id']}.x"):
        assert (await get(world, forged, "/deployments")).status_code == 401
    async with world.asks("admin") as admin:
        await admin.patch(f"/users/{name}", json={"disabled": True})
    assert (await get(world, disabled["key"], "/deployments")).status_code == 401


@pytest.mark.parametrize("scope", [*NEVER_BY_KEY, Permission.APPROVE, Permission.ADMINISTER])
async def test_a_key_cannot_have_more_than_its_owner_nor_what_no_key_has(
    world: World, scope: Permission
) -> None:
    name, password = await person(world)
    token = (await sign_in_as(world, name, password)).json()["access_token"]
    refused = await make_key(world, token, scopes=[scope])
    assert refused.status_code == (422 if scope in NEVER_BY_KEY else 403)
    assert refused.json()["field"] == "scopes"
    for body in ({"scopes": []}, {"days": 0}, {"days": 367}, {"name": "No"}):
        assert (await make_key(world, token, **body)).status_code == 422


async def test_a_sign_in_that_a_change_of_password_overtakes_opens_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old password was checked, then it was changed and every sign-in ended: this one must not begin."""
    name, password = await person(world)
    token = (await sign_in_as(world, name, password)).json()["access_token"]
    checked, changed = asyncio.Event(), asyncio.Event()
    check = Passwords.check

    async def held(self: Passwords, given: str, kept: str | None) -> bool:
        right = await check(self, given, kept)
        if not checked.is_set():
            checked.set()
            await changed.wait()
        return right

    monkeypatch.setattr(Passwords, "check", held)
    late = asyncio.create_task(sign_in_as(world, name, password))
    async with asyncio.timeout(30):
        await checked.wait()
        async with world.asks(None) as client:
            client.headers["Authorization"] = f"Bearer {token}"
            body = {"current": password, "new": secrets.token_urlsafe(16)}
            assert (await client.post("/auth/password", json=body)).status_code == 200
        changed.set()
        assert (await late).status_code == 401


async def test_a_new_password_that_is_refused_locks_nobody_out(world: World) -> None:
    name, password = await person(world)
    token = (await sign_in_as(world, name, password)).json()["access_token"]
    async with world.asks(None) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        for _ in range(FAILURES_ALLOWED + 1):
            refused = await client.post("/auth/password", json={"current": password, "new": "password1234"})
            assert (refused.status_code, refused.json()["field"]) == (422, "new")
    assert (await sign_in_as(world, name, password)).status_code == 200


async def test_nobody_gets_the_name_that_an_admin_of_the_platform_acts_under(world: World) -> None:
    body = {"username": f"admin@{TENANT}", "password": "Long-and-quite-unusual-83", "role": "viewer"}
    async with world.asks("admin") as admin:
        refused = await admin.post("/users", json=body)
        assert (refused.status_code, refused.json()["field"]) == (422, "username")
        assert (await admin.post("/users", json={**body, "username": "ann@example.com"})).status_code == 201


async def test_two_administrators_cannot_lock_each_other_out(world: World) -> None:
    names = [(await person(world, Role.ADMIN))[0] for _ in range(2)]
    tokens = [
        world.services.minter.user(tenant=TENANT, username=name, role=Role.ADMIN).token for name in names
    ]
    for _ in range(5):
        async with world.asks(None) as client:
            for token in tokens:  # both are known to the process as administrators
                assert (await get(world, token, "/users")).status_code == 200
            answers = await asyncio.gather(
                *(
                    client.patch(
                        f"/users/{other}",
                        json={"disabled": True},
                        headers={"Authorization": f"Bearer {token}"},
                    )
                    for token, other in zip(tokens, reversed(names), strict=True)
                )
            )
        assert sorted(answer.status_code for answer in answers) in ([200, 401], [200, 403])
        async with world.asks("admin") as admin:
            for name in names:
                await admin.patch(f"/users/{name}", json={"disabled": False})
