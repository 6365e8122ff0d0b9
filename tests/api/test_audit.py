"""The audit trail through the API: everything that people order is in it, searched, exported, verified."""

import csv
import io
import json
import secrets
from http import HTTPStatus

import pytest
import sqlalchemy as sa
from starlette.requests import Request

from api.access import Caller
from api.audit import _record_request, done, record
from api.routes.audit import AuditView
from domain.audit import AuditCategory
from domain.roles import Role
from store import audit, sessions
from store.audit import AuditFilter
from tests.api.conftest import TENANT, World
from tests.conftest import as_owner

POLICY = "/clusters/qa/policy"


async def latest(world: World, **query: str) -> dict:
    async with world.asks("admin") as admin:
        answer = await admin.get("/audit", params={"limit": 1, **query})
        assert answer.status_code == HTTPStatus.OK, answer.text
        return answer.json()["items"][0]


async def test_a_policy_is_kept_as_it_was_and_as_it_is(world: World) -> None:
    async with world.asks("admin") as admin:
        before = (await admin.get("/clusters/qa")).json()["policy"]
        changed = {**before, "arrival": "reject"}
        headers = {"User-Agent": "probe", "traceparent": f"00-{'b' * 32}-{'c' * 16}-01"}
        answer = await admin.put(POLICY, json=changed, headers=headers)
        assert answer.status_code == HTTPStatus.OK
        await admin.put(POLICY, json=before)
    entry = await latest(world, trace="b" * 32)
    assert (entry["actor"], entry["action"], entry["outcome"]) == ("admin", "policy.set", "done")
    assert (entry["subject"], entry["subject_id"]) == ("environment", "qa")
    assert entry["before"] == before
    assert entry["after"] == changed
    assert entry["origin"] == {"address": "127.0.0.1", "agent": "probe", "trace": "b" * 32, "correlation": ""}


@pytest.mark.parametrize(
    ("person", "request_line", "body", "refusal"),
    [
        ("vera", f"PUT {POLICY}", {}, (403, "forbidden")),
        ("vera", "GET /audit", None, (403, "forbidden")),
        ("admin", "POST /clusters/qa/resolve", {"reason": "x"}, (409, "conflict")),
        ("dora", "POST /deployments/nothing/pause", None, (404, "not-found")),
        ("dora", "POST /deployments", {"module": "Not A Name"}, (422, "invalid-input")),
    ],
)
async def test_refusals_are_kept(
    world: World, person: str, request_line: str, body: object, refusal: tuple[int, str]
) -> None:
    method, path = request_line.split()
    status, code = refusal
    async with world.asks(person) as client:
        assert (await client.request(method, path, json=body)).status_code == status
    entry = await latest(world, outcome="refused", actor=person)
    assert entry["subject_id"] == f"{method} /api/v1{path}"
    assert (entry["reason"], entry["after"]) == (code, {"status": status})


async def test_what_is_only_looked_at_leaves_nothing(world: World) -> None:
    async with world.asks("vera") as vera:
        before = (await latest(world))["sequence"]
        assert (await vera.get("/deployments")).status_code == HTTPStatus.OK
        assert (await vera.get("/deployments/nothing")).status_code == HTTPStatus.NOT_FOUND
    assert (await latest(world))["sequence"] == before


