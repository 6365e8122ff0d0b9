"""What browsers are told, and that a cookie is nothing here."""

from dataclasses import replace

import httpx
import pytest

from api.application import create_app
from runtime.settings import Profile
from tests.api.authorisation import kept
from tests.api.conftest import World
from tests.api.test_access import ask

EXPECTED = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def configured(world: World, **changes: object) -> httpx.AsyncClient:
    settings = world.services.settings.model_copy(update=changes)
    app = create_app(replace(world.services, settings=settings))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("10.0.0.1", 1))
    return httpx.AsyncClient(transport=transport, base_url="http://api/api/v1")


@pytest.mark.parametrize("path", ["/auth/me", "/nowhere", "/openapi.json", "/../../healthz"])
async def test_every_answer_carries_the_headers(world: World, path: str) -> None:
    async with world.asks(None) as client:
        answer = await client.get(path)
    assert {name: answer.headers.get(name) for name in EXPECTED} == EXPECTED
    assert "strict-transport-security" not in answer.headers  # it came in the clear
    assert "server" not in answer.headers


@pytest.mark.finding("N2")
def test_two_routes_answer_with_pages_and_all_others_with_data(world: World) -> None:
    found = {
        f"{method.upper()} {path}"
        for path, item in world.app.openapi()["paths"].items()
        for method, operation in item.items()
        for answer in operation["responses"].values()
        if "text/html" in answer.get("content", {})
    }
    assert found == {
        "GET /api/v1/analyses/{analysis}/report",
        "GET /api/v1/votes",
        "POST /api/v1/votes",
    }


@pytest.mark.finding("X22")
async def test_an_error_of_ours_carries_them_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("store.nodes.get", broken)
    async with configured(world, cors_origins=["https://good.example"]) as client:
        client.headers.update(
            {"Authorization": f"Bearer {world.token('vera')}", "Origin": "https://good.example"}
        )
        answer = await client.get("/nodes/silent-1")
    assert answer.status_code == 500
    assert {name: answer.headers.get(name) for name in EXPECTED} == EXPECTED
    assert answer.headers["access-control-allow-origin"] == "https://good.example"
    assert answer.headers["x-trace-id"] == answer.json()["trace_id"]


async def test_over_tls_browsers_are_told_to_stay_there(world: World) -> None:
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
    async with configured(world, trusted_proxies=["10.0.0.1"]) as client:
        answer = await client.get("/auth/me", headers=forwarded)
        assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
    async with configured(world) as client:
        assert "strict-transport-security" not in (await client.get("/auth/me", headers=forwarded)).headers


@pytest.mark.finding("17")
async def test_no_origin_is_allowed_by_default_and_only_a_listed_one_later(world: World) -> None:
    def preflight(origin: str) -> dict[str, str]:
        return {"Origin": origin, "Access-Control-Request-Method": "POST"}

    async with configured(world) as client:
        for origin in ("https://evil.example", "null", "http://api"):
            for answer in (
                await client.options("/deployments", headers=preflight(origin)),
                await client.get("/auth/me", headers={"Origin": origin}),
            ):
                assert not [name for name in answer.headers if name.startswith("access-control")]
    async with configured(world, cors_origins=["https://good.example"]) as client:
        good = await client.options("/deployments", headers=preflight("https://good.example"))
        assert good.headers["access-control-allow-origin"] == "https://good.example"
        assert "access-control-allow-credentials" not in good.headers
        evil = await client.options("/deployments", headers=preflight("https://evil.example"))
        assert "access-control-allow-origin" not in evil.headers


@pytest.mark.finding("13")
async def test_cookies_have_no_effect_on_any_route(world: World) -> None:
    """Nothing takes a credential from a cookie, so there is nothing for a foreign page to ride on."""
    token = world.token("admin")
    names = ("access_token", "Authorization", "session", "token", "hotswap", "__Host-session")
    cookies = "; ".join(f"{name}={value}" for name in names for value in (token, f"Bearer {token}"))
    async with world.asks(None) as client:
        client.headers["Cookie"] = cookies
        for route, row in kept().items():
            answer = await ask(client, route)
            assert "set-cookie" not in answer.headers, route
            assert (answer.status_code == 401) == (row["anonymous"] == 401), route


@pytest.mark.finding("13")
def test_the_documented_credentials_are_bearer_tokens_only(world: World) -> None:
    schemes = world.app.openapi()["components"]["securitySchemes"]
    assert {(each["type"], each["scheme"]) for each in schemes.values()} == {("http", "bearer")}
    for item in world.app.openapi()["paths"].values():
        for operation in item.values():
            assert "cookie" not in {each["in"] for each in operation.get("parameters", ())}


async def test_the_page_to_try_things_is_for_development_only(world: World) -> None:
    async with configured(world) as client:
        shown = await client.get("/docs")
        assert shown.status_code == 200
        assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
    async with configured(world, profile=Profile.PRODUCTION) as client:
        assert (await client.get("/docs")).status_code == 404
