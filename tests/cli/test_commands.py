"""Commands as people type them, against a small real server."""

import json
import shlex
import stat
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.deployments import read_strategy
from cli.errors import CommandFailed
from cli.main import app, main
from tests.cli.small_server import Answer


def run(server, *words, text=None):
    """A command of a signed-in person."""
    arguments = ["--url", server.url, "--token", "t", *words]
    return CliRunner().invoke(app, arguments, input=text, catch_exceptions=False)


def sent(server, method, path):
    """The body of the only such request."""
    (request,) = [each for each in server.requests if (each.method, each.path) == (method, f"/api/v1{path}")]
    return json.loads(request.body)


def ok(body=None):
    return lambda _: Answer(200, body)


def page(*items):
    return ok({"items": list(items), "next_cursor": None})


def test_login_keeps_the_token_and_the_next_command_uses_it(server, home):
    server.routes = {
        "POST /api/v1/auth/token": ok({"access_token": "t-7"}),
        "GET /api/v1/auth/me": ok({"username": "ana", "role": "deployer", "tenant": "acme"}),
    }
    words = ["login", "--url", server.url, "--user", "ana", "--profile", "work", "--password-stdin"]
    assert CliRunner().invoke(app, words, input="correct horse\n").exit_code == 0
    assert sent(server, "POST", "/auth/token") == {"username": "ana", "password": "correct horse"}
    kept = home / "config" / "hotswap" / "work.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "correct horse" not in kept.read_text()
    shown = CliRunner().invoke(app, ["--profile", "work", "whoami"])
    assert shown.output.startswith("ana, deployer of tenant acme")
    assert server.requests[-1].headers["Authorization"] == "Bearer t-7"


def test_user_add_prints_a_generated_password_once(server):
    server.routes = {"POST /api/v1/users": ok({"username": "ben"})}
    shown = run(server, "user", "add", "ben", "--role", "approver")
    body = sent(server, "POST", "/users")
    assert (body["username"], body["role"]) == ("ben", "approver")
    assert len(body["password"]) >= 20
    assert shown.output.count(body["password"]) == 1


def test_user_add_takes_a_password_from_standard_input_and_prints_none(server):
    server.routes = {"POST /api/v1/users": ok({"username": "ben"})}
    shown = run(server, "user", "add", "ben", "--role", "viewer", "--password-stdin", text="correct horse\n")
    assert sent(server, "POST", "/users")["password"] == "correct horse"
    assert "correct horse" not in shown.output


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_vote_finds_the_waiting_gate_of_a_deployment(server, decision):
    gate = "approval-d-1-promotion"
    other = {"id": "approval-d-2-promotion", "deployment": "d-2"}
    server.routes = {
        "GET /api/v1/approvals/pending": page(other, {"id": gate, "deployment": "d-1"}),
        f"POST /api/v1/approvals/{gate}/{decision}": ok({}),
    }
    assert run(server, decision, "d-1", "--comment", "fine").exit_code == 0
    assert sent(server, "POST", f"/approvals/{gate}/{decision}") == {"comment": "fine"}


@pytest.mark.parametrize("words", [["approval-d-1-board"], ["d-1", "--gate", "board"]])
def test_a_named_gate_is_not_looked_for(server, words):
    server.routes = {"POST /api/v1/approvals/approval-d-1-board/approve": ok({})}
    assert run(server, "approve", *words).exit_code == 0


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        ([], "no gate of deployment d-1 waits"),
        (
            [{"id": "approval-d-1-a", "deployment": "d-1"}, {"id": "approval-d-1-b", "deployment": "d-1"}],
            "approval-d-1-a, approval-d-1-b; name one",
        ),
    ],
)
def test_a_vote_without_a_clear_gate_is_not_sent(server, waiting, said):
    server.routes = {"GET /api/v1/approvals/pending": page(*waiting)}
    with pytest.raises(CommandFailed, match=said):
        run(server, "approve", "d-1")


def test_the_printed_signal_is_the_command_that_the_api_made(server):
    made = "temporal workflow signal --workflow-id approval-d-1-a --input '{}'"
    server.routes = {"POST /api/v1/approvals/approval-d-1-a/token": ok({"command": made})}
    shown = run(server, "approve", "approval-d-1-a", "--print-signal", "--comment", "fine")
    program, *rest = shlex.split(shown.output)
    assert Path(program).name == "temporal"
    assert rest == shlex.split(made)[1:]
    assert sent(server, "POST", "/approvals/approval-d-1-a/token") == {
        "decision": "approve",
        "comment": "fine",
    }


def test_a_strategy_is_a_name_or_a_checked_file(tmp_path):
    assert read_strategy(None) is None
    assert read_strategy("canary") == "canary"
    path = tmp_path / "slow.yaml"
    path.write_text("kind: canary\nshares: [5, 100]\nbake: 120\n")
    assert read_strategy(str(path)) == {"kind": "canary", "shares": [5, 100], "bake": 120.0}


