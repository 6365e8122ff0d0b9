"""`hotswap amend`: what it sends, what it shows."""

import pytest

from cli.errors import CommandFailed
from domain.amendment import Changes, amended
from domain.difference import difference
from domain.policy import default_policy
from tests.cli.test_commands import ok, run, sent
from tests.domain.test_planner import plan_for


def preview(changes: Changes, *widens: str) -> dict[str, object]:
    before = plan_for(10, policy=default_policy("production"))
    after = amended(before, 0, changes)
    return {
        "before": before.digest,
        "digest": after.digest,
        "difference": difference(before, after).model_dump(mode="json"),
        "widens": list(widens),
    }


def test_an_amendment_shows_the_difference_and_when_it_holds(server):
    server.routes = {"POST /api/v1/deployments/d-1/amend": ok(preview(Changes(wave_nodes=2)))}
    shown = run(server, "amend", "d-1", "--wave-nodes", "2", "--reason", "slower")
    assert sent(server, "POST", "/deployments/d-1/amend") == {"wave_nodes": 2, "reason": "slower"}
    assert "+ stage wave 5" in shown.output
    assert shown.output.rstrip().endswith("holds from the next step on")


def test_one_that_widens_says_why_and_who_is_asked(server, tmp_path):
    file = tmp_path / "faster.yaml"
    file.write_text("bake: 10\nfailures: {share: 0.1}\n")
    server.routes = {"POST /api/v1/deployments/d-1/amend": ok(preview(Changes(bake=10), "bake is shorter"))}
    shown = run(server, "amend", "d-1", "--changes", str(file), "--bake", "5")
    body = sent(server, "POST", "/deployments/d-1/amend")
    assert body == {"bake": 5, "failures": {"share": 0.1}, "reason": ""}
    assert "wider: bake is shorter" in shown.output
    assert "hotswap approve d-1" in shown.output.replace("\n", " ")


def test_a_preview_orders_nothing(server):
    server.routes = {"POST /api/v1/deployments/d-1/amend/plan": ok(preview(Changes(bake=90)))}
    shown = run(server, "amend", "d-1", "--bake", "90", "--preview")
    assert sent(server, "POST", "/deployments/d-1/amend/plan") == {"bake": 90}
    assert "nothing was ordered" in shown.output


def test_a_file_that_says_what_cannot_be_changed_is_not_sent(server, tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text("release: other\n")
    with pytest.raises(CommandFailed, match="no file of changes"):
        run(server, "amend", "d-1", "--changes", str(file))


def test_the_list_tells_what_became_of_each(server):
    item = {
        "number": 1,
        "state": "lapsed",
        "message": "the rollout has come to what it changes",
        "actor": "bob",
        "created_at": "2030-01-01T00:00:00Z",
    }
    server.routes = {"GET /api/v1/deployments/d-1/amendments": ok({"items": [item]})}
    assert "lapsed" in run(server, "amendments", "d-1").output
