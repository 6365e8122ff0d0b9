"""Freezes in skipped time: a rollout under way holds and goes on by itself; nothing starts inside one."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from temporalio import activity

from domain.analysis import Outcome
from domain.calendar import CalendarWindow, spans
from domain.deployment import Phase
from domain.freeze import Freeze
from domain.freeze_orders import AdHocFreeze, FreezeQuestion
from domain.messages import QueuedDeployment
from domain.policy import Deadlines, EnvironmentPolicy
from domain.strategy import Canary, Direct, Rolling
from tests.workflows.lanes import ends, start_lane
from tests.workflows.world import ANALYSIS, World

PLAIN = EnvironmentPolicy(analysis=ANALYSIS)


def name() -> str:
    return f"f-{uuid.uuid4().hex[:8]}"


def window_around(start: datetime, end: datetime, zone: str = "UTC") -> CalendarWindow:
    local = [each.astimezone(ZoneInfo(zone)).replace(tzinfo=None, microsecond=0) for each in (start, end)]
    return CalendarWindow(name="window", reason="quiet hours", zone=zone, starts=local[0], ends=local[1])


def inside(world: World) -> list[str]:
    """The nodes that were started inside a freeze of the calendar."""
    found = []
    for at, node in world.started_at:
        moment = datetime.fromtimestamp(at, tz=UTC)
        found += [node for each in world.calendar if spans(each, moment, moment + timedelta(seconds=1))]
    return found


async def test_a_freeze_that_opens_mid_rollout_holds_it_and_it_goes_on_by_itself(stage):
    world = World(policy=PLAIN, strategy=Rolling(batch=3, max_unavailable=1, bake=600))
    async with stage(world) as scene:
        now = await scene.env.get_current_time()
        world.calendar = [window_around(now + timedelta(minutes=15), now + timedelta(hours=30))]
        result = await (await scene.deploy()).result()
    assert result.phase is Phase.COMPLETED
    assert inside(world) == []
    assert len(world.started_at) == 10
    frozen = [entry for entry in world.progress if entry.phase is Phase.FROZEN]
    assert len(frozen) == 1
    assert "quiet hours" in frozen[0].message
    assert frozen[0].waiting_for.startswith("until ")
    after = world.progress[world.progress.index(frozen[0]) + 1]
    assert after.phase in {Phase.STAGING, Phase.ACTIVATING}
    thawed = world.calendar[0].ends.replace(tzinfo=UTC).timestamp()
    later = [at for at, _node in world.started_at if at >= thawed]
    assert later
    assert min(later) < thawed + 60


async def test_the_time_in_a_freeze_is_not_the_rollouts_own(stage):
    policy = PLAIN.model_copy(update={"deadlines": Deadlines(node=60, wave=600, deployment=3600)})
    world = World(policy=policy, strategy=Direct())
    async with stage(world) as scene:
        now = await scene.env.get_current_time()
        world.calendar = [window_around(now - timedelta(hours=1), now + timedelta(days=5))]
        result = await (await scene.deploy()).result()
    assert result.phase is Phase.COMPLETED
    assert inside(world) == []


async def test_a_rollout_in_a_freeze_can_be_aborted_and_its_rollback_runs_inside(stage):
    world = World(policy=PLAIN, strategy=Rolling(batch=3, max_unavailable=1, bake=600))
    async with stage(world) as scene:
        now = await scene.env.get_current_time()
        world.calendar = [window_around(now + timedelta(minutes=15), now + timedelta(days=3))]
        handle = await scene.deploy()
        await scene.until(lambda: Phase.FROZEN in world.phases)
        await handle.signal("abort", {"actor": "ana", "reason": "not on a feast"})
        result = await handle.result()
        ended = await scene.env.get_current_time()
    assert result.phase is Phase.ROLLED_BACK_VERIFIED
    assert ended < now + timedelta(days=3)
    assert set(world.running.values()) == {"1.0.0"}
    assert world.touched


async def test_a_failing_wave_is_rolled_back_inside_a_freeze(stage):
    world = World(policy=PLAIN, strategy=Canary(), verdict=lambda look: Outcome.FAIL)
    async with stage(world) as scene:
        now = await scene.env.get_current_time()
        world.calendar = [window_around(now + timedelta(seconds=60), now + timedelta(days=3))]
        result = await (await scene.deploy()).result()
        ended = await scene.env.get_current_time()
    assert result.phase is Phase.ROLLED_BACK_VERIFIED
    assert ended < now + timedelta(days=1)


async def test_a_thaw_wakes_what_an_endless_freeze_holds(stage):
    world = World(policy=PLAIN, strategy=Direct())
    async with stage(world) as scene:
        world.frozen_now["x"] = ad_hoc("audit")
        handle = await scene.deploy()
        await scene.until(lambda: Phase.FROZEN in world.phases)
        await handle.signal("thaw", {})
        await handle.signal("thaw", "anything")
        assert world.phases[-1] is Phase.FROZEN
        world.frozen_now.clear()
        await handle.signal("thaw")
        # Held without an end there is no timer but the workflow's own end: time waits until it has gone on.
        await scene.until(lambda: world.phases[-1] is not Phase.FROZEN, skipping=False)
        result = await handle.result()
    assert result.phase is Phase.COMPLETED
    [entry] = {each.waiting_for for each in world.progress if each.phase is Phase.FROZEN}
    assert entry.startswith("until it is thawed")


class LateAnswer(World):
    """Its answer to the rollout's first look is overtaken by the end of the freeze, and by the word of it."""

    held: Any = None
    questions = 0

    @activity.defn(name="may_start")
    async def may_start(self, question: FreezeQuestion) -> Freeze | None:
        found = self.freeze_at(question.at)
        self.questions += 1
        if self.questions == 1:
            self.frozen_now.clear()
            await self.held.signal("thaw")
        return found


