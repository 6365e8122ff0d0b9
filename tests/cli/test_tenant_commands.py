"""`hotswap tenant(s)`, `audit` and `events` as people type them, against a small real server."""

import json

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.cli.small_server import Answer

TENANT = {
    "id": "acme",
    "name": "Acme",
    "state": "active",
    "state_since": "2026-03-01T10:00:00Z",
    "tier": "custom",
    "reason": "",
    "quota": {"nodes": 3, "deployments": None},
}
ENTRY = {
    "sequence": 7,
    "at": "2026-03-01T10:00:00Z",
    "actor": "ana",
    "action": "policy.set",
    "subject": "environment",
    "subject_id": "qa",
    "outcome": "done",
    "reason": "",
    "origin": {"address": "192.0.2.7"},
}


def run(server, *words, text=None):
    arguments = ["--url", server.url, "--token", "t", *words]
    return CliRunner().invoke(app, arguments, input=text, catch_exceptions=False)


def ok(body):
    return lambda _: Answer(200, body)


def test_a_password_that_must_be_changed_is_changed_at_the_first_login(server, home):
    server.routes = {
        "POST /api/v1/auth/token": ok({"access_token": "t-1", "must_change": True}),
        "POST /api/v1/auth/password": ok({"access_token": "t-2", "must_change": False}),
    }
    words = ["login", "--url", server.url, "--user", "admin", "--tenant", "acme", "--password-stdin"]
    assert CliRunner().invoke(app, words, input="given\nchosen\n").exit_code == 0
    first, second = server.requests
    assert json.loads(first.body) == {"username": "admin", "password": "given", "tenant": "acme"}
    assert second.headers["Authorization"] == "Bearer t-1"
    assert json.loads(second.body) == {"current": "given", "new": "chosen"}
    assert "t-2" in (home / "config" / "hotswap" / "default.json").read_text()


def test_a_platform_admin_names_the_tenant(server):
    server.routes = {"GET /api/v1/tenant": ok({**TENANT, "usage": {"nodes": 2, "deployments": 0}})}
    shown = run(server, "--tenant", "acme", "tenant")
    assert server.requests[0].headers["X-Tenant-ID"] == "acme"
    assert "acme (Acme): active, custom" in shown.output
    assert [line.split() for line in shown.output.splitlines()[2:]] == [
        ["nodes", "2", "3"],
        ["deployments", "0", "no", "limit"],
    ]


@pytest.mark.parametrize(
    ("words", "method", "path", "body"),
    [
        (
            ["add", "acme", "--name", "Acme", "--tier", "custom", "--storage-gib", "2", "--nodes", "5"],
            "POST",
            "/tenants",
            {
                "id": "acme",
                "name": "Acme",
                "tier": "custom",
                "admin": "admin",
                "quota": {"nodes": 5, "storage_bytes": 2 * 1024**3},
            },
        ),
        (["suspend", "acme", "--reason", "unpaid"], "POST", "/tenants/acme/suspend", {"reason": "unpaid"}),
        (["activate", "acme"], "POST", "/tenants/acme/activate", None),
        (["tier", "acme", "starter"], "PUT", "/tenants/acme/tier", {"tier": "starter"}),
        (["trust", "acme"], "PUT", "/tenants/acme/trust", {"trust": None}),
        (["delete", "acme", "--yes"], "DELETE", "/tenants/acme", None),
    ],
)
def test_what_is_done_to_tenants(server, words, method, path, body):
    server.routes = {f"{method} /api/v1{path}": ok(TENANT)}
    shown = run(server, "tenants", *words)
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("acme: active")
    [request] = server.requests
    assert (json.loads(request.body) if request.body else None) == body


def test_deleting_asks_first(server):
    shown = run(server, "tenants", "delete", "acme", text="n\n")
    assert shown.exit_code == 1
    assert server.requests == []


def test_the_first_password_is_printed_once(server):
    first = {"tenant": "acme", "username": "root", "password": "s3cret"}
    server.routes = {"POST /api/v1/tenants/acme/bootstrap": ok(first)}
    assert run(server, "tenants", "bootstrap", "acme").output == "root of acme; password: s3cret\n"


def test_the_audit_trail_is_searched(server):
    server.routes = {"GET /api/v1/audit": ok({"items": [ENTRY], "next_cursor": None})}
    shown = run(server, "audit", "list", "--actor", "ana", "--id", "qa", "--category", "environment")
    assert server.requests[0].path.partition("?")[2] == (
        "limit=20&actor=ana&category=environment&subject_id=qa"
    )
    assert "policy.set" in shown.output
    assert "192.0.2.7" in shown.output


def test_a_changed_trail_is_exit_code_1(server):
    whole = {"intact": True, "entries": 7, "hash": "ab", "fault": None}
    server.routes = {"GET /api/v1/audit/verify": ok(whole)}
    assert "--known 7:ab" in run(server, "audit", "verify").output
    assert run(server, "audit", "verify", "--known", "7:ab").exit_code == 0
    assert server.requests[-1].path.endswith("?entries=7&hash=ab")
    broken = {"intact": False, "entries": None, "hash": None, "fault": "entry 3 was changed"}
    server.routes = {"GET /api/v1/audit/verify": ok(broken)}
    shown = run(server, "audit", "verify")
    assert shown.exit_code == 1
    assert "entry 3 was changed" in shown.stderr


def test_an_export_goes_into_a_file(server, home):
    server.routes = {"GET /api/v1/audit/export": ok([ENTRY])}
    assert run(server, "audit", "export", "trail.json", "--since", "2026-01-01T00:00:00Z").exit_code == 0
    assert json.loads((home / "trail.json").read_text()) == [ENTRY]
    assert server.requests[0].path.endswith("?format=json&since=2026-01-01T00%3A00%3A00Z")


def test_events_name_the_place_to_go_on_from(server):
    event = {
        "id": 3,
        "at": "2026-03-01T10:00:00Z",
        "kind": "deployment.queued",
        "deployment": "d1",
        "approval": None,
        "promotion": None,
        "payload": {"message": "queued"},
    }
    server.routes = {"GET /api/v1/events": ok({"items": [event], "cursor": "5-3", "more": True})}
    shown = run(server, "events", "--cursor", "4-1")
    assert "cursor=4-1" in server.requests[0].path
    assert shown.output.rstrip().endswith("cursor: 5-3 (more follows)")
