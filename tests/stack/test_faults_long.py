"""Many kills at varied moments of direct and canary rollouts, of a bad release too. `make test-faults`.

The moments are drawn from FAULTS_SEED, which is printed; the processes' own timing is not repeatable.
"""

import os
import random
import time
from collections import Counter
from contextlib import nullcontext

import httpx
import pytest

from domain.deployment import Phase
from tests.stack.faults import OTHER, assert_completed, present
from tests.stack.running import BAD, CANARY, DIRECT, OLD, until

pytestmark = [pytest.mark.faults_long, pytest.mark.timeout(3600)]

KILLS = 20


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
