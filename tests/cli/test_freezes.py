"""`hotswap freeze …` against a small real server."""

import json

import pytest

from cli.errors import CommandFailed
from tests.cli.test_commands import ok, run, sent

OPEN = {"environment": "production", "freeze": None, "items": []}
ITEM = {
    "id": "f1",
    "kind": "calendar",
    "name": "feast",
    "reason": "year-end",
    "holds": True,
    "until": "2030-12-27T07:00:00Z",
    "next_start": None,
    "window": {
        "starts": "2030-12-23T18:00:00",
        "ends": "2030-12-27T08:00:00",
        "zone": "Europe/Berlin",
        "repeat": "FREQ=YEARLY",
    },
    "created_by": "admin",
    "removed_at": None,
}
FROZEN = {**OPEN, "freeze": {"reason": "feast (year-end)", "until": None}, "items": [ITEM]}


def test_list_says_whether_it_is_frozen_and_why(server):
    server.routes = {"GET /api/v1/clusters/production/freezes": ok(FROZEN)}
    shown = run(server, "freeze", "list", "production")
    assert shown.output.startswith("production is frozen until it is thawed: feast (year-end)")
    assert "2030-12-23T18:00:00 to 2030-12-27T08:00:00 Europe/Berlin FREQ=YEARLY" in shown.output
    server.routes = {"GET /api/v1/clusters/production/freezes": ok(OPEN)}
    assert run(server, "freeze", "list", "production").output.startswith("production is open\n")


def test_environments_say_whether_anything_may_start(server):
    cluster = {"nodes_total": 2, "nodes_healthy": 1, "frozen": None, "freeze": None}
    held = {"frozen": "web-07 is not proved to be back", "freeze": FROZEN["freeze"]}
    items = [{**cluster, "environment": "qa"}, {**cluster, **held, "environment": "production"}]
    server.routes = {"GET /api/v1/clusters": ok({"items": items})}
    _, qa, production = run(server, "environments").output.splitlines()
    assert qa.split() == ["qa", "2", "1", "open"]
    words = "lane frozen: web-07 is not proved to be back; frozen until it is thawed: feast (year-end)"
    assert production.rstrip().endswith(words)
    assert json.loads(run(server, "environments", "--json").output) == items


def test_add_sends_local_times_and_the_zone(server):
    server.routes = {"POST /api/v1/clusters/production/freezes": ok(ITEM)}
    words = ["freeze", "add", "production", "feast", "--from", "2030-12-23T18:00", "--to", "2030-12-27T08:00"]
    shown = run(server, *words, "--zone", "Europe/Berlin", "--reason", "year-end")
    assert sent(server, "POST", "/clusters/production/freezes") == {
        "name": "feast",
        "reason": "year-end",
        "zone": "Europe/Berlin",
        "starts": "2030-12-23T18:00",
        "ends": "2030-12-27T08:00",
    }
    assert shown.output.startswith("feast added to production: holds until 2030-12-27")


def test_add_says_that_a_window_is_far_away(server):
    later = {**ITEM, "holds": False, "next_start": None}
    server.routes = {"POST /api/v1/clusters/production/freezes": ok(later)}
    words = ["freeze", "add", "production", "feast", "--from", "2030-12-23T18:00", "--to", "2030-12-27T08:00"]
    shown = run(server, *words, "--zone", "Europe/Berlin", "--reason", "year-end")
    assert "for the first time in more than a year" in shown.output


def test_remove_now_and_thaw(server):
    server.routes = {
        "DELETE /api/v1/clusters/production/freezes/feast": ok(ITEM),
        "POST /api/v1/clusters/production/freeze": ok(FROZEN),
        "POST /api/v1/clusters/production/thaw": ok(OPEN),
    }
    assert "removed" in run(server, "freeze", "remove", "production", "feast", "--reason", "moved").output
    assert "frozen" in run(server, "freeze", "now", "production", "--reason", "x", "--for", "2h").output
    assert set(sent(server, "POST", "/clusters/production/freeze")) == {"reason", "until"}
    assert "is open" in run(server, "freeze", "thaw", "production", "--reason", "y").output
    with pytest.raises(CommandFailed, match="not a length of time"):
        run(server, "freeze", "now", "production", "--reason", "x", "--for", "soon")


def test_thaw_prints_a_signal_for_the_console(server):
    ticket = {"command": "temporal workflow signal --name thaw"}
    server.routes = {"POST /api/v1/clusters/production/thaw/token": ok(ticket)}
    shown = run(server, "freeze", "thaw", "production", "--reason", "y", "--print-signal")
    assert "workflow signal --name thaw" in shown.output
