"""GET /events from a cursor, and streams that end with the right to read them."""

import asyncio
from datetime import timedelta
from http import HTTPStatus

import pytest
from fastapi import Request

from api.routes import events
from runtime import tokens
from store import deployments
from tests.api.conftest import TENANT, World


async def queued(world: World, name: str) -> None:
    release = world.releases.files("1.0.0", module="fed")
    assert (await world.push(release)).is_success
    async with world.services.database.transaction(TENANT) as session:
        await deployments.insert(
            session,
            TENANT,
            deployment=name,
            environment="qa",
            module="fed",
            version="1.0.0",
            requester="dora",
        )


@pytest.mark.finding("X2")
async def test_the_feed_goes_on_from_its_cursor(world: World) -> None:
    await queued(world, "fed-1")
    async with world.asks("vera") as vera, asyncio.timeout(30):
        found: list[str] = []
        cursor: str | None = None
        while "fed-1" not in found:
            query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            page = (await vera.get("/events", params=query)).json()
            found += [event["deployment"] for event in page["items"]]
            cursor = page["cursor"] or cursor
            if not page["more"]:
                await asyncio.sleep(0.02)
        after = (await vera.get("/events", params={"cursor": cursor, "kind": "gate.opened"})).json()
    assert after == {"items": [], "cursor": cursor, "more": False}


@pytest.mark.parametrize("query", [{"cursor": "x"}, {"kind": "gossip"}, {"limit": 0}, {"colour": "red"}])
async def test_bad_queries_are_refused(world: World, query: dict[str, str]) -> None:
    async with world.asks("vera") as vera:
        answer = await vera.get("/events", params=query)
    assert (answer.status_code, answer.json()["field"]) == (422, next(iter(query)))


@pytest.mark.finding("19")
async def test_a_stream_ends_when_its_reader_may_not_read_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed, ask = asyncio.Event(), events.still_allowed

    async def asked(request: Request) -> None:
        await ask(request)
        allowed.set()

    monkeypatch.setattr(events, "ASK_EVERY", 0.0)
    monkeypatch.setattr(events, "still_allowed", asked)
    await queued(world, "fed-2")
    async with world.asks("admin") as admin:
        body = {"username": "steve", "password": "Long-and-quite-unusual-83", "role": "viewer"}
        await admin.post("/users", json={**body, "must_change": False})
        reader = world.asks(None)
        token = world.token("vera", username="steve")
        reader.headers["Authorization"] = f"Bearer {token}"
        reading = asyncio.create_task(reader.get("/deployments/fed-2/events"))
        async with asyncio.timeout(30):
            await allowed.wait()  # the check before the first event: that one is on its way
        assert (await admin.patch("/users/steve", json={"disabled": True})).status_code == HTTPStatus.OK
        async with asyncio.timeout(30):
            answer = await reading
        await reader.aclose()
    assert answer.status_code == HTTPStatus.OK
    assert "event: deployment.queued" in answer.text
    assert "event: authorization.ended" in answer.text
    assert "token-revoked" in answer.text


@pytest.mark.finding("19")
async def test_a_stream_ends_with_the_token_it_was_opened_with(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "ASK_EVERY", 0.0)
    monkeypatch.setattr(tokens, "USER_LIFE", timedelta(seconds=1) - tokens.CLOCK_SKEW)  # good for one more
    await queued(world, "fed-3")
    async with asyncio.timeout(30), world.asks("vera") as vera:
        answer = await vera.get("/deployments/fed-3/events")
    assert answer.status_code == HTTPStatus.OK
    assert "event: deployment.queued" in answer.text
    assert "token-expired" in answer.text.partition("event: authorization.ended")[2]