async def test_pages_go_back_to_the_first_entry(world: World) -> None:
    async with world.asks("admin") as admin:
        for _ in range(3):
            await admin.put(POLICY, json={})
        seen, cursor = [], None
        while True:
            query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            page = (await admin.get("/audit", params=query)).json()
            seen += [entry["sequence"] for entry in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert seen == list(range(seen[0], 0, -1))


async def test_export_has_everything_and_no_formulas(world: World) -> None:
    order = {"reason": '=HYPERLINK("http://203.0.113.1")'}
    async with world.asks("admin") as admin:
        await admin.post("/clusters/qa/resolve", json=order, headers={"User-Agent": "=1+1"})
        await admin.request("POST", "/nodes", json={"name": "audited", "environment": "qa", "address": "=x"})
        exported = (await admin.get("/audit/export")).json()
        sheet = (await admin.get("/audit/export", params={"format": "csv"})).text
    rows = list(csv.reader(io.StringIO(sheet)))
    assert rows[0] == list(AuditView.model_fields)
    assert [row[0] for row in rows[1:]] == [str(entry["sequence"]) for entry in exported]
    assert [entry["sequence"] for entry in exported] == list(range(1, len(exported) + 1))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    for entry in exported:
        content = json.loads(entry["content"])
        assert {name: entry[name] for name in content} == content


async def test_the_chain_is_whole_until_somebody_changes_it(world: World) -> None:
    async with world.asks("admin") as admin:
        await admin.put(POLICY, json={})
        report = (await admin.get("/audit/verify")).json()
        last = (await admin.get("/audit", params={"limit": 1})).json()["items"][0]
        known = {"entries": report["entries"], "hash": report["hash"]}
        assert (await admin.get("/audit/verify", params=known)).json()["intact"]
        forged = (await admin.get("/audit/verify", params={**known, "hash": "0" * 64})).json()
        half = await admin.get("/audit/verify", params={"entries": 1})
    assert (forged["intact"], forged["fault"]) == (False, f"entry {report['entries']} is another than it was")
    assert (half.status_code, half.json()["field"]) == (422, "hash")
    assert report == {
        "intact": True,
        "entries": last["sequence"],
        "hash": last["hash"],
        "fault": None,
    }


@pytest.mark.parametrize(
    "query",
    [
        {"trace": "short"},
        {"category": "gossip"},
        {"since": "2026-01-01T00:00:00"},
        {"since": "2026-01-02T00:00:00Z", "until": "2026-01-02T00:00:00Z"},
        {"cursor": "bm9wZQ"},
        {"colour": "red"},
        {"limit": "0"},
    ],
)
async def test_bad_searches_are_refused(world: World, query: dict[str, str]) -> None:
    async with world.asks("admin") as admin:
        answer = await admin.get("/audit", params=query)
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.json()["field"] in query


@pytest.mark.finding("N3")
async def test_no_answer_when_the_trail_cannot_be_written(world: World) -> None:
    """A command whose entry cannot be written is not carried out."""
    owner = sa.create_engine(as_owner(world.services.database.url))
    async with world.asks("admin") as admin:
        before = (await admin.get("/clusters/qa")).json()["policy"]
        with owner.begin() as connection:
            connection.execute(sa.text("REVOKE EXECUTE ON FUNCTION audit_append FROM hotswap_application"))
        try:
            answer = await admin.put(POLICY, json={**before, "arrival": "coalesce"})
            refusal = await admin.post("/clusters/qa/resolve", json={"reason": "x"})
        finally:
            with owner.begin() as connection:
                connection.execute(sa.text("GRANT EXECUTE ON FUNCTION audit_append TO hotswap_application"))
        assert answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
        assert refusal.status_code == HTTPStatus.CONFLICT
        assert (await admin.get("/clusters/qa")).json()["policy"] == before
    owner.dispose()


async def test_a_command_that_leaves_no_entry_of_its_own_gets_one(world: World) -> None:
    body = {"module": "nothing", "version": "1.0.0", "environment": "production"}
    async with world.asks("admin") as admin:
        await admin.put(POLICY, json={})
        own = await latest(world)
        refused = await admin.post("/deployments/plan", json=body)
    assert own["action"] == "policy.set"
    assert refused.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert (await latest(world))["action"] == "request.refused"
    written: list[str] = []
    request = Request({"type": "http", "method": "POST", "path": "/new", "headers": [], "app": world.app})
    request.state.caller = Caller(tenant=TENANT, username="admin", role=Role.ADMIN)
    await _record_request(request, written)
    entry = await latest(world)
    assert (entry["action"], entry["actor"], entry["subject_id"]) == ("request.done", "admin", "POST /new")
    await _record_request(request, ["an entry"])
    assert (await latest(world))["sequence"] == entry["sequence"]


async def test_an_order_to_a_workflow_is_kept_before_it_leaves(world: World) -> None:
    caller = Caller(tenant=TENANT, username="dora", role=Role.DEPLOYER)
    note = done(caller, "pause.ordered", AuditCategory.DEPLOYMENT, "deployment", "d-1", reason="lunch")
    await record(world.services, caller, note)
    entry = await latest(world, action="pause.ordered")
    assert (entry["actor"], entry["subject_id"], entry["reason"]) == ("dora", "d-1", "lunch")


@pytest.mark.parametrize("tenant", [TENANT, "nobody-has-this"])
async def test_sign_ins_that_fail_are_kept_where_there_is_a_tenant(world: World, tenant: str) -> None:
    who = {"username": f"guessed-{len(tenant)}", "password": "not the password", "tenant": tenant}
    async with world.asks(None) as anybody:
        assert (await anybody.post("/auth/token", json=who)).status_code == HTTPStatus.UNAUTHORIZED
    async with world.services.database.transaction(tenant) as session:
        kept = await audit.list_page(session, tenant, AuditFilter(category=AuditCategory.SIGN_IN))
    if tenant != TENANT:
        assert kept.items == ()
        return
    assert '"action":"sign-in.failed"' in kept.items[0].content
    assert who["password"] not in kept.items[0].content


async def test_what_is_done_to_people_is_kept_without_secrets(world: World) -> None:
    password = "Long-and-quite-unusual-83"
    body = {"username": "paula", "password": password, "role": "viewer"}
    async with world.asks("admin") as admin:
        assert (await admin.post("/users", json=body)).status_code == HTTPStatus.CREATED
        assert (await admin.patch("/users/paula", json={"role": "deployer"})).status_code == HTTPStatus.OK
        assert (await admin.post("/users/paula/password", json={"password": password})).is_success
        trail = (await admin.get("/audit", params={"subject_id": "paula"})).json()["items"]
    assert [entry["action"] for entry in trail] == ["password.reset", "user.changed", "user.added"]
    assert trail[1]["before"] == {"role": "viewer", "disabled": False}
    assert trail[1]["after"] == {"role": "deployer", "disabled": False}
    assert password not in str(trail)


async def test_a_refusal_is_kept_however_long_the_name_that_was_asked_for(world: World) -> None:
    name = secrets.token_hex(8000)
    async with world.asks("vera") as vera:
        assert (await vera.patch(f"/users/{name}", json={})).status_code == HTTPStatus.FORBIDDEN
    entry = await latest(world, outcome="refused", actor="vera")
    assert entry["subject_id"].startswith(f"PATCH /api/v1/users/{name[:100]}")


async def test_a_copied_refresh_token_is_kept_with_the_session_that_it_ended(world: World) -> None:
    async with world.services.database.transaction(TENANT) as session:
        given = await sessions.open_session(session, TENANT, "dora")
    async with world.asks(None) as anybody:
        for status in (HTTPStatus.OK, HTTPStatus.UNAUTHORIZED):
            answer = await anybody.post("/auth/refresh", json={"refresh_token": given.text})
            assert answer.status_code == status
    entry = await latest(world, action="sign-in.copied")
    assert (entry["actor"], entry["outcome"], entry["after"]) == (
        "dora",
        "refused",
        {"session": given.session},
    )
    assert given.secret not in entry["content"]


async def test_a_freeze_is_kept_with_its_reason_though_no_deployment_is_there(world: World) -> None:
    window = {
        "name": "holidays",
        "reason": "nobody is there",
        "zone": "UTC",
        "starts": "2030-12-24T00:00:00",
        "ends": "2030-12-27T00:00:00",
    }
    async with world.asks("admin") as admin:
        assert (await admin.post("/clusters/development/freezes", json=window)).is_success
        added = await latest(world)
        gone = await admin.request("DELETE", "/clusters/development/freezes/holidays?reason=over")
        assert gone.is_success, gone.text
        removed = await latest(world)
        assert (await admin.post("/clusters/development/freeze", json={"reason": "smoke"})).is_success
        frozen = await latest(world)
        assert (await admin.post("/clusters/development/thaw", json={"reason": "air"})).is_success
        thawed = await latest(world)
    told = [(each["action"], each["subject_id"], each["reason"]) for each in (added, removed, frozen, thawed)]
    assert told == [
        ("freeze.added", "development", "nobody is there"),
        ("freeze.removed", "development", "over"),
        ("freeze.added", "development", "smoke"),
        ("freeze.removed", "development", "air"),
    ]
    assert added["after"]["calendar"]["name"] == removed["before"]["calendar"]["name"] == "holidays"
    assert frozen["after"] == thawed["before"]


async def test_who_is_in_a_group_is_kept_as_it_was_and_as_it_is(world: World) -> None:
    async with world.asks("admin") as admin:
        for members in (["anna", "abel"], ["anna"]):
            assert (await admin.put("/groups/wardens", json={"members": members})).is_success
    entry = await latest(world)
    assert (entry["action"], entry["subject_id"]) == ("group.set", "wardens")
    assert (entry["before"], entry["after"]) == (["abel", "anna"], ["anna"])