@pytest.mark.parametrize(
    "content", [None, "kind: [", "kind: blue", "kind: canary\nshares: [50, 10]", "bale: 1"]
)
def test_a_strategy_that_is_none_is_named(tmp_path, content):
    path = tmp_path / "slow.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CommandFailed) as caught:
        read_strategy(str(path))
    assert caught.value.field == "strategy"


def test_a_push_sends_bundle_and_signature(server, tmp_path):
    (tmp_path / "greeter.tar.gz").write_bytes(b"bundle")
    (tmp_path / "greeter.tar.gz.p7s").write_bytes(b"signature")
    server.routes = {"POST /api/v1/modules": ok({"module": "greeter", "version": "1.0.0", "digest": "91c2"})}
    shown = run(server, "module", "push", "greeter.tar.gz")
    assert shown.output == "greeter@1.0.0 pushed, sha256:91c2\n"
    assert b'name="bundle"; filename="greeter.tar.gz"' in server.requests[0].body
    assert b'name="signature"; filename="greeter.tar.gz.p7s"' in server.requests[0].body


def test_an_unsigned_bundle_is_not_sent(server, tmp_path):
    (tmp_path / "greeter.tar.gz").write_bytes(b"bundle")
    with pytest.raises(CommandFailed, match="hotswap module sign"):
        run(server, "module", "push", "greeter.tar.gz")
    assert server.requests == []


def test_an_error_is_one_line_and_exit_code_1(server, monkeypatch, capfd):
    problem = {"detail": "no module 'x'", "code": "not-found", "field": "module", "trace_id": "abc"}
    server.routes = {"POST /api/v1/deployments": lambda _: Answer(404, problem)}
    words = ["hotswap", "--url", server.url, "--token", "t", "deploy", "x@1.0.0", "--env", "production"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == "error: no module 'x' (field module) [not-found, HTTP 404, trace abc]\n"


@pytest.mark.parametrize("release", ["greeter", "greeter@", "@1.0.0"])
def test_a_release_without_name_or_version_is_not_sent(server, release):
    with pytest.raises(CommandFailed, match="is not NAME@VERSION"):
        run(server, "deploy", release, "--env", "production")
    assert server.requests == []


@pytest.mark.parametrize("words", [["deploy", "greeter@2.0.0"], ["nothing"], ["watch", "d-1", "--oops"]])
def test_a_mistake_on_the_command_line_is_no_outcome_of_a_rollout(server, words):
    assert run(server, *words).exit_code == 1


def test_a_key_is_made_and_printed_once_by_itself(server):
    made = {"name": "ci", "expires_at": "2030-01-01T00:00:00Z", "key": "hsk.default.1.x"}
    server.routes = {"POST /api/v1/auth/keys": ok(made)}
    shown = run(server, "key", "add", "ci", "--scope", "read", "--scope", "deploy", "--days", "30")
    assert sent(server, "POST", "/auth/keys") == {"name": "ci", "scopes": ["read", "deploy"], "days": 30}
    assert shown.output.splitlines()[-1] == made["key"]


def test_keys_are_listed_and_ended(server):
    key = {"id": "k-1", "name": "ci", "scopes": ["read"], "expires_at": "2030-01-01T00:00:00Z"}
    server.routes = {
        "GET /api/v1/auth/keys": ok({"items": [key]}),
        "DELETE /api/v1/auth/keys/k-1": lambda _: Answer(204),
    }
    assert "k-1" in run(server, "key", "ls").output
    assert "counts no more" in run(server, "key", "rm", "k-1").output


def test_the_password_is_changed_and_never_shown(server):
    server.routes = {"POST /api/v1/auth/password": ok({"access_token": "t"})}
    shown = run(server, "passwd", "--password-stdin", text="the present one\nthe next one\n")
    assert sent(server, "POST", "/auth/password") == {"current": "the present one", "new": "the next one"}
    assert "one" not in shown.output


def test_signing_out_ends_the_sign_in(server):
    server.routes = {"POST /api/v1/auth/logout": lambda _: Answer(204)}
    assert run(server, "logout").output == "signed out\n"


def listed(deployment, phase, waiting_for):
    release = {"module": "greeter", "replaces": "1.0.0", "version": "2.0.0", "strategy": "canary"}
    where = {"environment": "production", "requester": "ana", "created_at": "2030-01-01T00:00:00Z"}
    return {**release, **where, "id": deployment, "phase": phase, "waiting_for": waiting_for}


def test_a_deployment_that_waits_its_turn_names_the_one_ahead_of_it(server):
    items = [
        listed("d-3", "queued", "its turn"),
        listed("d-2", "waiting-approval", "1 × sre"),
        listed("d-1", "failed", ""),
    ]
    server.routes = {"GET /api/v1/deployments": page(*items)}
    shown = run(server, "deployments").output
    assert "its turn, after d-2" in shown
    server.routes = {"GET /api/v1/deployments": page(items[0], items[2])}
    assert "after" not in run(server, "deployments").output
