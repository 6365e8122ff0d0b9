"""A good release and a bad one on ten real nodes under real traffic."""

import time

import pytest

from domain.deployment import CauseKind, Phase
from domain.policy import GateRule
from tests.stack.judged import assert_judged_again
from tests.stack.running import BAD, CANARY, GOOD, OLD, orders_to_activate

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


def test_a_good_release_reaches_every_node_and_no_request_fails(stack):
    stack.install_greeter(OLD)
    stack.set_policy(GateRule(name="promotion", before_wave=2))
    with stack.traffic() as traffic:
        began = time.time()
        deployment = stack.order(GOOD, CANARY)
        gate = stack.gate(deployment)
        first = {node["name"] for node in stack.look(deployment)["nodes"] if node["wave"] == 1}
        running = {name for name in stack.nodes() if stack.runs(name, stack.releases[GOOD])}
        assert running == first
        stack.approver.post(f"/approvals/{gate}/approve", {"comment": "the first wave looks well"})
        end = stack.ended(deployment, Phase.COMPLETED)
        tally = traffic.tally()

    assert end["exit_code"] == 0
    assert [len(wave["nodes"]) for wave in end["waves"]] == [1, 3, 6]
    assert tally.failures_within(began, time.time()) == ()
    assert tally.requests > 1000
    assert set(tally.nodes_serving(GOOD)) == set(stack.nodes())
    stack.assert_everywhere(stack.releases[GOOD])
    assert_judged_again(stack, deployment, "pass")


@pytest.mark.finding("X5")
def test_a_bad_release_is_caught_in_the_first_wave_and_taken_back(stack):
    stack.install_greeter(GOOD)
    stack.set_policy(GateRule(name="promotion", before_wave=2))
    bad, good = stack.releases[BAD], stack.releases[GOOD]
    with stack.traffic() as traffic:
        deployment = stack.order(BAD, CANARY)
        end = stack.ended(deployment, Phase.ROLLED_BACK_VERIFIED)
        served = traffic.tally().nodes_serving(BAD)

    assert end["exit_code"] == 2
    assert end["cause"]["kind"] == CauseKind.ANALYSIS
    assert end["verdict"]["outcome"] == "fail"
    assert end["unverified"] == []
    first = {node["name"] for node in end["nodes"] if node["wave"] == 1}
    touched = {node["name"] for node in end["nodes"] if node["touched_at"]}
    journals = {name: stack.journal(address) for name, address in stack.nodes().items()}
    assert (
        {name for name, entries in journals.items() if orders_to_activate(entries, bad)} == first == touched
    )
    assert set(served) == first
    stack.assert_everywhere(good)
    assert_judged_again(stack, deployment, "fail")
