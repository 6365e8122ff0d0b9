"""Votes handed on, links that vote once, and requests to people that are no deployment's gate."""

import html
import itertools
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio

from domain.tenancy import TenantState
from domain.vote import Ballot, Decision
from store import groups, tenants
from tests.api.conftest import TENANT, World
from tests.api.test_approvals import PLAN, Gate

CHANGED = "e" * 64
HOSTILE = (
    "<script>alert(1)</script>\"><img src=x onerror=alert(2)>'><svg/onload=alert(3)></td></title>"
    "<a href=javascript:alert(4)>&lt;b&gt; {{7*7}} </textarea><iframe srcdoc='<script>alert(5)</script>'>"
)
OWN_TAGS = set(re.findall(r"\S+", "!doctype html meta title h1 p table tr th td form input label button"))
_numbers = itertools.count(1001)


@pytest_asyncio.fixture
async def gate(world: World) -> Gate:
    opened = Gate(world, next(_numbers))
    await opened.open()
    return opened


async def take(gate: Gate, number: int = -1) -> None:
    """Do what the gate's workflow would with a signal that it got: the newest, unless said otherwise."""
    name, body = (await gate.world.signals(gate.id))[number]
    reader = gate.world.services.reader
    if name == "delegate":
        gate.poll = gate.poll.delegate(reader.delegation(body["token"]), 1.0)
    else:
        claims = reader.vote(body["token"])
        gate.poll = gate.poll.cast(Ballot.model_validate(body), Decision(name), claims, 2.0)
    assert gate.poll.refused == ()
    await gate.save()


async def link(gate: Gate, **changes: object) -> httpx.Response:
    order = {"to": "Zoe of the night shift", "decision": "approve", **changes}
    async with gate.world.asks("anna") as anna:
        return await anna.post(f"/approvals/{gate.id}/links", json=order)


def token_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["token"][0]


async def test_a_link_votes_once_by_post_only_for_whoever_made_it(world: World, gate: Gate) -> None:
    made = await link(gate)
    assert (made.status_code, made.headers["Cache-Control"]) == (202, "no-store")
    token = token_of(made.json()["url"])
    await take(gate)
    async with world.asks(None) as nobody:
        page = await nobody.get("/votes", params={"token": token})
        assert page.status_code == 200
        shown = html.unescape(re.sub(r"<[^>]+>", " ", page.text))
        assert "gated@1.0.0 to production" in shown
        assert PLAN in shown
        assert "Zoe of the night shift, for anna" in shown
        assert (page.headers["Referrer-Policy"], page.headers["Cache-Control"]) == ("no-referrer", "no-store")
        assert "script" not in page.text
        for method in ("GET", "HEAD", "OPTIONS"):  # what link previews send
            await nobody.request(method, "/votes", params={"token": token})
        assert [name for name, _ in await world.signals(gate.id)] == ["delegate"]

        sent = await nobody.post("/votes", data={"token": token, "comment": "<b>looks good</b>"})
        assert sent.status_code == 202
        await take(gate)
        [vote] = gate.poll.votes
        assert (vote.voter, vote.on_behalf_of) == ("Zoe of the night shift", "anna")
        assert vote.comment == "<b>looks good</b>"
        again = await nobody.post("/votes", data={"token": token})
        assert (again.status_code, again.json()["field"]) == (409, "token")
        assert (await nobody.get("/votes", params={"token": token})).status_code == 409
    own = await gate.asks("anna", "approve")  # her one vote is given
    assert own.status_code == 409


@pytest.mark.finding("N2")
async def test_what_people_write_is_text_on_the_page_of_a_link(world: World, gate: Gate) -> None:
    """All that a page shows of others' words: what it is about, who votes."""
    async with world.asks("dora") as dora:
        opened = await dora.post("/approvals", json={**REQUEST, "subject": HOSTILE})
    order = {"to": HOSTILE[:100], "decision": "approve"}
    async with world.asks("anna") as anna:
        about = await anna.post(f"/approvals/{opened.json()['id']}/links", json=order)
    token = token_of((await link(gate, to=HOSTILE[:100])).json()["url"])
    await take(gate)
    async with world.asks(None) as nobody:
        pages = [
            await nobody.get("/votes", params={"token": token_of(about.json()["url"])}),
            await nobody.get("/votes", params={"token": token}),
            await nobody.post("/votes", data={"token": token, "comment": HOSTILE}),
        ]
    assert [page.status_code for page in pages] == [200, 200, 202]
    assert html.escape(HOSTILE) in pages[0].text
    for page in pages:
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert set(re.findall(r"<(!?\w+)", page.text)) <= OWN_TAGS
        assert html.escape(HOSTILE[:100]) in page.text


