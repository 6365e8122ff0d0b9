import asyncio
import os
import signal
from dataclasses import replace
from functools import partial

import psutil
import pytest

from runtime.embedded import supervisor as rules
from runtime.embedded.identity import ProcessId, this_process
from runtime.embedded.part import Part, StartFailed
from runtime.embedded.state import PartState, PartStatus, StackState, load, save
from runtime.embedded.supervisor import Supervisor


@pytest.fixture(autouse=True)
def short_delays(monkeypatch):
    monkeypatch.setattr(rules, "FIRST_DELAY", 0.02)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state.json"


@pytest.fixture
async def supervise(state):
    """Make supervisors; whatever they started is stopped at the end."""
    made = []

    def make() -> Supervisor:
        made.append(Supervisor(state, StackState(supervisor=this_process())))
        return made[-1]

    yield make
    for each in made:
        await die(each)
    for process in load(state).survivors().values():
        process.send(signal.SIGKILL)


async def die(one: Supervisor) -> None:
    """What SIGKILL does to a supervisor: it keeps nothing any more and says nothing."""
    for keeper in one._keepers.values():
        keeper.cancel()
    await asyncio.gather(*one._keepers.values(), return_exceptions=True)


def part(tmp_path, name="thing", script="touch $READY; exec sleep 1000", **options) -> Part:
    async def ready(_process, _started) -> bool:
        return (tmp_path / f"{name}.ready").exists()

    told = {"HOME": str(tmp_path), "READY": str(tmp_path / f"{name}.ready"), **options.pop("environment", {})}
    defaults = {"ready_seconds": 5.0, "stop_seconds": 2.0, "environment": told}
    return Part(
        name=name,
        command=["/bin/sh", "-c", script],
        log=tmp_path / f"{name}.log",
        ready=options.pop("ready", ready),
        **{**defaults, **options},
    )


