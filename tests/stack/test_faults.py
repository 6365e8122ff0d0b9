"""Parts of the system killed in the middle of a rollout: it ends exactly as it would have without.

The long form, `make test-faults`, kills at least KILLS times at varied moments of direct and canary rollouts.
"""

import os
import random
import time
from collections import Counter
from contextlib import nullcontext

import httpx
import pytest

from domain.deployment import Phase
from tests.stack.running import BAD, CANARY, DIRECT, GOOD, OLD, activated, until

pytestmark = [pytest.mark.stack, pytest.mark.faults]

KILLS = 20
LONG_SECONDS = 3600
OTHER = {OLD: GOOD, GOOD: OLD}


def present(stack) -> str:
    """The version that all nodes run; the first one when they differ."""
    return next((each for each in OTHER if stack.runs("node-01", stack.releases[each])), OLD)


def assert_applied_once(stack, deployment: str, version: str) -> None:
    """Every operation has one outcome on its node, and the release was made current at most once there."""
    for name, address in stack.nodes().items():
        written = stack.outcomes_written(name, deployment)
        assert written, f"{name} has nothing of {deployment} in its journal"
        assert max(Counter(written).values()) == 1, f"{name}: {written}"
        entries = [each for each in stack.journal(address) if each.id.startswith(f"{deployment}:")]
        switched = [each for each in entries if activated([each], stack.releases[version])]
        assert len(switched) == 1, f"{name}: {entries}"


def assert_completed(stack, deployment: str, version: str) -> None:
    """As without a kill: completed, no node failed, every node proves the release, nothing done twice."""
    end = stack.ended(deployment, Phase.COMPLETED, seconds=150)
    assert end["exit_code"] == 0
    assert {node["state"] for node in end["nodes"]} == {"verified"}
    assert [node["fault"] for node in end["nodes"]] == [None] * len(end["nodes"])
    until(lambda: stack.back(*stack.nodes(), "api", "worker"))
    stack.assert_everywhere(stack.releases[version])
    assert_applied_once(stack, deployment, version)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("part", ["worker", "api"])
def test_killed_in_the_middle_of_a_wave(stack, part):
    before = present(stack)
    stack.install_greeter(before)
    stack.set_policy()
    deployment = stack.order(OTHER[before], DIRECT)
    stack.wait(deployment, lambda seen: any(node["touched_at"] for node in seen["nodes"]))
    killed = stack.kill(part)
    assert_completed(stack, deployment, OTHER[before])
    assert stack.process(part) != killed


@pytest.mark.timeout(240)
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


@pytest.mark.faults_long
@pytest.mark.timeout(LONG_SECONDS)
def test_killed_at_any_moment(stack):
    seed = int(os.environ.get("FAULTS_SEED", time.time_ns() % 10**6))
    print(f"FAULTS_SEED={seed}")
    moments = random.Random(seed)
    stack.install_greeter(OLD)
    kills: Counter[str] = Counter()
    rounds = 0
    while kills.total() < KILLS:
        victims = ["worker", "api", moments.choice(sorted(stack.nodes()))]
        moments.shuffle(victims)
        canary, bad = rounds % 2 == 1, rounds % 4 == 3
        before = present(stack)
        version = BAD if bad else OTHER[before]
        stack.set_policy()
        with stack.traffic() if canary else nullcontext():
            deployment = stack.order(version, CANARY if canary else DIRECT)
            pids = kill_some(stack, deployment, victims[: 3 if canary else 2], moments, kills)
            if bad:
                stack.ended(deployment, Phase.ROLLED_BACK_VERIFIED, seconds=240)
                stack.assert_everywhere(stack.releases[before])
                touched = {node["name"] for node in stack.look(deployment)["nodes"] if node["touched_at"]}
                after = stack.module_pids()
                assert {n: p for n, p in after.items() if n not in touched} == {
                    n: p for n, p in pids.items() if n not in touched
                }
            else:
                assert_completed(stack, deployment, version)
        rounds += 1
    print(f"{kills.total()} kills in {rounds} rollouts: {dict(kills)}")


def kill_some(stack, deployment, victims, moments, kills):
    """Kill these at moments drawn over the rollout; the module pids from before the first kill."""
    pids = stack.module_pids()
    for victim in victims:
        moment = time.monotonic() + moments.uniform(0.05, 3.0)
        until(lambda moment=moment: time.monotonic() >= moment)
        if over(stack, deployment):
            break
        if stack.back(victim):
            stack.kill(victim)
            kills[victim if victim in ("api", "worker") else "agent"] += 1
    until(lambda: stack.back(*victims))
    return pids


def over(stack, deployment) -> bool:
    until(lambda: answers(stack))
    return Phase(stack.look(deployment)["phase"]).terminal


def answers(stack) -> bool:
    try:
        return httpx.get(f"{stack.admin.target.url}/readyz", timeout=5).is_success
    except httpx.TransportError:
        return False
