"""For each strategy and each point where it may fail: all nodes are back on the prior release, proved."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.deployment import CauseKind, Phase
from domain.policy import AnalysisRule, EnvironmentPolicy, GateRule, RollbackRule
from domain.readback import mismatch
from domain.release import ReleaseRef
from domain.strategy import BlueGreen, Canary, Custom, Direct, Rolling, Strategy
from tests.agent.nodes import PROGRAM
from tests.stack.fleet import MODULE, Fleet
from tests.stack.running import RunningStack

PRIOR, GOOD = "1.0.0", "2.0.0"
PROGRAM_HERE = Path(__file__).with_name("matrix_program.py")
SECONDS = 150.0  # for one rollout and its rollback on a busy machine
GATE = GateRule(name="promotion")
UNTESTED = "untested"
SMOKE = f"""
        [smoke]
        command = ["sh", "-c", "test ! -e $HOTSWAP_DATA/{UNTESTED}"]
"""

STRATEGIES: dict[str, Strategy] = {
    "direct": Direct(),
    "rolling": Rolling(batch="50%", max_unavailable=3, bake=2),
    "canary": Canary(shares=(20, 100), first_bake=2, bake=2),
    "blue-green": BlueGreen(watch=2, analyze=True, keep=30),
    "custom": Custom.model_validate(
        {
            "kind": "custom",
            "waves": ["25%", "rest"],
            "steps": [
                *({"step": step, "wave": 1} for step in ("stage", "start", "smoke", "switch", "verify")),
                {"step": "bake", "wave": 1, "seconds": 2},
                {"step": "analyze", "wave": 1},
                {"step": "retire", "wave": 1},
                *({"step": step, "wave": 2} for step in ("stage", "activate", "verify")),
                {"step": "bake", "wave": 2, "seconds": 2},
            ],
        }
    ),
}
LOOKS = ("rolling", "canary", "blue-green", "custom")  # those that let a wave run before they go on
JUDGES = ("canary", "blue-green", "custom")


@dataclass(frozen=True)
class Scene:
    """The stack, the fleet in one of its environments, and the releases that there are."""

    stack: RunningStack
    fleet: Fleet
    releases: dict[str, ReleaseRef]

    @property
    def sick(self) -> tuple[str, str]:
        """The nodes on which bad releases misbehave: one that changes early and one that changes late."""
        return self.fleet.names[0], self.fleet.names[-1]

    def policy(self, *gates: GateRule, **terms: object) -> None:
        """The environment's policy: a quick analysis and a quick way back, these gates and terms."""
        rule = AnalysisRule(
            judge="threshold", duration=3, interval=1, warm_up=0.5, extensions=0, on_inconclusive="rollback"
        )
        policy = EnvironmentPolicy.model_validate(
            {
                "gates": gates,
                "analysis": rule,
                "rollback": RollbackRule(rounds=2, pause=1, ask_for=0),
                **terms,
            }
        )
        self.stack.admin.put(f"/clusters/{self.fleet.environment}/policy", policy.model_dump(mode="json"))

    def order(self, behaviour: str, strategy: Strategy) -> str:
        version = self.releases[behaviour].version
        return self.stack.order(version, strategy, module=MODULE, environment=self.fleet.environment)

    def ended(self, deployment: str) -> dict[str, Any]:
        return self.stack.wait(deployment, lambda seen: Phase(seen["phase"]).terminal, SECONDS)

    def faults(self) -> dict[str, str]:
        """The nodes that do not run exactly the prior release, with what they show instead."""
        prior = self.releases["prior"]
        shown = {name: mismatch(report, prior) for name, report in self.fleet.reports().items()}
        assert set(shown) == set(self.fleet.names)
        return {name: words for name, words in shown.items() if words is not None}

    def prepare(self, *gates: GateRule) -> None:
        """Every node on the prior release, honest, with nothing left of the case before."""
        self.fleet.straighten()
        for name in self.fleet.names:
            for left in (*self.fleet.data(name).glob("died-*"), *self.fleet.data(name).glob("sick-*")):
                left.unlink()
        self.policy(*gates)
        environment = f"/clusters/{self.fleet.environment}"
        if self.stack.admin.get(environment)["frozen"]:
            self.stack.admin.post(f"{environment}/resolve", {"reason": "the next case of the matrix"})
        known = len(self.fleet.reports()) == len(self.fleet.names)
        if not known or self.faults():
            assert self.ended(self.order("prior", Direct()))["phase"] == Phase.COMPLETED
        assert self.faults() == {}


