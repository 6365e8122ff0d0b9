"""Pairs on ten real nodes under traffic: per changed node one that is as like it as can be, left alone."""

from collections import Counter

import pytest

from domain.deployment import CauseKind, Phase
from domain.policy import AnalysisRule, EnvironmentPolicy
from domain.strategy import Canary
from tests.stack.judged import assert_judged_again
from tests.stack.running import BAD, GOOD, OLD, PRODUCTION, orders_to_activate

pytestmark = [pytest.mark.faults_long, pytest.mark.timeout(300)]
STRATEGY = Canary(shares=(20, 40, 100), bake=1)
UNTIL_JUDGED = {1: 2, 2: 4}  # wave → nodes that have changed when it is judged


def set_policy(stack):
    rule = AnalysisRule(
        judge="threshold", duration=8, interval=2, warm_up=2, on_inconclusive="rollback", against="paired"
    )
    policy = EnvironmentPolicy(strategy=STRATEGY, analysis=rule)
    stack.admin.put(f"/clusters/{PRODUCTION}/policy", policy.model_dump(mode="json"))


def kinds(stack, names):
    """How many of these nodes are of which zone and role."""
    labels = {node["name"]: node["labels"] for node in stack.deployer.items("/nodes", environment=PRODUCTION)}
    return Counter((labels[name]["zone"], labels[name]["role"]) for name in names)


def changed_and_pairs(stack, end, wave):
    """The nodes that had changed when this wave was judged, and the plan's pairs; the judge saw no others."""
    changed = {node["name"] for node in end["nodes"] if node["wave"] <= wave}
    [pairs] = [
        set(step["nodes"])
        for step in end["plan"]["steps"]
        if step["kind"] == "analyze" and step["wave"] == wave
    ]
    look = stack.deployer.get(f"/analyses/analysis-{end['id']}-{wave}/inputs")["judged"]["look"]
    seen = {
        side: {node for each in look["metrics"] for node in each[side]["nodes"]}
        for side in ("canary", "baseline")
    }
    assert seen == {"canary": changed, "baseline": pairs}
    return changed, pairs


def test_a_good_release_is_judged_against_its_pairs_only(stack):
    stack.install_greeter(OLD)
    set_policy(stack)
    before = stack.module_pids()
    with stack.traffic():
        deployment = stack.order(GOOD, STRATEGY)
        stack.wait_phase(deployment, Phase.ANALYZING, wave=1)
        judged = stack.module_pids()
        end = stack.ended(deployment, Phase.COMPLETED)
    for wave, count in UNTIL_JUDGED.items():
        changed, pairs = changed_and_pairs(stack, end, wave)
        assert (len(changed), len(pairs), changed & pairs) == (count, count, set())
        left = set(before) - changed
        assert kinds(stack, pairs) >= kinds(stack, changed) & kinds(stack, left)
        verdict = stack.deployer.get(f"/analyses/analysis-{deployment}-{wave}")["verdict"]
        assert (verdict["outcome"], verdict["canary_nodes"], verdict["baseline_nodes"]) == (
            "pass",
            count,
            count,
        )
    first, _ = changed_and_pairs(stack, end, 1)
    assert {name for name in before if before[name] != judged[name]} == first  # no pair was restarted
    stack.assert_everywhere(stack.releases[GOOD])
    assert_judged_again(stack, deployment, "pass")


def test_a_bad_release_is_taken_back_and_its_pairs_were_never_touched(stack):
    stack.install_greeter(GOOD)
    set_policy(stack)
    with stack.traffic():
        deployment = stack.order(BAD, STRATEGY)
        end = stack.ended(deployment, Phase.ROLLED_BACK_VERIFIED)
    assert end["cause"]["kind"] == CauseKind.ANALYSIS
    assert end["unverified"] == []
    changed = {node["name"] for node in end["nodes"] if node["touched_at"]}
    verdict = end["verdict"]
    assert (verdict["outcome"], verdict["canary_nodes"], verdict["baseline_nodes"]) == ("fail", 2, 2)
    bad = stack.releases[BAD]
    journals = {name: stack.journal(address) for name, address in stack.nodes().items()}
    assert {name for name, entries in journals.items() if orders_to_activate(entries, bad)} == changed
    stack.assert_everywhere(stack.releases[GOOD])
    assert_judged_again(stack, deployment, "fail")
