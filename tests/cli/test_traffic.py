"""The demo's traffic against the example module itself, and the arithmetic of its tally and report."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.demo.report import Report
from cli.demo.sender import traffic
from cli.demo.tally import Tally
from cli.demo.traffic import Count, Failure, Slice
from cli.errors import CommandFailed

GREETER = Path(__file__).parents[2] / "examples" / "greeter" / "greeter.py"
START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.executable, [sys.executable, sys.argv[2]])"
)


def start(listening, **environment):
    """A greeter on a listening socket that others may share."""
    return subprocess.Popen(
        [sys.executable, "-c", START, str(listening.fileno()), str(GREETER)],
        pass_fds=[listening.fileno()],
        env={**os.environ, "LISTEN_FDS": "1", "HOTSWAP_VERSION": "1.0.0", **environment},
    )


@contextmanager
def listening_socket():
    """A socket to hand over, and the URL that it answers on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.set_inheritable(True)
        yield listening, f"http://127.0.0.1:{listening.getsockname()[1]}/"


@contextmanager
def greeter(**environment):
    """A greeter on a port of its own; its URL."""
    with listening_socket() as (listening, url):
        process = start(listening, **environment)
        try:
            yield url
        finally:
            process.terminate()
            process.wait(10)


def until(sender, condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition(tally := sender.tally()):
        assert time.monotonic() < deadline, tally
        time.sleep(0.05)
    return tally


def test_answers_are_counted_by_node_and_release(tmp_path):
    with greeter() as first, greeter(HOTSWAP_VERSION="2.0.0") as second:
        with traffic({"node-01": first, "node-02": second}, tmp_path) as sender:
            sender.wait_for(2)
            until(sender, lambda tally: tally.requests >= 200)
        (output,) = tmp_path.glob("traffic-*.jsonl")
        tally = Tally.read(output)
    assert tally.failures == ()
    assert tally.nodes_serving("1.0.0") == ["node-01"]
    assert tally.nodes_serving("2.0.0") == ["node-02"]
    assert tally.requests == tally.requests_within(float("-inf"), float("inf"))


def test_error_answers_and_refused_connections_are_failures(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = f"http://127.0.0.1:{gone.getsockname()[1]}/"
    with (
        greeter(LOOKUP_FAILURES="0.5") as failing,
        traffic({"node-01": failing, "node-02": nobody}, tmp_path) as sender,
    ):
        tally = until(sender, lambda tally: len(tally.failures) > 60)
    reasons = {(each.node, each.reason.partition(":")[0]) for each in tally.failures}
    assert reasons == {("node-01", "HTTP 500"), ("node-02", "ClientConnectorError")}


@pytest.fixture
def replaced(tmp_path):
    """Replaces a busy greeter under traffic, the old one ended by a signal; what the traffic saw."""

    def replace(number):
        with listening_socket() as (listening, url):
            gone = str(tmp_path / "nobody-listens-here")
            old = start(listening, LOOKUP_SECONDS="0.3", NOTIFY_SOCKET=gone)
            with traffic({"node-01": url}, tmp_path) as sender:
                until(sender, lambda tally: tally.nodes_serving("1.0.0"))
                new = start(listening, HOTSWAP_VERSION="2.0.0")
                until(sender, lambda tally: tally.nodes_serving("2.0.0"))
                old.send_signal(number)
                old.wait(10)
                done = sender.tally().requests
                tally = until(sender, lambda tally: tally.requests > done + 50)
            new.terminate()
            new.wait(10)
        return tally

    return replace


def test_a_hand_over_loses_nothing(replaced):
    assert replaced(signal.SIGTERM).failures == ()


def test_a_request_that_was_lost_and_sent_again_has_failed(replaced):
    reasons = {each.reason for each in replaced(signal.SIGKILL).failures}
    assert reasons == {"the connection was lost, and the request sent again"}


def test_a_silent_node_is_named(tmp_path, monkeypatch):
    with greeter() as alive, socket.create_server(("127.0.0.1", 0)) as mute:
        endpoints = {"node-01": alive, "node-02": f"http://127.0.0.1:{mute.getsockname()[1]}/"}
        with traffic(endpoints, tmp_path) as sender:
            sender.wait_for(1)
            monkeypatch.setattr("cli.demo.sender.PATIENCE", 0.3)
            with pytest.raises(CommandFailed, match="only node-01 of 2"):
                sender.wait_for(2)


def test_an_unfinished_last_line_is_left_out(tmp_path):
    whole = Slice(at=2.0, counts=(Count(node="a", version="1", requests=3),))
    path = tmp_path / "output"
    path.write_text(whole.model_dump_json() + "\n" + whole.model_dump_json()[:20])
    assert Tally.read(path).requests == 3


def test_a_span_counts_whole_slices_and_every_failure_that_touches_it():
    slices = [Slice(at=at, counts=(Count(node="a", version="1", requests=10),)) for at in (1, 2, 3, 4)]
    failures = [
        Failure(began=began, ended=ended, node="a", version="1", reason="HTTP 500")
        for began, ended in ((0.5, 0.9), (0.9, 1.1), (1.5, 1.6), (2.9, 9), (3.1, 3.2))
    ]
    tally = Tally.of([*slices, *failures])
    assert tally.requests_within(1, 3) == 20
    assert tally.requests_within(1.5, 3) == 10
    assert [each.began for each in tally.failures_within(1, 3)] == [0.9, 1.5, 2.9]


GOOD = Report(
    requests=30_000,
    requests_during_good_rollout=21_000,
    failed_during_good_rollout=0,
    bad_release_nodes=1,
    first_wave_nodes=1,
    detection_seconds=8.0,
    rollback_verified=True,
    nodes=10,
    nodes_verified=10,
    total_seconds=120,
)


def test_a_report_without_shortfalls():
    assert GOOD.shortfalls == []


@pytest.mark.parametrize(
    "change",
    [
        {"failed_during_good_rollout": 1},
        {"requests_during_good_rollout": 0},
        {"bad_release_nodes": 2},
        {"bad_release_nodes": 0},
        {"rollback_verified": False},
        {"nodes_verified": 9},
    ],
)
def test_every_claim_can_fall_short(change):
    assert len(GOOD.model_copy(update=change).shortfalls) == 1