def push_releases(
    stack: RunningStack, fleet: Fleet, directory: Path, *, start_timeout: float = 20
) -> dict[str, ReleaseRef]:
    """The prior release, good ones, and one for each way to be bad; bad on two nodes of the fleet.

    `tested` brings a smoke test along, which fails on a node with a file of the name UNTESTED in its data.
    """
    nodes = f"{fleet.names[0]},{fleet.names[-1]}"
    behaviours = {"prior": "serve", "good": "serve", "tested": "serve", "large": "serve", "slow": "slow"}
    behaviours |= {name: f"{name}:{nodes}" for name in ("crash", "die", "tamper", "sick")}
    releases = {}
    for number, (name, behaviour) in enumerate(behaviours.items()):
        tree = directory / name
        tree.mkdir()
        version = {"prior": PRIOR, "good": GOOD}.get(name, f"3.{number}.0")
        manifest = _manifest(
            version, behaviour, disk_mb=1 << 20 if name == "large" else 1, start_timeout=start_timeout
        )
        (tree / "hotswap.toml").write_text(manifest + (SMOKE if name == "tested" else ""))
        (tree / "program.py").write_text(PROGRAM.read_text())
        (tree / "main.py").write_text(PROGRAM_HERE.read_text())
        releases[name] = stack.push(tree)
    return releases


def _manifest(version: str, behaviour: str, *, disk_mb: int, start_timeout: float) -> str:
    command = json.dumps([sys.executable, "main.py", behaviour, "{port:http}"])
    return f"""
        name = "{MODULE}"
        version = "{version}"
        kind = "process"
        [process]
        command = {command}
        start_timeout = {start_timeout}
        drain_timeout = 2
        sockets = [{{ name = "http" }}]
        [probe]
        socket = "http"
        interval = 0.3
        [resources]
        disk_mb = {disk_mb}
    """


Case = Callable[[Scene, Strategy], None]


def _turned_back(scene: Scene, end: dict[str, Any], *causes: CauseKind) -> None:
    assert end["phase"] == Phase.ROLLED_BACK_VERIFIED, (end["phase"], end["message"], end["cause"])
    assert end["cause"]["kind"] in causes
    assert end["unverified"] == []
    assert scene.faults() == {}


def stage_fails(scene: Scene, strategy: Strategy) -> None:
    """No node has the room: nothing was touched."""
    scene.prepare()
    end = scene.ended(scene.order("large", strategy))
    assert end["phase"] == Phase.FAILED
    assert "MB are free" in end["cause"]["message"]
    assert scene.faults() == {}


def _node_failure(behaviour: str) -> Case:
    def case(scene: Scene, strategy: Strategy) -> None:
        scene.prepare()
        end = scene.ended(scene.order(behaviour, strategy))
        _turned_back(scene, end, CauseKind.NODE_FAILURES)
        assert any(name in end["cause"]["message"] for name in scene.sick), end["cause"]

    return case


def analysis_fails(scene: Scene, strategy: Strategy) -> None:
    """The program gets sick while it is looked at: by its bake or by the judge, it does not pass."""
    scene.prepare()
    end = scene.ended(scene.order("sick", strategy))
    _turned_back(scene, end, CauseKind.ANALYSIS, CauseKind.INCONCLUSIVE, CauseKind.NODE_FAILURES)


