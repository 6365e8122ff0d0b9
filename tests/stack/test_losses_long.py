"""Nodes that are lost during a rollout, on real agents: killed, full, in ill zones. `make test-faults`.

Whose fault it is, what becomes of the rollout, and how the nodes come back.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from domain.attribution import IllBudget
from domain.availability import OfflineBudget
from domain.deployment import CauseKind, Phase
from domain.errors import DiskFull, NodeUnreachable, SmokeFailed
from domain.outcomes import NodeState
from domain.policy import Deadlines, FailureBudget, GateRule
from domain.readback import mismatch
from domain.strategy import BlueGreen, Direct, Rolling
from store.due import FAILED as CATCH_UP_FAILED
from tests.stack.fleet import Fleet
from tests.stack.matrix import GATE, SECONDS, UNTESTED, Scene, push_releases
from tests.stack.running import until

pytestmark = [
    pytest.mark.faults_long,
    pytest.mark.timeout(400),
    pytest.mark.skipif(os.geteuid() != 0, reason="a small disk for one node has to be mounted"),
]

NODES = 12
SMALL = "development-09"  # its directory is a disk of a few megabytes
FIRST_GATE = GateRule(name="start", before_wave=1)
TERMS = {
    "deadlines": Deadlines(node=12, wave=120, deployment=600),
    "ill": IllBudget(share=0.3),
    "offline": OfflineBudget(share=0.1),
}


@contextmanager
def small_disk(where: Path) -> Iterator[None]:
    where.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(where)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


@pytest.fixture(scope="module")
def scene(stack, tmp_path_factory):
    where = tmp_path_factory.mktemp("losses")
    with small_disk(where / SMALL), Fleet(stack, "development", NODES, where, apart=3) as fleet:
        releases = push_releases(stack, fleet, tmp_path_factory.mktemp("releases"), start_timeout=8)
        yield Scene(stack, fleet, releases)


def fill(directory: Path) -> Path:
    """Write until the disk takes no more; the file that does it."""
    ballast = directory / "ballast"

    def write() -> None:
        with ballast.open("wb", buffering=0) as file:
            while file.write(b"\0" * 4096):
                pass

    with pytest.raises(OSError, match="No space left"):
        write()
    return ballast


def quarantines(scene: Scene) -> dict[str, str]:
    """Node → why it is quarantined."""
    nodes = scene.stack.admin.items("/nodes", environment=scene.fleet.environment)
    return {each["name"]: each["quarantine"]["code"] for each in nodes if each["quarantine"]}


def release(scene: Scene, *names: str) -> None:
    for name in names:
        scene.stack.admin.post(f"/nodes/{name}/release", {"reason": "mended"})


def differing(scene: Scene, release: str, *names: str) -> dict[str, str]:
    """The nodes that do not run exactly this release, and nothing beside it, with what they show instead."""
    reports = scene.fleet.reports(*names)
    shown = {name: mismatch(report, scene.releases[release]) for name, report in reports.items()}
    return {name: words for name, words in shown.items() if words is not None}


def approve(scene: Scene, deployment: str) -> None:
    gate = scene.stack.gate(deployment)
    scene.stack.approver.post(f"/approvals/{gate}/approve", {"comment": "go on"})


def at_its_gate(scene: Scene, deployment: str) -> dict[str, Any]:
    return scene.stack.wait(deployment, lambda seen: seen["phase"] == Phase.WAITING_APPROVAL, SECONDS)


def prepare(scene: Scene, *gates: GateRule, **terms: object) -> None:
    """Every agent answers, all nodes run the prior release and are known to; then the policy is set."""
    scene.fleet.start_the_dead()
    until(scene.fleet.answer, 30)
    release(scene, *quarantines(scene))
    scene.prepare()
    until(lambda: not under_way(scene), SECONDS)
    scene.policy(*gates, **terms)


def under_way(scene: Scene) -> bool:
    """Whether a deployment of the environment, or a node of it that may lack something, is being seen to."""
    environment = scene.fleet.environment
    found = scene.stack.admin.items("/deployments", environment=environment)
    due = [each for each in scene.stack.admin.items("/nodes", environment=environment) if each["due_since"]]
    return bool(due) or any(not Phase(each["phase"]).terminal for each in found)


@pytest.mark.finding("N8")
def test_a_good_release_goes_on_without_killed_and_full_nodes_which_are_caught_up(scene):
    prepare(scene, GATE, **TERMS)
    away, first, second = scene.fleet.apart
    scene.fleet.kill(away)
    deployment = scene.order("good", Rolling(batch=6, max_unavailable=2, bake=1))
    at_its_gate(scene, deployment)
    waves = [set(wave["nodes"]) for wave in scene.stack.look(deployment)["waves"]]
    lost = {first, second, SMALL}
    assert lost < waves[1]
    assert away not in waves[0] | waves[1]
    scene.fleet.kill(first, second)
    ballast = fill(scene.fleet.directory(SMALL))
    approve(scene, deployment)
    end = scene.ended(deployment)

    assert (end["phase"], end["cause"], end["exit_code"]) == (Phase.COMPLETED, None, 0)
    assert f"deferred: {away}" in end["message"]
    assert all(name in end["message"] for name in lost)
    faults = {node["name"]: node["fault"]["code"] for node in end["nodes"] if node["fault"]}
    expected = {first: NodeUnreachable.code, second: NodeUnreachable.code, SMALL: DiskFull.code}
    assert faults == quarantines(scene) == expected
    rest = (waves[0] | waves[1]) - lost
    assert len(rest) == NODES - 4

    ballast.unlink()
    scene.fleet.start_the_dead()
    until(scene.fleet.answer, 30)
    assert differing(scene, "good", *rest) == {}
    assert differing(scene, "prior", *lost) == {}
    until(lambda: not differing(scene, "good", away), SECONDS)  # nobody had to ask for it
    assert differing(scene, "prior", *lost) == {}
    release(scene, *lost)
    until(lambda: not differing(scene, "good"), SECONDS)


def test_a_release_that_crashes_is_blamed_though_an_agent_is_dead(scene):
    prepare(scene, FIRST_GATE, **TERMS)
    dead = scene.fleet.apart[1]
    deployment = scene.order("crash", Direct())
    at_its_gate(scene, deployment)
    scene.fleet.kill(dead)
    approve(scene, deployment)
    end = scene.ended(deployment)

    assert (end["phase"], end["unverified"]) == (Phase.ROLLED_BACK_VERIFIED, [])
    assert (end["cause"]["kind"], end["exit_code"]) == (CauseKind.NODE_FAILURES, 2)
    assert any(f"{name}: " in end["cause"]["message"] for name in scene.sick)
    assert "(release)" in end["cause"]["message"]
    assert quarantines(scene) == {dead: NodeUnreachable.code}
    scene.fleet.start_the_dead()
    until(scene.fleet.answer, 30)
    assert scene.faults() == {}
    release(scene, dead)


def test_the_margin_holds_a_node_while_its_zone_is_ill_and_lets_it_start_by_itself(scene):
    prepare(scene, FIRST_GATE, **TERMS | {"min_healthy": 2, "deadlines": Deadlines(node=60, wave=300)})
    ill, held = SMALL, "development-01"  # of the same zone, which has three nodes
    deployment = scene.order("good", Rolling(batch=4, max_unavailable=1, bake=1))
    at_its_gate(scene, deployment)
    sick = scene.fleet.data(ill) / "sick"
    sick.touch()
    until(lambda: not scene.stack.admin.get(f"/nodes/{ill}")["healthy"])
    approve(scene, deployment)

    def others_have_changed(seen: dict) -> bool:
        states = {node["name"]: node["state"] for node in seen["nodes"] if node["wave"] == 1}
        return {state for name, state in states.items() if name != held} == {NodeState.ACTIVATED}

    seen = scene.stack.wait(deployment, others_have_changed, SECONDS)
    touched = {node["name"]: node["touched_at"] for node in seen["nodes"]}
    assert held in seen["waves"][0]["nodes"]
    assert touched[held] is None
    healed = datetime.now(UTC)
    sick.unlink()
    end = scene.ended(deployment)
    assert (end["phase"], quarantines(scene)) == (Phase.COMPLETED, {})
    [began] = [node["touched_at"] for node in end["nodes"] if node["name"] == held]
    assert datetime.fromisoformat(began) > healed
    assert differing(scene, "good") == {}


def test_a_zone_that_stays_ill_holds_the_rollout_for_a_person_and_blames_nobody(scene):
    prepare(scene, FIRST_GATE, **TERMS | {"min_healthy": 2})
    deployment = scene.order("good", Rolling(batch=4, max_unavailable=1, bake=1))
    at_its_gate(scene, deployment)
    sick = scene.fleet.data(SMALL) / "sick"
    sick.touch()
    until(lambda: not scene.stack.admin.get(f"/nodes/{SMALL}")["healthy"])
    approve(scene, deployment)
    held = scene.stack.wait(deployment, lambda seen: seen["phase"] == Phase.HOLDING, SECONDS)
    assert "too few other nodes of their zones are up to start development-01" in held["message"]
    sick.unlink()
    until(lambda: scene.stack.admin.get(f"/nodes/{SMALL}")["healthy"])
    scene.stack.deployer.post(f"/deployments/{deployment}/promote", {"reason": "it is well again"})
    assert (scene.ended(deployment)["phase"], quarantines(scene)) == (Phase.COMPLETED, {})
    assert differing(scene, "good") == {}


def test_what_a_blue_green_leaves_running_on_lost_nodes_is_ended_by_their_catching_up(scene):
    untested, (_, unswitched, unsettled) = "development-05", scene.fleet.apart
    prepare(scene, GATE, **TERMS, failures=FailureBudget(share=0.2, minimum_executed=2))
    mark = scene.fleet.data(untested) / UNTESTED
    mark.touch()
    deployment = scene.order("tested", BlueGreen(watch=1, keep=6))
    at_its_gate(scene, deployment)
    assert scene.fleet.reports()[untested].beside.release == scene.releases["tested"]
    scene.fleet.kill(unswitched)
    approve(scene, deployment)
    scene.stack.wait(deployment, lambda seen: "is kept" in seen["message"], SECONDS)
    scene.fleet.kill(unsettled)
    end = scene.ended(deployment)

    assert (end["phase"], end["cause"]) == (Phase.COMPLETED, None)
    faults = {node["name"]: node["fault"]["code"] for node in end["nodes"] if node["fault"]}
    gone = dict.fromkeys((unswitched, unsettled), NodeUnreachable.code)
    assert faults == {untested: SmokeFailed.code, **gone}

    # It is tried once more, tested there again, and taken back with what ran beside.
    until(lambda: quarantines(scene) == {untested: CATCH_UP_FAILED, **gone}, SECONDS)
    assert differing(scene, "prior", untested) == {}

    scene.fleet.start_the_dead()
    until(scene.fleet.answer, 30)
    reports = scene.fleet.reports()
    assert reports[unswitched].current == reports[unsettled].beside.release == scene.releases["prior"]
    assert reports[unsettled].current == reports[unswitched].beside.release == scene.releases["tested"]
    mark.unlink()
    release(scene, untested, *gone)
    until(lambda: not differing(scene, "tested"), SECONDS)
    assert quarantines(scene) == {}
