"""Freezes through the front door: calendar, now, thaw, tokens, refusals."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.lanes import look_after
from domain.freeze_orders import AdHocFreeze, Thaw
from domain.names import lane_id
from domain.node import Node
from store import freezes, nodes
from tests.api.conftest import TENANT, World

_names = (f"window-{number}" for number in itertools.count(1))


def body(**changes: Any) -> dict[str, Any]:
    made = {
        "name": next(_names),
        "reason": "year-end",
        "zone": "Europe/Berlin",
        "starts": "2030-12-23T18:00",
        "ends": "2030-12-27T08:00",
    }
    return {**made, **changes}


async def ask(world: World, person: str, method: str, path: str, **more: Any) -> httpx.Response:
    async with world.asks(person) as client:
        return await client.request(method, f"/clusters/staging{path}", **more)


async def test_a_window_is_added_listed_and_removed(world: World) -> None:
    made = body()
    added = await ask(world, "admin", "POST", "/freezes", json=made)
    assert added.status_code == 201, added.text
    shown = added.json()
    assert (shown["kind"], shown["name"], shown["holds"]) == ("calendar", made["name"], False)
    assert shown["window"]["zone"] == "Europe/Berlin"
    again = await ask(world, "admin", "POST", "/freezes", json=made)
    assert (again.status_code, again.json()["field"]) == (409, "name")
    listed = (await ask(world, "vera", "GET", "/freezes")).json()
    assert [each["name"] for each in listed["items"]] == [made["name"]]
    assert listed["freeze"] is None
    gone = await ask(world, "admin", "DELETE", f"/freezes/{made['name']}", params={"reason": "moved"})
    assert (gone.status_code, gone.json()["removal_reason"]) == (200, "moved")
    assert (await ask(world, "vera", "GET", "/freezes")).json()["items"] == []
    kept = (await ask(world, "vera", "GET", "/freezes", params={"removed": True})).json()["items"]
    assert [each["removed_by"] for each in kept] == ["admin"]
    assert (await ask(world, "admin", "DELETE", f"/freezes/{made['name']}")).status_code == 404


async def test_the_present_window_is_shown_with_its_end(world: World) -> None:
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    made = body(
        zone="UTC",
        starts=(now - timedelta(hours=1)).isoformat(),
        ends=(now + timedelta(hours=1)).isoformat(),
        repeat="FREQ=DAILY;COUNT=2",
    )
    shown = (await ask(world, "admin", "POST", "/freezes", json=made)).json()
    assert shown["holds"]
    async with world.asks("vera") as vera:
        cluster = (await vera.get("/clusters/staging")).json()
    assert cluster["freeze"]["until"] == (now + timedelta(hours=1)).replace(tzinfo=UTC).timestamp()
    refused = await ask(world, "abel", "POST", "/thaw", json={"reason": "please"})
    assert (refused.status_code, made["name"] in refused.json()["detail"]) == (409, True)
    assert (await ask(world, "admin", "DELETE", f"/freezes/{made['name']}")).status_code == 200


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ends": "2030-12-23T18:00"}, "ends"),
        ({"zone": "Europe/Atlantis"}, "zone"),
        ({"starts": "2030-12-23T18:00Z"}, "starts"),
        ({"repeat": "FREQ=SECONDLY"}, "repeat"),
        ({"repeat": "FREQ=WEEKLY;BYDAY=FR"}, "repeat"),
        ({"ends": "2031-12-31T00:00"}, "ends"),
        ({"starts": "2026-01-01T00:00", "ends": "2026-01-02T00:00", "repeat": "FREQ=DAILY"}, "repeat"),
        ({"reason": ""}, "reason"),
        ({"name": "Not A Name"}, "name"),
        ({"colour": "blue"}, "colour"),
    ],
)
async def test_a_freeze_that_cannot_be_is_refused_naming_the_field(
    world: World, changes: dict[str, Any], field: str
) -> None:
    before = await world.rows()
    refused = await ask(world, "admin", "POST", "/freezes", json=body(**changes))
    assert (refused.status_code, refused.json()["field"]) == (422, field), refused.text
    assert "Value error" not in refused.text  # the library's word, not ours
    assert await world.rows() == before


async def test_freezing_now_and_thawing(world: World) -> None:
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    refused = await ask(world, "abel", "POST", "/freeze", json={"reason": "x", "until": past})
    assert (refused.status_code, refused.json()["field"]) == (422, "until")
    assert (await ask(world, "dora", "POST", "/freeze", json={"reason": "x"})).status_code == 403
    until = datetime.now(UTC) + timedelta(hours=1)
    await ask(world, "abel", "POST", "/freeze", json={"reason": "a", "until": until.isoformat()})
    frozen = (await ask(world, "abel", "POST", "/freeze", json={"reason": "it burns"})).json()
    assert frozen["freeze"] == {"reason": "a; it burns", "until": None}
    assert (await ask(world, "dora", "POST", "/thaw", json={"reason": "x"})).status_code == 403
    thawed = await ask(world, "anna", "POST", "/thaw", json={"reason": "it is out"})
    assert (thawed.status_code, thawed.json()["freeze"]) == (200, None)
    sent = await world.signals(lane_id(TENANT, "staging"))
    assert ("thaw", {}) in sent
    nothing = await ask(world, "anna", "POST", "/thaw", json={"reason": "again"})
    assert (nothing.status_code, nothing.json()["field"]) == (409, "environment")


async def test_what_missed_the_thaw_is_told_later(world: World) -> None:
    release = world.releases.files("1.0.0", module="thawed-site")
    assert (await world.push(release)).status_code == 201
    services = world.services
    async with services.database.transaction(TENANT) as session:
        node = Node(name="staged-1", environment="staging", address="https://127.0.0.1:1")
        await nodes.register(session, TENANT, node)
        await freezes.freeze(
            session,
            AdHocFreeze(tenant=TENANT, environment="staging", key="k-missed", actor="abel", reason="x"),
        )
    wanted = {"module": "thawed-site", "version": "1.0.0", "environment": "staging"}
    async with world.asks("dora") as dora:
        queued = (await dora.post("/deployments", json=wanted)).json()
        hotfix = (
            await dora.post("/deployments", json={**wanted, "hotfix": True, "reason": "it burns"})
        ).json()
        assert (await dora.post(f"/deployments/{hotfix['id']}/abort", json={})).status_code == 202
    assert queued["freeze"]["reason"].endswith("x")
    assert hotfix["freeze"] is None  # holds it not
    lane = lane_id(TENANT, "staging")
    told = await look_after(services.temporal, services.database, frozenset())
    before = [name for name, _body in await world.signals(lane)].count("thaw")
    async with services.database.transaction(TENANT) as session:  # and nobody tells the lane
        await freezes.thaw(session, Thaw(tenant=TENANT, environment="staging", actor="abel", reason="y"))
    await look_after(services.temporal, services.database, told)
    assert [name for name, _body in await world.signals(lane)].count("thaw") == before + 1
    async with world.asks("dora") as dora:
        assert (await dora.post(f"/deployments/{queued['id']}/abort", json={})).status_code == 202
        stream = await dora.get(f"/deployments/{queued['id']}/events")
    assert "event: freeze.removed" in stream.text.splitlines()
    await look_after(services.temporal, services.database, told)
    assert [name for name, _body in await world.signals(lane)].count("thaw") == before + 1


async def test_a_token_to_thaw_from_the_console(world: World) -> None:
    answer = await ask(world, "abel", "POST", "/thaw/token", json={"reason": "seen it"})
    ticket = answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    claims = world.services.reader.thaw(ticket["token"])
    assert (claims.subject, claims.environment, claims.tenant) == ("abel", "staging", TENANT)
    assert ticket["signal"]["token"] == ticket["token"]
    assert lane_id(TENANT, "staging") in ticket["command"]
    async with world.asks("abel") as abel:
        missing = await abel.post("/clusters/nowhere/thaw/token", json={"reason": "x"})
    async with world.asks("admin") as admin:
        [entry] = (await admin.get("/audit", params={"action": "thaw-token.minted"})).json()["items"]
    assert (entry["actor"], entry["subject_id"], entry["reason"]) == ("abel", "staging", "seen it")
    assert missing.status_code == 404