def gate_rejected(scene: Scene, strategy: Strategy) -> None:
    """People say no, after the first wave, before the switch, or before anything."""
    early = isinstance(strategy, Direct)
    scene.prepare(GATE)
    deployment = scene.order("good", strategy)
    gate = scene.stack.gate(deployment)
    scene.stack.approver.post(f"/approvals/{gate}/reject", {"comment": "not today"})
    end = scene.ended(deployment)
    if early:
        assert (end["phase"], scene.faults()) == (Phase.REJECTED, {})
        return
    _turned_back(scene, end, CauseKind.REJECTED)


def _aborted_in(behaviour: str, phase: Phase, *gates: GateRule) -> Case:
    def case(scene: Scene, strategy: Strategy) -> None:
        scene.prepare(*gates)
        deployment = scene.order(behaviour, strategy)
        scene.stack.wait(deployment, lambda seen: seen["phase"] == phase, SECONDS)
        scene.stack.deployer.post(f"/deployments/{deployment}/abort", {"reason": "the matrix wants it"})
        end = scene.ended(deployment)
        if end["phase"] == Phase.ABORTED:  # nothing had been touched by then
            assert scene.faults() == {}
            return
        _turned_back(scene, end, CauseKind.ABORTED)

    return case


def lying_agents_are_named(scene: Scene, strategy: Strategy) -> None:
    """One says done and does nothing, one keeps the old process, one has a partial tree: exactly these."""
    scene.prepare()
    deployment = scene.order("good", strategy)
    scene.stack.wait(deployment, lambda seen: seen["phase"] == Phase.COMPLETED or _settled(seen), SECONDS)
    changed = [
        name for name, report in scene.fleet.reports().items() if report.current != scene.releases["prior"]
    ]
    liar, keeper, partial = sorted(changed)[:3]
    scene.fleet.says_done_and_does_nothing(liar)
    scene.fleet.keeps_the_old_process(keeper)
    scene.fleet.loses_a_file(partial, PRIOR)
    order = scene.stack.deployer.post(f"/deployments/{deployment}/rollback", {"reason": "to see who lies"})
    end = scene.ended(order["id"])
    assert end["phase"] == Phase.ROLLED_BACK_UNVERIFIED
    assert set(end["unverified"]) == {liar, keeper, partial} == set(scene.faults())
    told = {node["name"]: node["message"] for node in end["nodes"]}
    assert "expected" in told[liar]
    assert "not from" in told[keeper] or "runs from" in told[keeper]
    assert told[partial]


def _settled(seen: dict[str, Any]) -> bool:
    """The last wave is changed and only waits any more."""
    step = seen["steps"][seen["step"]] if seen["step"] < len(seen["steps"]) else None
    return step is not None and step["kind"] in ("keep", "bake") and step["wave"] == len(seen["waves"])


POINTS: dict[str, tuple[tuple[str, ...], Case]] = {
    "stage fails": (tuple(STRATEGIES), stage_fails),
    "activate fails": (tuple(STRATEGIES), _node_failure("crash")),
    "module dies in bake": (LOOKS, _node_failure("die")),
    "analysis fails": (JUDGES, analysis_fails),
    "verify mismatch": (tuple(STRATEGIES), _node_failure("tamper")),
    "gate rejected": (tuple(STRATEGIES), gate_rejected),
    "abort while activating": (tuple(STRATEGIES), _aborted_in("slow", Phase.ACTIVATING)),
    "abort while staging": (("blue-green", "custom"), _aborted_in("slow", Phase.STAGING)),
    "abort while baking": (LOOKS, _aborted_in("good", Phase.BAKING)),
    "abort while analyzing": (JUDGES, _aborted_in("good", Phase.ANALYZING)),
    "abort at the gate": (
        ("rolling", "canary", "blue-green", "custom"),
        _aborted_in("good", Phase.WAITING_APPROVAL, GATE),
    ),
    "agents lie": (tuple(STRATEGIES), lying_agents_are_named),
}
