"""Undo: one wave of the nodes that differ, through freezes, never a plan of nothing."""

import pytest

from domain.errors import PlanImpossible
from domain.freeze import Freeze
from domain.lane import startable
from domain.messages import LaneView, QueuedDeployment
from domain.node import Node
from domain.policy import EnvironmentPolicy, GateRule
from domain.release import ReleaseRef
from domain.undo import undo_plan

OLD = ReleaseRef(module="greeter", version="1.0.0", digest="1" * 64, tree="2" * 64)
NEW = ReleaseRef(module="greeter", version="2.0.0", digest="3" * 64, tree="4" * 64)
NODES = [
    Node(name=f"node-{number}", environment="production", address=f"https://127.0.0.1:{7000 + number}")
    for number in range(1, 5)
]


def plan(running, nodes=NODES):
    return undo_plan(
        tenant="acme",
        environment="production",
        release=OLD,
        nodes=nodes,
        running=running,
        policy=EnvironmentPolicy(gates=(GateRule(name="promotion"),)),
    )


def test_only_the_nodes_that_differ_are_changed_at_once_and_nobody_is_asked():
    made = plan({"node-1": NEW, "node-2": OLD, "node-3": NEW})
    assert made.nodes == ("node-1", "node-3", "node-4")
    assert [(step.kind, step.wave) for step in made.steps] == [("stage", 1), ("activate", 1), ("verify", 1)]
    assert (made.strategy, made.replaces) == ("undo", "2.0.0")


@pytest.mark.parametrize(
    ("running", "nodes", "field"),
    [({node.name: OLD for node in NODES}, NODES, "to"), ({}, [], "environment")],
)
def test_a_plan_of_nothing_is_refused(running, nodes, field):
    with pytest.raises(PlanImpossible) as refused:
        plan(running, nodes)
    assert refused.value.field == field


def test_the_same_version_of_other_bytes_is_not_the_release():
    assert plan({node.name: OLD.model_copy(update={"digest": "9" * 64}) for node in NODES}).nodes


@pytest.mark.parametrize(("strategy", "starts"), [("undo", True), ("canary", False)])
def test_a_freeze_does_not_hold_it_up(strategy, starts):
    entry = QueuedDeployment(
        deployment="d", requester="ana", module="greeter", version="1.0.0", strategy=strategy
    )
    view = LaneView(freeze=Freeze(reason="holidays", until=None), queued=(entry,))
    assert (startable(view) == entry) is starts