async def until(condition, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def noted(state, name="thing") -> PartState:
    return load(state).parts[name]


async def test_start_waits_until_the_part_is_ready_and_writes_it_down(tmp_path, state, supervise):
    await supervise().start(part(tmp_path, script="sleep 0.2; touch $READY; exec sleep 1000", port=7))
    assert (tmp_path / "thing.ready").exists()
    seen = noted(state)
    assert (seen.status, seen.port, seen.restarts) == (PartStatus.RUNNING, 7, 0)
    assert seen.process.alive()


async def test_a_killed_part_is_started_again(tmp_path, state, supervise):
    await supervise().start(part(tmp_path))
    first = noted(state).process
    os.kill(first.pid, signal.SIGKILL)
    await until(lambda: noted(state).status is PartStatus.RUNNING and noted(state).process != first)
    assert noted(state).restarts == 1
    assert noted(state).process.alive()


async def test_a_start_that_ends_at_once_fails_with_the_logs_last_words(tmp_path, state, supervise):
    with pytest.raises(StartFailed, match=r"exit code 3\n(.|\n)*no such table"):
        await supervise().start(
            part(tmp_path, script="echo try >> $HOME/tries; echo no such table >&2; exit 3")
        )
    assert len((tmp_path / "tries").read_text().split()) == rules.START_ATTEMPTS


async def test_after_a_failed_start_everything_can_be_stopped(tmp_path, state, supervise):
    one, good, bad = supervise(), part(tmp_path, "good"), part(tmp_path, "bad", "exit 1")
    with pytest.raises(StartFailed):
        await one.start(good, bad)
    await one.stop([good, bad])
    assert {each.status for each in load(state).parts.values()} == {PartStatus.STOPPED}
    assert load(state).survivors() == {}


async def test_a_part_that_never_gets_ready_is_ended(tmp_path, state, supervise):
    with pytest.raises(StartFailed, match="not ready within 0 s"):
        await supervise().start(
            part(tmp_path, script="echo $$ > $HOME/pid; exec sleep 1000", ready_seconds=0.3)
        )
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


async def test_a_readiness_question_with_a_bug_fails_the_start_instead_of_hanging_it(tmp_path, supervise):
    async def ready(_process, _started) -> bool:
        raise ZeroDivisionError

    async with asyncio.timeout(5):
        with pytest.raises(ZeroDivisionError):
            await supervise().start(part(tmp_path, ready=ready))


async def test_stop_is_polite_first_and_then_not(tmp_path, state, supervise):
    polite = part(
        tmp_path, "polite", "trap 'echo bye; exit 0' TERM; touch $READY; while :; do sleep 0.05; done"
    )
    deaf = part(
        tmp_path, "deaf", "trap '' TERM; touch $READY; while :; do sleep 0.05; done", stop_seconds=0.2
    )
    one = supervise()
    await one.start(polite, deaf)
    processes = [noted(state, name).process for name in ("polite", "deaf")]
    await one.stop([polite], [deaf])
    assert not any(process.alive() for process in processes)
    assert "bye" in polite.log.read_text()
    assert {noted(state, name).status for name in ("polite", "deaf")} == {PartStatus.STOPPED}


async def test_parts_stop_stage_after_stage(tmp_path, supervise):
    script = "trap 'echo {0} >> $HOME/order; exit 0' TERM; touch $READY; while :; do sleep 0.02; done"
    parts = [part(tmp_path, name, script.format(name)) for name in ("first", "second", "third")]
    one = supervise()
    await one.start(*parts)
    await one.stop(*([each] for each in parts))
    assert (tmp_path / "order").read_text().split() == ["first", "second", "third"]


async def test_survivors_of_a_killed_supervisor_are_adopted(tmp_path, state, supervise):
    predecessor = supervise()
    await predecessor.start(part(tmp_path))
    before = noted(state)
    await die(predecessor)
    successor = supervise()
    assert successor.survivors == ("thing",)
    await successor.start(part(tmp_path))
    assert noted(state).process == before.process
    await successor.stop([part(tmp_path)])
    assert not before.process.alive()


async def test_a_pid_that_means_another_process_now_is_left_alone(tmp_path, state, supervise):
    bystander = psutil.Popen(["sleep", "1000"])
    try:
        real = ProcessId.of(bystander.pid)
        stale = real.model_copy(update={"started": real.started - 1})
        known = PartState(status=PartStatus.RUNNING, boot=real.boot, process=stale, log=tmp_path / "log")
        save(state, StackState(parts={"thing": known}))
        one = supervise()
        assert one.survivors == ()
        await one.stop([part(tmp_path)])
        assert bystander.is_running()
        assert not stale.send(signal.SIGKILL)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_part_that_cleans_up_is_started_once_more_when_it_was_killed_before_the_end(
    tmp_path, state, supervise
):
    script = "trap 'touch $HOME/clean; exit 0' TERM; touch $READY; while :; do sleep 0.02; done"
    thing = part(tmp_path, script=script, cleans_up=True)
    predecessor = supervise()
    await predecessor.start(thing)
    await die(predecessor)
    process = noted(state).process
    process.send(signal.SIGKILL)
    await until(lambda: not process.alive())
    (tmp_path / "thing.ready").unlink()
    await supervise().stop([thing])
    assert (tmp_path / "clean").exists()
    assert noted(state).status is PartStatus.STOPPED
    (tmp_path / "clean").unlink()
    await supervise().stop([thing])
    assert not (tmp_path / "clean").exists()


async def test_children_see_none_of_our_settings(tmp_path, supervise, monkeypatch):
    monkeypatch.setenv("HOTSWAP_PROFILE", "development")
    monkeypatch.setenv("ORDINARY", "kept")
    script = "env > $HOME/env; touch $READY; exec sleep 1000"
    await supervise().start(part(tmp_path, script=script, environment={"HOTSWAP_SETTINGS_FILE": "f"}))
    seen = (tmp_path / "env").read_text().splitlines()
    assert "ORDINARY=kept" in seen
    assert [line for line in seen if line.startswith("HOTSWAP_")] == ["HOTSWAP_SETTINGS_FILE=f"]


async def test_restarts_wait_longer_and_longer(tmp_path, state, supervise, monkeypatch):
    monkeypatch.setattr(rules, "LONGEST_DELAY", 0.06)
    waits = []
    sleep = asyncio.sleep

    async def count(seconds):
        if seconds not in (rules.POLL_SECONDS, 0.01):
            waits.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(rules.asyncio, "sleep", count)
    once = "test -e $READY && exit 1; touch $READY; sleep 0.2; exit 1"
    await supervise().start(replace(part(tmp_path, script=once), ready=partial(_after_first, tmp_path)))
    await until(lambda: len(waits) >= 4)
    assert waits[:4] == pytest.approx([0.02, 0.04, 0.06, 0.06])


async def _after_first(tmp_path, _process, _started) -> bool:
    return (tmp_path / "thing.ready").exists()