async def test_a_thaw_amid_a_look_at_the_freeze_is_heard(stage):
    world = LateAnswer(policy=PLAIN, strategy=Direct())
    async with stage(world) as scene:
        world.frozen_now["x"] = ad_hoc("audit")
        world.held = await scene.deploy()
        await scene.until(lambda: Phase.FROZEN in world.phases)
        await world.held.signal("thaw")
        await scene.until(lambda: world.phases[-1] is not Phase.FROZEN, skipping=False)
        result = await world.held.result()
    assert result.phase is Phase.COMPLETED
    assert world.questions == 2


def ad_hoc(reason: str, until: float | None = None):
    return AdHocFreeze(
        tenant="acme", environment="production", key="x", actor="ana", reason=reason, until=until
    )


def next_change(zone: ZoneInfo, after: datetime, season: str) -> datetime:
    """The midnight, local time, of the next night in which the clock is put forward or back."""
    day = after.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    forward = season == "spring"
    for _ in range(370):
        day += timedelta(days=1)
        midnight, next_midnight = (
            (day + timedelta(days=days)).replace(tzinfo=zone).utcoffset() for days in (0, 1)
        )
        if midnight != next_midnight and (next_midnight > midnight) == forward:
            return day
    raise AssertionError(f"{zone} has no {season}")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize(("season", "hours"), [("spring", 2.5), ("autumn", 4.5)])
async def test_a_nightly_freeze_over_a_daylight_saving_change(stage, zone, season, hours):
    """Frozen from 01:30 to 05:00 by the wall clock: that night is an hour shorter or longer."""
    world = World(policy=PLAIN, strategy=Rolling(batch=1, max_unavailable=1, bake=1200))
    clock = ZoneInfo(zone)
    async with stage(world) as scene:
        present = await scene.env.get_current_time()
        night = next_change(clock, present, season)
        earlier = night - timedelta(days=20)
        world.calendar = [
            CalendarWindow(
                name="night",
                reason="nobody is there",
                zone=zone,
                starts=earlier.replace(hour=1, minute=30),
                ends=earlier.replace(hour=5),
                repeat="FREQ=DAILY",
            )
        ]
        await scene.env.sleep(night.replace(tzinfo=clock) - present)
        result = await (await scene.deploy()).result()
    assert result.phase is Phase.COMPLETED
    begins = night.replace(hour=1, minute=30, tzinfo=clock).timestamp()
    thaws = night.replace(hour=5, tzinfo=clock).timestamp()
    assert (thaws - begins) / 3600 == hours
    assert inside(world) == []
    before = [at for at, _node in world.started_at if at < begins]
    after = [at for at, _node in world.started_at if at >= thaws]
    assert len(before) + len(after) == 10
    assert max(before) > begins - 1300
    assert min(after) < thaws + 60
    [held] = {entry.waiting_for for entry in world.progress if entry.phase is Phase.FROZEN}
    assert f"{datetime.fromtimestamp(thaws, tz=UTC):%Y-%m-%d %H:%M}" in held