async def test_a_link_is_good_for_its_plan_only_and_for_nothing_else(world: World, gate: Gate) -> None:
    token = token_of((await link(gate)).json()["url"])
    await take(gate)
    _, signal = (await world.signals(gate.id))[0]
    async with world.asks(None) as nobody:
        # What the gate was told is no link, and a link is no sign-in.
        assert (await nobody.get("/votes", params={"token": signal["token"]})).status_code == 401
        nobody.headers["Authorization"] = f"Bearer {token}"
        assert (await nobody.get(f"/approvals/{gate.id}")).status_code == 401
        del nobody.headers["Authorization"]
        assert (await nobody.post("/votes", data={"token": token[:-4] + "AAAA"})).status_code == 401
        gate.poll = gate.poll.model_copy(update={"plan": CHANGED, "revision": gate.poll.revision + 1})
        await gate.save()
        stale = await nobody.post("/votes", data={"token": token})
        assert (stale.status_code, stale.json()["field"]) == (409, "token")
    assert [name for name, _ in await world.signals(gate.id)] == ["delegate"]


@pytest.mark.parametrize(
    ("person", "order", "status"),
    [
        ("abel", {"to": "Zoe", "decision": "approve"}, 403),  # who asked for it
        ("anna", {"to": "abel", "decision": "approve"}, 403),  # to who asked for it
        ("anna", {"to": "Zoe", "decision": "perhaps"}, 422),
        ("anna", {"to": "Zoe", "decision": "approve", "expires_in": 1}, 422),
        ("dora", {"to": "Zoe", "decision": "approve"}, 403),  # no approver
    ],
)
async def test_links_that_could_not_count_are_not_made(
    gate: Gate,
    person: str,
    order: dict[str, object],
    status: int,
) -> None:
    async with gate.world.asks(person) as client:
        answer = await client.post(f"/approvals/{gate.id}/links", json=order)
    assert answer.status_code == status, answer.text
    assert await gate.world.signals(gate.id) == []


async def test_a_delegate_votes_signed_in_as_himself(world: World, gate: Gate) -> None:
    async with world.asks("dora") as dora:
        order = {"on_behalf_of": "anna", "decision": "approve"}
        assert (await dora.post(f"/approvals/{gate.id}/delegated", json=order)).status_code == 403
        async with world.asks("anna") as anna:
            unknown = await anna.post(f"/approvals/{gate.id}/delegations", json={"to": "ghost"})
            assert (unknown.status_code, unknown.json()["field"]) == (422, "to")
            given = await anna.post(f"/approvals/{gate.id}/delegations", json={"to": "dora"})
            assert given.status_code == 202, given.text
        await take(gate)
        assert (await dora.post(f"/approvals/{gate.id}/delegated", json=order)).status_code == 202
        await take(gate)
    assert [(vote.voter, vote.on_behalf_of) for vote in gate.poll.votes] == [("dora", "anna")]
    async with world.asks("vera") as vera:
        shown = (await vera.get(f"/approvals/{gate.id}")).json()
    assert shown["waits_for"] == "1 × approver"
    assert [each["delegate"] for each in shown["delegations"]] == ["dora"]


async def test_whoever_is_disabled_votes_by_no_delegation_either(world: World, gate: Gate) -> None:
    token = token_of((await link(gate)).json()["url"])
    await take(gate)
    async with world.asks("admin") as admin, world.asks(None) as nobody:
        try:
            assert (await admin.patch("/users/anna", json={"disabled": True})).status_code == 200
            refused = await nobody.post("/votes", data={"token": token})
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        finally:
            await admin.patch("/users/anna", json={"disabled": False})
        assert [name for name, _ in await world.signals(gate.id)] == ["delegate"]
        assert (await nobody.post("/votes", data={"token": token})).status_code == 202


async def test_a_link_of_a_suspended_tenant_does_not_count(world: World, gate: Gate) -> None:
    token = token_of((await link(gate)).json()["url"])
    await take(gate)

    async def become(state: TenantState) -> None:
        async with world.services.database.transaction(TENANT) as session:
            await tenants.move_to(session, TENANT, state, actor="root")

    await become(TenantState.SUSPENDED)
    try:
        async with world.asks(None) as nobody:
            shown = await nobody.get("/votes", params={"token": token})
            cast = await nobody.post("/votes", data={"token": token})
    finally:
        await become(TenantState.ACTIVE)
    assert [each.json()["code"] for each in (shown, cast)] == ["tenant-suspended"] * 2
    assert [name for name, _ in await world.signals(gate.id)] == ["delegate"]


