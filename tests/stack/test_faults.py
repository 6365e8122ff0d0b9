"""Parts of the system killed in the middle of a rollout: it ends exactly as it would have without."""

import time
from datetime import UTC, datetime

import pytest

from domain.deployment import Phase
from tests.stack.faults import OTHER, assert_completed, present
from tests.stack.running import CANARY, DIRECT, until

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(240)]


@pytest.mark.parametrize("part", ["worker", "api"])
@pytest.mark.finding("N8")
def test_killed_in_the_middle_of_a_wave(stack, part):
    before = present(stack)
    stack.install_greeter(before)
    stack.set_policy()
    deployment = stack.order(OTHER[before], DIRECT)
    stack.wait(deployment, lambda seen: any(node["touched_at"] for node in seen["nodes"]))
    killed, at = stack.kill(part), datetime.now(tz=UTC)
    end = assert_completed(stack, deployment, OTHER[before])
    assert any(datetime.fromisoformat(node["verified_at"]) > at for node in end["nodes"])
    assert stack.process(part) != killed


def test_an_agent_killed_adopts_its_module_and_takes_part(stack):
    before = present(stack)
    stack.install_greeter(before)
    stack.set_policy()
    with stack.traffic() as traffic:
        began = time.time()
        deployment = stack.order(OTHER[before], CANARY)
        seen = stack.wait_phase(deployment, Phase.ANALYZING, wave=1)
        (victim, *_) = (node["name"] for node in seen["nodes"] if node["wave"] == 3)
        pids = stack.module_pids()
        killed = stack.kill(victim)
        until(lambda: stack.process(victim) not in (None, killed) and stack.back(victim))
        adopted = stack.module_pids()
        waiting = {node["name"] for node in stack.look(deployment)["nodes"] if not node["touched_at"]}
        assert victim in waiting
        assert {name: adopted[name] for name in waiting} == {name: pids[name] for name in waiting}
        assert_completed(stack, deployment, OTHER[before])
        assert traffic.tally().failures_within(began, time.time()) == ()
