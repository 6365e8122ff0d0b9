"""Random sequences of commands against the model of what is allowed."""

import asyncio
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from domain.analysis import Outcome
from domain.deployment import Phase
from domain.names import lane_id
from domain.policy import AnalysisRule, EnvironmentPolicy, GateRule, RollbackRule
from domain.strategy import BlueGreen, Canary, Custom, Direct, Rolling, Strategy
from tests.conftest import time_skipping_server
from tests.workflows.allowed import replay
from tests.workflows.commands import COMMANDS, WAITS, Situation
from tests.workflows.conftest import opener
from tests.workflows.honest import HonestWorld

NODES = 6
GATE = GateRule(name="promotion", before_wave=2)
STEPS = (
    *({"step": step, "wave": 1} for step in ("stage", "activate", "verify")),
    {"step": "analyze", "wave": 1},
    {"step": "pause", "seconds": 600},
    *({"step": step, "wave": 2} for step in ("stage", "start", "smoke", "switch", "verify")),
    {"step": "keep", "wave": 2, "seconds": 60},
    {"step": "retire", "wave": 2},
    *({"step": step, "wave": 3} for step in ("stage", "activate", "verify")),
    {"step": "bake", "wave": 3, "seconds": 30},
)
STRATEGIES: tuple[Strategy, ...] = (
    Direct(),
    Rolling(batch=2, max_unavailable=1, bake=30),
    Canary(shares=(20, 60, 100), bake=30, first_bake=20),
    BlueGreen(watch=30, keep=60, analyze=True),
    Custom.model_validate({"kind": "custom", "waves": [1, 2, "rest"], "steps": STEPS}),
)
GATES = ((), (GATE,), (GATE.model_copy(update={"every_wave": True}),), (GateRule(name="start"), GATE))
OUTCOMES = st.lists(st.sampled_from((*[Outcome.PASS] * 6, Outcome.FAIL, Outcome.INCONCLUSIVE)), min_size=1)


@st.composite
def worlds(draw: st.DrawFn) -> HonestWorld:
    doubt = draw(st.sampled_from(("hold", "rollback")))
    outcomes = draw(OUTCOMES)
    return HonestWorld(
        nodes=NODES,
        strategy=draw(st.sampled_from(STRATEGIES)),
        policy=EnvironmentPolicy(
            gates=draw(st.sampled_from(GATES)),
            analysis=AnalysisRule(duration=30, interval=10, warm_up=10, extensions=0, on_inconclusive=doubt),
            rollback=RollbackRule(rounds=2, pause=1, ask_for=3600),
        ),
        verdict=lambda look: outcomes[(look.number + look.analysis.wave) % len(outcomes)],
        late=draw(st.booleans()),
    )


def sequences(longest: int) -> SearchStrategy:
    one = st.tuples(st.sampled_from(COMMANDS), st.integers(0, NODES), st.sampled_from(WAITS))
    return st.lists(one, min_size=longest // 4, max_size=longest)


async def live_through(world: HonestWorld, sequence: list, *, mend: bool) -> Phase:
    """The sequence, help to an end, then another deployment in the same lane; checked after each step."""
    async with asyncio.timeout(90), time_skipping_server() as server, opener(server)(world) as scene:
        first = Situation(scene, world)
        await first.begin()
        for command, number, wait in sequence:
            await first.befall(command, number, wait)
            replay(world, first.deployment, first.aborts_sent)
        await first.finish(mend=mend)
        told = replay(world, first.deployment, first.aborts_sent)
        second = Situation(scene, world)
        second.lane = first.lane
        await second.submit(second.deployment, "3.0.0")
        if told.phase is Phase.ROLLED_BACK_UNVERIFIED:
            looks = world.lane_looks
            await first.send(lane_id("acme", first.lane), "submit", {})
            await scene.until(lambda: world.lane_looks > looks, skipping=False)
            assert world.phase_of(second.deployment) is Phase.QUEUED, "a frozen lane started something"
            world.resolved = True
            await first.send(lane_id("acme", first.lane), "resolve", {})
        await scene.until(lambda: world.phase_of(second.deployment) is not Phase.QUEUED, skipping=False)
        await second.abort(0)
        await second.finish(mend=True)
        replay(world, second.deployment, second.aborts_sent)
        assert replay(world, first.deployment, first.aborts_sent).phase is told.phase
    return told.phase


QUIETLY = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}


@given(world=worlds(), sequence=sequences(8), mend=st.booleans())
@settings(max_examples=12, derandomize=True, **QUIETLY)
async def test_whatever_befalls_a_deployment_it_ends_as_it_may(world, sequence, mend):
    await live_through(world, sequence, mend=mend)


@pytest.mark.races_long
@pytest.mark.timeout(1800)
def test_three_hundred_sequences():
    """Others each time. How many ended how is printed."""
    ends = Counter()

    @given(world=worlds(), sequence=sequences(25), mend=st.booleans())
    @settings(max_examples=300, **QUIETLY)
    def each(world, sequence, mend):
        ends[asyncio.run(live_through(world, sequence, mend=mend))] += 1

    each()
    print(f"{ends.total()} sequences:", {str(phase): number for phase, number in ends.items()})
