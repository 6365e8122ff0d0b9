"""A deployment at any point of its life, as the CLI reads it."""

from datetime import UTC, datetime, timedelta

from cli.frame import Frame, FrameNode, FrameStep
from domain.deployment import Phase
from domain.node import Node
from domain.plan import Gate
from domain.planner import make_plan
from domain.policy import AnalysisRule, EnvironmentPolicy, GateRule
from domain.release import ReleaseRef
from domain.strategy import Canary

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RELEASE = ReleaseRef(module="greeter", version="2.0.0", digest="91c2" * 16, tree="b" * 64)


def plan(nodes=10):
    fleet = [
        Node(name=f"node-{n:02}", environment="production", address="https://h:1")
        for n in range(1, nodes + 1)
    ]
    return make_plan(
        tenant="acme",
        environment="production",
        release=RELEASE,
        nodes=fleet,
        running={node.name: "1.0.0" for node in fleet},
        strategy=Canary(bake=30),
        policy=EnvironmentPolicy(
            gates=(GateRule(name="promotion"),), analysis=AnalysisRule(duration=60, interval=10, warm_up=10)
        ),
    )


def frame(*, phase=Phase.ACTIVATING, step=1, nodes=10, states=None, **more):
    made = plan(nodes)
    present = "stopped" if phase is Phase.ROLLING_BACK else "current"
    states = states or {}
    return Frame(
        id="d-1",
        tenant="acme",
        environment="production",
        module="greeter",
        version="2.0.0",
        replaces="1.0.0",
        strategy="canary",
        requester="ana",
        created_at=NOW - timedelta(minutes=3),
        phase=phase,
        step=step,
        plan=made,
        plan_digest=made.digest,
        steps=tuple(
            FrameStep(
                index=index,
                kind=each.kind,
                wave=each.wave,
                gate=each.rule.name if isinstance(each, Gate) else None,
                state="done" if index < step else "todo" if index > step else present,
            )
            for index, each in enumerate(made.steps)
        ),
        digest=RELEASE.digest,
        signer="CN=release-key-3",
        nodes=tuple(
            FrameNode(name=name, wave=wave.number, state=states.get(name, "pending"), version="1.0.0")
            for wave in made.waves
            for name in wave.nodes
        ),
        exit_code=4,
        **more,
    )
