"""Bad input: a 4xx problem that names the field, and nothing is written."""

import base64
import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from bundles.signature import sign
from tests.agent.nodes import Release
from tests.api.conftest import World, form

GOOD = {"module": "bad-input", "version": "1.0.0", "environment": "production"}


@pytest_asyncio.fixture(scope="session")
async def pushed(world: World) -> Release:
    release = world.releases.files("1.0.0", module="bad-input")
    assert (await world.push(release)).status_code == 201
    return release


def check(answer: httpx.Response, status: int, field: str | None) -> None:
    problem = answer.json()
    assert answer.status_code == status, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["field"] == field, problem
    assert problem["code"]
    assert len(problem["trace_id"]) == 32
    assert problem["type"] == f"urn:hotswap:problem:{problem['code']}"
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"module": "unknown-module"}, "module"),
        ({"module": "No"}, "module"),
        ({"module": None}, "module"),
        ({"version": "1.0.1"}, "version"),
        ({"version": "one"}, "version"),
        ({"version": "01.0.0"}, "version"),
        ({"version": 1}, "version"),
        ({"environment": "nowhere"}, "environment"),
        ({"environment": "qa"}, "environment"),
        ({"environment": "../x"}, "environment"),
        ({"strategy": "yolo"}, "strategy"),
        ({"strategy": {"kind": "canary", "shares": [50, 20]}}, "strategy.canary"),
        ({"strategy": {"kind": "canary", "speed": 9}}, "strategy.canary.speed"),
        ({"description": "x" * 1001}, "description"),
        ({"requester": "somebody-else"}, "requester"),
        ({"phase": "completed"}, "phase"),
        ({"arrival": "supersede"}, "arrival"),
        ({"arrival": "preempt"}, "arrival"),
        ({"hotfix": True}, "reason"),
        ({"reason": "it burns"}, "reason"),
        ({"override": "it must"}, "override"),
        ({"hotfix": True, "reason": "it burns", "override": ""}, "override"),
    ],
)
@pytest.mark.finding("3")
async def test_a_bad_deployment(world: World, pushed: Release, change: dict[str, Any], field: str) -> None:
    before = await world.rows()
    async with world.asks("dora") as dora:
        answer = await dora.post("/deployments", json={**GOOD, **change})
    check(answer, 422, field)
    assert await world.rows() == before


@pytest.mark.parametrize("missing", sorted(GOOD))
async def test_a_deployment_without_a_field(world: World, pushed: Release, missing: str) -> None:
    body = {key: value for key, value in GOOD.items() if key != missing}
    async with world.asks("dora") as dora:
        check(await dora.post("/deployments", json=body), 422, missing)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"\xff"])
async def test_a_deployment_that_is_no_json_object(world: World, content: bytes) -> None:
    async with world.asks("dora") as dora:
        answer = await dora.post(
            "/deployments", content=content, headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid-input"


async def test_a_body_that_is_too_large_is_not_read_on(world: World) -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 1 << 16
            yield b" " * (1 << 16)

    async with world.asks("dora") as dora:
        headers = {"Content-Type": "application/json"}
        answer = await dora.post("/deployments", content=endless(), headers=headers)
    check(answer, 413, None)
    assert read < 4 << 20


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/deployments?limit=0", "limit"),
        ("/deployments?limit=101", "limit"),
        ("/deployments?cursor=xyz", "cursor"),
        ("/deployments?cursor=WyJ4Il0", "cursor"),
        ("/deployments?phase=nearly", "phase"),
        ("/deployments?colour=red", "colour"),
        ("/modules?module=No", "module"),
        ("/nodes?environment=-", "environment"),
        ("/clusters/production/metrics?seconds=0", "seconds"),
    ],
)
@pytest.mark.finding("3")
async def test_a_bad_query(world: World, path: str, field: str) -> None:
    async with world.asks("vera") as vera:
        check(await vera.get(path), 422, field)


@pytest.mark.parametrize(
    "path",
    [
        "/deployments/nothing",
        "/deployments/nothing/events",
        "/approvals/nothing",
        "/modules/nothing-here",
        "/modules/bad-input/9.9.9",
        "/clusters/nowhere",
        "/nodes/nobody",
        "/no-such-route",
    ],
)
async def test_what_is_not_there(world: World, pushed: Release, path: str) -> None:
    async with world.asks("vera") as vera:
        answer = await vera.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not-found"


async def test_a_method_that_a_route_does_not_have(world: World) -> None:
    async with world.asks("admin") as admin:
        answer = await admin.delete("/deployments")
    assert answer.status_code == 405
    assert answer.json()["code"] == "method-not-allowed"


async def refuses(world: World, parts: dict[str, Any], status: int, field: str) -> dict[str, Any]:
    before = await world.rows()
    kept = files(world)
    async with world.asks("dora") as dora:
        answer = await dora.post("/modules", files=parts)
    check(answer, status, field)
    assert await world.rows() == before
    assert files(world) == kept
    problem: dict[str, Any] = answer.json()
    return problem


def files(world: World) -> set[Path]:
    return {path for path in world.services.settings.bundle_directory.rglob("*") if path.is_file()}


def signed(world: World, scratch: Path, content: bytes) -> dict[str, tuple[str, bytes]]:
    bundle = scratch / "bundle"
    bundle.write_bytes(content)
    signer = world.pki.signer
    signature = sign(bundle, signer.certificate.read_bytes(), signer.key.read_bytes())
    return {"bundle": ("bundle", content), "signature": ("signature", signature)}


