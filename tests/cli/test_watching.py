"""`watch` and `deploy --watch` to the end: exit codes, plain lines, JSON frames."""

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from api.views.deployment import DeploymentDetail, NodeView, StepView
from api.views.gate import GateView
from cli.frame import Frame, FrameGate, FrameNode, FrameStep
from cli.main import app
from domain.deployment import Cause, CauseKind, Phase, exit_code
from tests.cli.frames import frame
from tests.cli.small_server import Answer

PATH = "/api/v1/deployments/d-1"


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """The pauses of a person's screen, shortened."""
    monkeypatch.setattr("cli.watching.TICK", 0.05)
    for name in ("REDRAW_GAP", "POLL_WITH_STREAM", "POLL_WITHOUT_STREAM", "LAST_EVENTS"):
        monkeypatch.setattr(f"cli.follow.{name}", 0.05)


def run(server, *words):
    arguments = ["--url", server.url, "--token", "t", *words]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def serve(server, *frames):
    """Each look at the deployment shows the next frame; its events go with the first connection."""
    left = list(frames)
    event = {"at": "2026-03-01T12:00:00+00:00", "message": "wave 1 of 4", "phase": "staging", "actor": "ana"}

    def show(_):
        shown = left.pop(0) if len(left) > 1 else left[0]
        return Answer(200, shown.model_dump(mode="json"))

    def events(request):
        if "Last-Event-ID" in request.headers:
            return Answer(204)
        chunk = f"id: 1\nevent: deployment.phase\ndata: {json.dumps(event)}\n\n".encode()
        return Answer(200, kind="text/event-stream", chunks=iter([chunk]))

    server.routes = {
        f"GET {PATH}": show,
        f"GET {PATH}/events": events,
        "POST /api/v1/deployments": lambda _: Answer(202, frames[0].model_dump(mode="json")),
    }


def at(phase, cause=None, *, frozen=None):
    shown = frame(phase=phase, cause=cause, frozen=frozen)
    return shown.model_copy(update={"exit_code": exit_code(phase, cause, frozen=frozen is not None)})


RELEASE_FAILED = Cause(kind=CauseKind.ANALYSIS, message="errors")
PERSON_SAID_NO = Cause(kind=CauseKind.REJECTED, message="no", actor="ben")


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (at(Phase.COMPLETED), 0),
        (at(Phase.ROLLED_BACK_VERIFIED, RELEASE_FAILED), 2),
        (at(Phase.ROLLED_BACK_UNVERIFIED, RELEASE_FAILED), 3),
        (at(Phase.FAILED, RELEASE_FAILED, frozen="node-03"), 3),
        (at(Phase.ROLLED_BACK_VERIFIED, PERSON_SAID_NO), 5),
        (at(Phase.REJECTED, PERSON_SAID_NO), 5),
        (at(Phase.ABORTED), 5),
        (at(Phase.FAILED), 1),
    ],
)
def test_the_exit_code_is_the_outcome(server, ending, code):
    serve(server, at(Phase.STAGING), ending)
    assert run(server, "watch", "d-1").exit_code == code


def test_deploy_asks_once_and_follows_to_the_end(server):
    serve(server, at(Phase.STAGING), at(Phase.COMPLETED))
    words = ["deploy", "greeter@2.0.0", "--env", "production", "--strategy", "canary", "--description", "x"]
    assert run(server, *words).exit_code == 0
    (asked,) = [each for each in server.requests if each.method == "POST"]
    assert json.loads(asked.body) == {
        "module": "greeter",
        "version": "2.0.0",
        "environment": "production",
        "strategy": "canary",
        "description": "x",
    }
    assert len(asked.headers["Idempotency-Key"]) == 36


@pytest.mark.parametrize("words", [["--no-wait"], ["--timeout", "0.3"]])
def test_what_is_still_under_way_exits_with_4(server, words):
    serve(server, at(Phase.WAITING_APPROVAL))
    assert run(server, "deploy", "greeter@2.0.0", "--env", "production", *words).exit_code == 4


def test_lines_have_a_time_and_say_who(server, monkeypatch):
    monkeypatch.setattr("cli.follow.LAST_EVENTS", 1.0)
    serve(server, at(Phase.STAGING), at(Phase.STAGING), at(Phase.COMPLETED))
    first, *lines = run(server, "watch", "d-1").stdout.splitlines()
    assert first[8:].startswith("  greeter 1.0.0 → 2.0.0   acme/production   ▶ STAGING")
    assert [line[8:] for line in lines] == ["  staging                 wave 1 of 4 (ana)"]


def test_on_a_terminal_the_picture_is_drawn_in_place_and_stays(server, monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120, height=40)
    monkeypatch.setattr("cli.watching.console", terminal)
    serve(server, at(Phase.STAGING), at(Phase.COMPLETED))
    assert run(server, "watch", "d-1").exit_code == 0
    first, *_, last = screen.getvalue().split("rollout")[1:]
    assert "▶ STAGING" in first
    assert "✔ COMPLETED" in last
    assert "node-10" in last


def test_who_breaks_off_is_told_how_to_come_back(server, monkeypatch):
    def broken_off(*_: object, **__: object):
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.watching.follow", broken_off)
    for command in (("watch",), ("promotions", "watch")):
        shown = run(server, *command, "x-1")
        assert (shown.exit_code, shown.stdout) == (130, "")
        assert f"it goes on: hotswap {' '.join(command)} x-1" in shown.stderr


def test_json_frames_come_once_per_change_and_end_with_the_exit_code(server):
    serve(server, at(Phase.STAGING), at(Phase.STAGING), at(Phase.COMPLETED))
    frames = [json.loads(line) for line in run(server, "watch", "d-1", "--json").stdout.splitlines()]
    assert [(each["phase"], each["exit_code"]) for each in frames] == [("staging", 4), ("completed", 0)]


@pytest.mark.parametrize("order", ["pause", "resume", "promote", "abort", "rollback"])
def test_an_order_carries_its_reason_and_follows_what_comes_of_it(server, order):
    serve(server, at(Phase.COMPLETED))
    made = {"id": "d-2"} if order == "rollback" else {"id": "d-1"}
    server.routes[f"POST {PATH}/{order}"] = lambda _: Answer(202, made)
    server.routes["GET /api/v1/deployments/d-2"] = server.routes[f"GET {PATH}"]
    shown = run(server, order, "d-1", "--reason", "because", "--watch")
    assert shown.exit_code == 0
    (asked,) = [each for each in server.requests if each.method == "POST"]
    assert json.loads(asked.body) == {"reason": "because"}
    assert server.requests[1].path == f"/api/v1/deployments/{made['id']}"


@pytest.mark.parametrize(
    ("read", "shown"),
    [(Frame, DeploymentDetail), (FrameNode, NodeView), (FrameStep, StepView), (FrameGate, GateView)],
)
def test_the_api_shows_everything_that_the_view_reads(read, shown):
    assert set(read.model_fields) <= set(shown.model_fields)