# The lane


def queued(deployment: str, **facts: object) -> QueuedDeployment:
    return QueuedDeployment(
        deployment=deployment, requester="ana", module="greeter", version="2.0.0", strategy="direct", **facts
    )


async def test_a_queue_waits_for_the_end_of_a_freeze_and_then_starts_by_itself(lane_stage):
    world, wanted = World(policy=PLAIN, strategy=Direct()), name()
    async with lane_stage(world) as scene:
        now = await scene.env.get_current_time()
        world.calendar = [window_around(now - timedelta(hours=1), now + timedelta(hours=6))]
        world.queue.append(queued(wanted))
        handle = await start_lane(scene, name())
        await scene.until(lambda: world.lane_looks)
        await scene.env.sleep(timedelta(hours=5))
        assert world.progress == []
        await scene.env.sleep(timedelta(hours=2))
        await scene.until(lambda: wanted in ends(world))
        await handle.terminate()
    assert ends(world)[wanted] is Phase.COMPLETED
    assert inside(world) == []


async def test_a_rollback_in_the_queue_passes_those_that_a_freeze_keeps_waiting(lane_stage):
    world, first, undo = World(policy=PLAIN, strategy=Direct()), name(), name()
    async with lane_stage(world) as scene:
        now = await scene.env.get_current_time()
        world.calendar = [window_around(now - timedelta(hours=1), now + timedelta(days=6))]
        world.touched = list(world.running)
        world.queue += [queued(first), queued(undo, rolls_back="an-earlier-one")]
        handle = await start_lane(scene, name())
        await scene.until(lambda: undo in ends(world), skipping=False)
        await handle.terminate()
    assert ends(world) == {undo: Phase.ROLLED_BACK_VERIFIED}
    assert first not in [entry.deployment for entry in world.progress]


async def test_unsigned_signals_freeze_a_lane_and_only_a_token_thaws_it(lane_stage):
    world, wanted, place = World(policy=PLAIN, strategy=Direct()), name(), name()
    async with lane_stage(world) as scene:
        handle = await start_lane(scene, place)
        await handle.signal("freeze", {"actor": "mallory", "reason": "something burns"})
        await scene.until(lambda: world.frozen_now, skipping=False)
        world.queue.append(queued(wanted))
        await handle.signal("submit", {})
        for body in (
            {"actor": "mallory"},
            {"token": "forged"},
            {"token": "thaw:mallory:deployer:" + place + ":1"},
            {"token": "thaw:bob:approver:elsewhere:2"},
        ):
            await handle.signal("thaw", body)
        looks = world.lane_looks
        await scene.until(lambda: world.lane_looks > looks, skipping=False)
        assert world.frozen_now
        [order] = world.frozen_now.values()
        assert (order.actor, order.reason) == ("mallory (unverified)", "something burns")
        await handle.signal("thaw", {"token": f"thaw:bob:approver:{place}:3", "reason": "it is out"})
        await scene.until(lambda: wanted in ends(world), skipping=False)

        await handle.terminate()
    assert ends(world)[wanted] is Phase.COMPLETED


async def test_a_signal_to_the_lane_freezes_and_thaws_the_rollout_that_it_runs(lane_stage):
    world = World(policy=PLAIN, strategy=Rolling(batch=3, max_unavailable=1, bake=30))
    wanted, place = name(), name()
    async with lane_stage(world) as scene:
        world.queue.append(queued(wanted))
        handle = await start_lane(scene, place)
        await scene.until(lambda: Phase.BAKING in world.phases, skipping=False)
        await handle.signal("freeze", {"actor": "ana", "reason": "look at this"})
        await scene.until(lambda: world.frozen_now, skipping=False)
        await scene.until(lambda: Phase.FROZEN in world.phases)
        changed = len(world.started_at)
        await handle.signal("thaw", {"token": f"thaw:bob:approver:{place}:1"})
        await scene.until(lambda: wanted in ends(world))
        await handle.terminate()
    assert 0 < changed < 10
    assert len(world.started_at) == 10
    assert ends(world)[wanted] is Phase.COMPLETED
