"""Following a deployment against a server that cuts the stream, refuses it, dies and comes back."""

import threading

import pytest

from cli import follow as following
from cli.client import ApiClient
from cli.context import Target
from cli.errors import Refused
from cli.follow import follow
from tests.cli.small_server import Answer, SmallServer

PATH = "/api/v1/deployments/d-1"
PATIENCE = 10.0


class Deployment:
    """A deployment that goes through phases, one event each, as a test says."""

    def __init__(self):
        self.phases = ["planning"]
        self.changed = threading.Condition()

    def enter(self, phase):
        with self.changed:
            self.phases.append(phase)
            self.changed.notify_all()

    def show(self, _):
        return Answer(200, {"id": "d-1", "phase": self.phases[-1], "exit_code": 4})

    def events(self, request, *, at_most=1000):
        """Events after Last-Event-ID, at most so many; then the connection is closed."""
        seen = int(request.headers.get("Last-Event-ID", 0))

        def chunks():
            number = seen
            while number < seen + at_most:
                with self.changed:
                    assert self.changed.wait_for(lambda n=number: len(self.phases) > n, PATIENCE)
                    phase = self.phases[number]
                number += 1
                yield f"id: {number}\nevent: deployment.phase\ndata: {phase}\n\n".encode()
                if phase == "completed":
                    return

        return Answer(200, kind="text/event-stream", chunks=chunks())


@pytest.fixture
def deployment():
    return Deployment()


@pytest.fixture
def server(deployment):
    routes = {f"GET {PATH}": deployment.show, f"GET {PATH}/events": deployment.events}
    return SmallServer(routes=routes)


def api(server, tmp_path):
    return ApiClient(Target(url=server.url, source="test", token="t"), cache=tmp_path)


def run(server, tmp_path, steps, *, seconds=PATIENCE, tick=0.3):
    """Follow to the end, calling one of `steps` after each update; what was seen."""
    steps = iter(steps)
    seen = []
    with api(server, tmp_path) as client:
        for update in follow(client, "d-1", seconds=seconds, tick=tick):
            seen.append(update)
            next(steps, lambda: None)()
    return seen


def texts(updates):
    return [event.data for update in updates for event in update.events]


def test_every_event_is_seen_once_and_the_end_ends_it(server, deployment, tmp_path):
    phases = ["staging", "activating", "completed"]
    with server.running():
        seen = run(server, tmp_path, [lambda phase=phase: deployment.enter(phase) for phase in phases])
    assert texts(seen) == ["planning", *phases]
    assert seen[-1].ended


def test_a_stream_that_is_cut_goes_on_after_the_last_event_seen(server, deployment, tmp_path):
    server.routes[f"GET {PATH}/events"] = lambda request: deployment.events(request, at_most=1)
    phases = ["staging", "activating", "baking", "completed"]
    with server.running():
        seen = run(server, tmp_path, [lambda phase=phase: deployment.enter(phase) for phase in phases])
    assert texts(seen) == ["planning", *phases]
    asked = [r.headers.get("Last-Event-ID") for r in server.requests if r.path.endswith("/events")]
    assert asked[:4] == [None, "1", "2", "3"]


def test_without_a_stream_polling_finds_the_end(server, deployment, tmp_path, monkeypatch):
    monkeypatch.setattr(following, "POLL_WITHOUT_STREAM", 0.2)
    del server.routes[f"GET {PATH}/events"]
    with server.running():
        seen = run(server, tmp_path, [lambda: deployment.enter("completed")])
    assert seen[-1].ended
    assert texts(seen) == []


def test_an_api_that_dies_and_comes_back_is_waited_for_and_said(server, deployment, tmp_path):
    first = server.running()
    first.__enter__()
    seen = []
    with api(server, tmp_path) as client:
        for update in follow(client, "d-1", seconds=PATIENCE, tick=0.2):
            seen.append(update)
            if len(seen) == 1:
                deployment.enter("completed")
                first.__exit__(None, None, None)
                server.routes[f"GET {PATH}"] = lambda _: Answer(503)
                second = server.running()
                second.__enter__()
            if update.notice:
                server.routes[f"GET {PATH}"] = deployment.show
        second.__exit__(None, None, None)
    assert any("trying again" in (update.notice or "") for update in seen)
    assert seen[-1].ended
    assert seen[-1].notice is None


def test_time_that_runs_out_ends_it_without_an_end(server, tmp_path):
    with server.running():
        seen = run(server, tmp_path, [], seconds=0.5, tick=0.1)
    assert not seen[-1].ended


def test_an_unknown_deployment_is_an_error_at_once(server, tmp_path):
    del server.routes[f"GET {PATH}"]
    with server.running(), api(server, tmp_path) as client, pytest.raises(Refused, match="no /api"):
        next(follow(client, "d-1", seconds=None, tick=0.1))


def test_one_that_ended_long_ago_is_told_from_its_beginning(server, deployment, tmp_path):
    phases = ["staging", "activating", "completed"]
    for phase in phases:
        deployment.enter(phase)
    server.routes[f"GET {PATH}/events"] = lambda request: deployment.events(request, at_most=1)
    with server.running():
        seen = run(server, tmp_path, [])
    assert texts(seen) == ["planning", *phases]
