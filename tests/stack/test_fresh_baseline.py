"""A fresh baseline on ten real nodes under traffic: restarted without a lost request, judged, left alone."""

import time

import pytest

from domain.deployment import CauseKind, Phase
from domain.policy import AnalysisRule, EnvironmentPolicy
from domain.strategy import Canary
from domain.wire import Action
from tests.stack.running import BAD, GOOD, OLD, PRODUCTION

pytestmark = [pytest.mark.stack, pytest.mark.faults_long, pytest.mark.timeout(300)]
STRATEGY = Canary(shares=(20, 100), bake=1)


def set_policy(stack):
    rule = AnalysisRule(
        judge="threshold", duration=8, interval=2, warm_up=2, on_inconclusive="rollback", against="fresh"
    )
    policy = EnvironmentPolicy(strategy=STRATEGY, analysis=rule, min_healthy=1)
    stack.admin.put(f"/clusters/{PRODUCTION}/policy", policy.model_dump(mode="json"))


def renewed(end):
    [step] = [step for step in end["plan"]["steps"] if step["kind"] == "renew"]
    return set(step["nodes"])


def actions(stack, node, deployment):
    entries = stack.journal(stack.nodes()[node])
    return [entry.action for entry in entries if entry.id.startswith(f"{deployment}:")]


def test_a_good_release_is_judged_against_processes_as_young_as_its_own(stack):
    stack.install_greeter(OLD)
    set_policy(stack)
    before = stack.module_pids()
    with stack.traffic() as traffic:
        began = time.time()
        deployment = stack.order(GOOD, STRATEGY)
        seen = stack.wait_phase(deployment, Phase.ANALYZING, wave=1)
        judged = stack.module_pids()
        end = stack.ended(deployment, Phase.COMPLETED)
        tally = traffic.tally()
    first = {node["name"] for node in seen["nodes"] if node["wave"] == 1}
    baseline = renewed(end)
    assert (len(first), len(baseline), first & baseline) == (2, 2, set())
    assert {name for name in before if before[name] != judged[name]} == first | baseline
    assert tally.failures_within(began, time.time()) == ()
    for name in baseline:
        assert actions(stack, name, deployment) == [Action.RENEW, Action.STAGE, Action.ACTIVATE]
    assert end["verdict"]["outcome"] == "pass"
    assert (end["verdict"]["canary_nodes"], end["verdict"]["baseline_nodes"]) == (2, 2)
    stack.assert_everywhere(stack.releases[GOOD])


def test_a_bad_release_is_taken_back_and_its_baseline_left_alone(stack):
    stack.install_greeter(GOOD)
    set_policy(stack)
    with stack.traffic():
        deployment = stack.order(BAD, STRATEGY)
        end = stack.ended(deployment, Phase.ROLLED_BACK_VERIFIED)
    assert end["cause"]["kind"] == CauseKind.ANALYSIS
    assert end["verdict"]["outcome"] == "fail"
    for name in renewed(end):
        assert actions(stack, name, deployment) == [Action.RENEW]
    stack.assert_everywhere(stack.releases[GOOD])