def archive(manifest: str) -> bytes:
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        info = tarfile.TarInfo("hotswap.toml")
        info.size = len(manifest)
        tar.addfile(info, io.BytesIO(manifest.encode()))
    return out.getvalue()


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        ('name = "x-site"\nversion = "one"\nkind = "files"\n', "version"),
        ('name = "x-site"\nversion = "1.0.0"\nkind = "files"\ncolour = "red"\n', "colour"),
        ('name = "x-site"\nversion = "1.0.0"\nkind = "magic"\n', "kind"),
        ("name = ", "hotswap.toml"),
    ],
)
async def test_a_malformed_manifest(world: World, scratch: Path, manifest: str, field: str) -> None:
    problem = await refuses(world, signed(world, scratch, archive(manifest)), 422, field)
    assert problem["code"] == "bundle-invalid"


async def test_a_bundle_that_is_no_archive(world: World, scratch: Path) -> None:
    await refuses(world, signed(world, scratch, b"not a tar"), 422, "bundle")


async def test_an_oversize_bundle(world: World, pushed: Release) -> None:
    parts = form(pushed)
    parts["bundle"] = ("bundle", b"\0" * (world.services.settings.max_bundle_bytes + 128 * 1024))
    problem = await refuses(world, parts, 413, "bundle")
    assert problem["code"] == "bundle-too-large"


async def test_a_bundle_just_over_the_limit(world: World, scratch: Path) -> None:
    content = b"\0" * (world.services.settings.max_bundle_bytes + 1)
    problem = await refuses(world, signed(world, scratch, content), 413, "bundle")
    assert problem["code"] == "bundle-too-large"


@pytest.mark.finding("X20")
async def test_a_tampered_bundle(world: World, pushed: Release) -> None:
    parts = form(pushed)
    content = bytearray(parts["bundle"][1])
    content[len(content) // 2] ^= 1
    parts["bundle"] = ("bundle", bytes(content))
    problem = await refuses(world, parts, 422, "signature")
    assert problem["code"] == "signature-refused"


@pytest.mark.finding("X20")
async def test_a_signature_by_a_stranger(world: World, pushed: Release, tmp_path: Path) -> None:
    from tests.agent.nodes import Pki

    stranger = Pki(tmp_path)
    signature = world.releases.signature(pushed.bundle, stranger.signer)
    parts = {**form(pushed), "signature": ("signature", base64.b64decode(signature))}
    await refuses(world, parts, 422, "signature")


@pytest.mark.parametrize(
    ("drop", "add", "field"),
    [
        ("signature", None, "signature"),
        ("bundle", None, "bundle"),
        (None, "extra", "bundle"),
        ("signature", "extra", "extra"),
    ],
)
async def test_a_form_with_wrong_parts(
    world: World, pushed: Release, drop: str | None, add: str | None, field: str
) -> None:
    parts: dict[str, Any] = form(pushed)
    parts.pop(drop, None)
    if add:
        parts[add] = ("x", b"x")
    await refuses(world, parts, 422, field)


async def test_a_push_that_is_no_form(world: World) -> None:
    async with world.asks("dora") as dora:
        answer = await dora.post("/modules", json={"bundle": "x"})
    check(answer, 422, "bundle")


async def test_a_version_cannot_be_pushed_twice_with_other_bytes(
    world: World, pushed: Release, scratch: Path
) -> None:
    assert (await world.push(pushed)).status_code == 200
    other = archive('name = "bad-input"\nversion = "1.0.0"\nkind = "files"\ndescription = "other"\n')
    problem = await refuses(world, signed(world, scratch, other), 409, "version")
    assert problem["code"] == "conflict"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "UPPER"}, "name"),
        ({"environment": "nowhere"}, "environment"),
        ({"address": "http://127.0.0.1:1"}, "address"),
        ({"address": "https://169.254.169.254:80"}, "address"),
        ({"address": "https://[fe80::1]:8443"}, "address"),
        ({"labels": {"zone": "a b"}}, "labels.zone"),
        ({"last_seen": "2020-01-01"}, "last_seen"),
    ],
)
async def test_a_bad_node(world: World, change: dict[str, Any], field: str) -> None:
    body = {"name": "n-new", "environment": "qa", "address": "https://127.0.0.1:9", **change}
    before = await world.rows()
    async with world.asks("admin") as admin:
        check(await admin.post("/nodes", json=body), 422, field)
    assert await world.rows() == before


async def test_a_bad_policy(world: World) -> None:
    async with world.asks("admin") as admin:
        before = (await admin.get("/clusters/production")).json()["policy"]
        body = {**before, "deadlines": {"node": 100, "wave": 10, "deployment": 1000}}
        check(await admin.put("/clusters/production/policy", json=body), 422, "deadlines")
        check(await admin.put("/clusters/production/policy", json={**before, "magic": 1}), 422, "magic")
        assert (await admin.get("/clusters/production")).json()["policy"] == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"username": "x"}, "username"),
        ({"password": "short"}, "password"),
        ({"role": "god"}, "role"),
        ({"tenant": "other"}, "tenant"),
    ],
)
@pytest.mark.finding("X8")
async def test_a_bad_user(world: World, change: dict[str, Any], field: str) -> None:
    body = {"username": "somebody", "password": "long enough for all", "role": "viewer", **change}
    before = await world.rows()
    async with world.asks("admin") as admin:
        check(await admin.post("/users", json=body), 422, field)
    assert await world.rows() == before


async def test_a_callers_trace_id_is_kept(world: World) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with world.asks("vera") as vera:
        answer = await vera.get(
            "/deployments/nothing", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        )
    assert answer.json()["trace_id"] == trace
    assert json.loads(answer.text)["trace_id"] == answer.headers["X-Trace-Id"]
