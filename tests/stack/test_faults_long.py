"""Many kills at varied moments of direct and canary rollouts, of a bad release too. `make test-faults`.

The moments are drawn from FAULTS_SEED, which is printed; the processes' own timing is not repeatable.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from cli.errors import Unreachable
from domain.deployment import Phase
from domain.health import HEARTBEAT_SECONDS, MISSED_HEARTBEATS
from tests.stack.faults import OTHER, assert_completed, present
from tests.stack.fleet import Fleet
from tests.stack.running import BAD, CANARY, DIRECT, OLD, until

pytestmark = [pytest.mark.faults_long, pytest.mark.timeout(3600)]

KILLS = 20
CENTRAL = ("worker", "api", "temporal", "postgres")
# The supervisor waits longer before each restart of what ends again and again, up to 30 s.
ROLLOUT_SECONDS = 240


@pytest.mark.finding("N8")
def test_killed_at_any_moment(stack):
    seed = int(os.environ.get("FAULTS_SEED", time.time_ns() % 10**6))
    print(f"FAULTS_SEED={seed}")
    moments = random.Random(seed)
    stack.install_greeter(OLD)
    stack.set_policy()
    kills: Counter[str] = Counter()
    rollouts = 0
    while kills.total() < KILLS:
        version = (None, None, BAD)[rollouts % 3] or OTHER[present(stack)]
        canary = version == BAD or rollouts % 3 == 1
        with stack.traffic() if canary else nullcontext():
            kills += roll_out(stack, version, moments, canary=canary)
        rollouts += 1
    print(f"{kills.total()} kills in {rollouts} rollouts: {dict(kills)}")


@pytest.mark.finding("X21")
def test_an_agent_that_falls_silent_makes_node_and_environment_unhealthy_in_time(stack, tmp_path):
    def unhealthy() -> list[str]:
        shown = stack.admin.get("/clusters/qa")
        found = [each["name"] for each in shown["nodes"] if not each["healthy"]]
        assert shown["healthy"] == (not found)
        return found

    with Fleet(stack, "qa", 2, tmp_path, apart=1) as fleet:
        assert unhealthy() == []
        fleet.kill(*fleet.apart)
        until(lambda: unhealthy() == [*fleet.apart], HEARTBEAT_SECONDS * MISSED_HEARTBEATS + 5)
        fleet.start_the_dead()
        until(lambda: unhealthy() == [], HEARTBEAT_SECONDS * MISSED_HEARTBEATS)


def roll_out(stack, version: str, moments: random.Random, *, canary: bool) -> Counter[str]:
    """One rollout with kills, to the end that it has to have; what was killed."""
    before, pids = present(stack), stack.module_pids()
    deployment = stack.order(version, CANARY if canary else DIRECT)
    victims = [*CENTRAL, *moments.sample(sorted(stack.nodes()), 2)]
    moments.shuffle(victims)
    victims = victims[: 4 if canary else 2]
    killed = kill_some(stack, deployment, victims, lambda: moments.uniform(0.05, 6 if canary else 0.6))
    if version == BAD:
        end = stack.ended(deployment, Phase.ROLLED_BACK_VERIFIED, seconds=ROLLOUT_SECONDS)
        stack.assert_everywhere(stack.releases[before])
        untouched = {node["name"] for node in end["nodes"] if not node["touched_at"]}
        assert len(untouched) == len(pids) - 1
        after = stack.module_pids()
        assert {name: after[name] for name in untouched} == {name: pids[name] for name in untouched}
    else:
        assert_completed(stack, deployment, version, seconds=ROLLOUT_SECONDS)
    return Counter(each if each in CENTRAL else "agent" for each in killed)


def kill_some(stack, deployment: str, victims: list[str], pause: Callable[[], float]) -> list[str]:
    """Kill these one after the other for as long as the rollout goes on; which were killed."""
    killed = []
    for victim in victims:
        time.sleep(pause())  # the moment is the input here, nothing is waited for
        if over(stack, deployment):
            break
        until(lambda victim=victim: stack.back(victim))
        stack.kill(victim)
        killed.append(victim)
    until(lambda: stack.back(*victims, *CENTRAL), ROLLOUT_SECONDS)
    return killed


def over(stack, deployment: str) -> bool:
    """Whether the rollout has ended; while the API cannot say, it has not."""
    try:
        return Phase(stack.look(deployment)["phase"]).terminal
    except Unreachable:
        return False
