"""The API's names are under one version, and what people send has typed names; see docs/reference/api.md."""

import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from tests.api.conftest import World

OUTSIDE = {"/healthz", "/readyz", "/metrics", "/.well-known/jwks.json"}
INSIDE = "what only our log may say"
# Names of things; each has a form of its own, never any text.
TYPED = {
    "digest",
    "environment",
    "gate",
    "group",
    "id",
    "module",
    "node",
    "tenant",
    "username",
    "version",
}


def bodies(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schemas of what people send, with all that they refer to."""
    waiting = [
        content["schema"]
        for item in document["paths"].values()
        for operation in item.values()
        for content in operation.get("requestBody", {}).get("content", {}).values()
    ]
    seen: set[str] = set()
    while waiting:
        schema = waiting.pop()
        reference = schema.get("$ref", "").rpartition("/")[2]
        if reference:
            if reference not in seen:
                seen.add(reference)
                waiting.append(document["components"]["schemas"][reference])
            continue
        yield schema
        parts = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("properties", {}).values()]
        parts += [schema.get("items"), schema.get("additionalProperties")]
        waiting += [part for part in parts if isinstance(part, dict)]


@pytest.mark.finding("N4")
def test_every_route_is_under_the_version(world: World) -> None:
    paths = {route.path for route in world.app.routes if hasattr(route, "path")} | set(
        world.app.openapi()["paths"]
    )
    assert {path for path in paths if not path.startswith("/api/v1/")} <= OUTSIDE


@pytest.mark.finding("N4")
def test_the_name_of_a_thing_has_a_form(world: World) -> None:
    found = set()
    for schema in bodies(world.app.openapi()):
        for name, field in schema.get("properties", {}).items():
            for kind in (field, *field.get("anyOf", ())):
                if name in TYPED and kind.get("type") == "string":
                    found.add((schema["title"], name, bool({"pattern", "enum", "format"} & set(kind))))
    assert len(found) > 10
    assert {place for place in found if not place[2]} == set()


@pytest.mark.finding("N4")
@pytest.mark.finding("X22")
async def test_only_what_is_our_fault_is_logged_as_an_error(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a client does wrong is information, what is away is a warning, what we did wrong is an error."""

    async def asked() -> tuple[int, int]:
        caplog.clear()
        async with world.asks("vera") as vera:
            answer: httpx.Response = await vera.get("/nodes/nobody")
        assert INSIDE not in answer.text
        assert answer.json()["trace_id"] == answer.headers["X-Trace-Id"]
        ours = [record.levelno for record in caplog.records if record.name.startswith("api")]
        return answer.status_code, max(ours)

    caplog.set_level(logging.INFO)
    assert await asked() == (404, logging.INFO)

    async def broken(*_: object) -> None:
        raise RuntimeError(INSIDE)

    monkeypatch.setattr("store.nodes.get", broken)
    assert await asked() == (500, logging.ERROR)
    monkeypatch.setattr("store.nodes.get", _away)
    assert await asked() == (503, logging.WARNING)


async def _away(*_: object) -> None:
    raise OperationalError(INSIDE, {}, ConnectionRefusedError(INSIDE))
