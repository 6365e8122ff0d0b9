"""What is carried out is the plan or less of it: no node in another wave, no step that the plan has not."""

import random

import pytest

from domain.deployment import Phase
from domain.policy import EnvironmentPolicy, FailureBudget
from domain.strategy import BlueGreen, Canary, Direct, Rolling
from tests.domain.test_custom import TWO, custom
from tests.workflows.world import ANALYSIS, World

KINDS = {"settle": "retire"}  # an operation's name where it is not the step's
STRATEGIES = [
    Direct(max_unavailable=1),
    Canary(first_bake=5),
    Rolling(batch=5, max_unavailable=4, first_bake=60),
    BlueGreen(watch=5, keep=5),
    custom([2, "rest"], [step for step in TWO if step["step"] != "pause"]),
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.kind)
async def test_the_executor_only_shrinks_a_plan(stage, strategy, seed):
    dice = random.Random(f"{strategy.kind}-{seed}")
    sick = {f"node-{number:02}": dice.choice(["stage", "activate", "switch", "verify"]) for number in (5, 8)}
    budget = FailureBudget(share=0.9, minimum_executed=1)
    world = World(
        policy=EnvironmentPolicy(analysis=ANALYSIS, failures=budget, unsigned_votes=True),
        strategy=strategy,
        refuses=lambda action, node: "will not" if sick.get(node) == action else None,
    )
    async with stage(world) as scene:
        handle = await scene.deploy()
        result = await handle.result()
    assert result.phase is Phase.COMPLETED
    plan = world.plan
    planned = [(step.kind, step.wave) for step in plan.steps]
    done = {number: [] for number in range(1, len(plan.waves) + 1)}
    for action, order in world.orders:
        assert set(order.nodes) <= set(plan.wave(order.wave).nodes)
        assert (KINDS.get(action, action), order.wave) in planned
        assert not set(order.nodes) & {node for node in sick if (node, sick[node]) in done[order.wave]}
        done[order.wave] += [(node, action) for node in order.nodes]
    changes = [each for nodes in done.values() for each in nodes if each[1] in ("activate", "switch")]
    assert len(changes) == len(set(changes))