async def test_a_key_casts_a_delegated_vote_only_with_the_scope_for_votes(world: World, gate: Gate) -> None:
    order = {"on_behalf_of": "anna", "decision": "approve"}
    async with world.asks("admin") as admin, world.asks("anna") as anna:
        assert (await anna.post(f"/approvals/{gate.id}/delegations", json={"to": "admin"})).status_code == 202
        await take(gate)
        made = [
            await admin.post("/auth/keys", json={"name": f"{gate.deployment}-{scopes[-1]}", "scopes": scopes})
            for scopes in (["read"], ["read", "approve"])
        ]
        answers = []
        for key in made:
            admin.headers["Authorization"] = f"Bearer {key.json()['key']}"
            answers.append(await admin.post(f"/approvals/{gate.id}/delegated", json=order))
    assert [each.status_code for each in answers] == [403, 202]
    assert "scopes" in answers[0].json()["detail"]


REQUEST = {
    "kind": "schema",
    "environment": "production",
    "reference": "orders-v7",
    "digest": "c" * 64,
    "subject": "orders: drop a column",
}


async def test_a_request_of_another_kind_is_opened_voted_on_and_has_events(world: World) -> None:
    async with world.asks("dora") as dora:
        opened = await dora.post("/approvals", json=REQUEST)
        assert opened.status_code == 201, opened.text
        item = opened.json()
        async with world.asks("admin") as admin:
            [entry] = (await admin.get("/audit", params={"subject_id": item["id"]})).json()["items"]
        assert (entry["action"], entry["actor"]) == ("approval.requested", "dora")
        assert (entry["reason"], entry["after"]["digest"]) == (REQUEST["subject"], REQUEST["digest"])
        assert (item["kind"], item["reference"], item["plan"]) == ("schema", "orders-v7", "c" * 64)
        assert (item["deployment"], item["waits_for"]) == (None, "1 × approver")
        assert opened.headers["Location"] == item["links"]["self"]
        assert (await dora.get(f"/approvals/{item['id']}")).json() == item
        assert (await dora.get(f"/approvals/{item['id']}/events")).json() == {"items": []}  # no worker
    async with world.asks("anna") as anna:
        pending = (await anna.get("/approvals/pending", params={"limit": 100})).json()["items"]
        assert item["id"] in [each["id"] for each in pending]
        assert (await anna.post(f"/approvals/{item['id']}/approve")).status_code == 202
    [(name, body)] = await world.signals(item["id"])
    assert (name, world.services.reader.vote(body["token"]).plan) == ("approve", "c" * 64)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "deployment"}, "kind"),
        ({"environment": "nowhere"}, "environment"),
        ({"digest": "abc"}, "digest"),
        ({"rule": {"required": 0}}, "rule"),
    ],
)
async def test_requests_that_cannot_be_are_refused_and_write_nothing(
    world: World, changes: dict[str, object], field: str
) -> None:
    before = (await world.rows())["polls"]
    async with world.asks("dora") as dora:
        answer = await dora.post("/approvals", json={**REQUEST, **changes})
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert (await world.rows())["polls"] == before


async def test_a_gate_that_nobody_can_pass_is_refused_with_its_field(world: World) -> None:
    async with world.asks("admin") as admin:
        policy = (await admin.get("/clusters/staging")).json()["policy"]
        ghosts = {"schema": {"name": "schema", "groups": [{"group": "ghosts"}]}}
        put = await admin.put("/clusters/staging/policy", json={**policy, "requests": ghosts})
        assert put.status_code == 200, put.text
        refused = await admin.post("/approvals", json={**REQUEST, "environment": "staging"})
        assert (refused.status_code, refused.json()["field"]) == (422, "gates.schema.groups")
        assert refused.json()["code"] == "plan-impossible"
        assert (await admin.put("/groups/ghosts", json={"members": ["nobody"]})).status_code == 422
        assert (await admin.put("/groups/ghosts", json={"members": ["anna"]})).json()["members"] == ["anna"]
        assert {"name": "ghosts", "members": ["anna"]} in (await admin.get("/groups")).json()["items"]
        opened = await admin.post("/approvals", json={**REQUEST, "environment": "staging"})
        assert (opened.status_code, opened.json()["waits_for"]) == (201, "1 × ghosts")
    async with world.asks("abel") as abel:
        outsider = await abel.post(f"/approvals/{opened.json()['id']}/approve")
        assert (outsider.status_code, outsider.json()["detail"]) == (
            403,
            "a vote by abel does not count here: group",
        )
    async with world.services.database.transaction(TENANT) as session:
        await groups.set_members(session, TENANT, "ghosts", [])
