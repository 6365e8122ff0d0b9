"""A second instance beside the current one: private until it is let in, and kept for an instant return."""

import asyncio
import os
import signal
import time

import pytest

from agent.entrance import Entrance
from domain.errors import (
    Conflict,
    HotswapError,
    ModuleNotReady,
    NotStaged,
    ReadBackMismatch,
    SmokeFailed,
)
from domain.readback import mismatch
from domain.wire import Action, ModuleState
from tests.agent.nodes import (
    AgentProcess,
    Node,
    Release,
    Releases,
    Traffic,
    ask,
    running,
    until,
    until_report,
)

HTTP_SMOKE = '[smoke]\nhttp = [{ socket = "http", path = "/", contains = "2.0.0" }]'
COMMAND_SMOKE = """[smoke]
timeout = 5
command = ["sh", "-c", "test {port:http} -gt 0 && test {address} = 127.0.0.1 && test -e program.py"]
"""


async def beside(node: Node, blue: Release, green: Release) -> str:
    """Blue is current, green runs beside; the public endpoint."""
    endpoint = (await node.install(blue)).report.endpoints["http"]
    await node.stage(green)
    await node.order(Action.START, green)
    return endpoint


async def version_at(endpoint: str) -> str:
    return (await ask(endpoint))[1].split()[0]


async def test_green_runs_beside_and_only_the_private_way_leads_to_it(node: Node, releases: Releases) -> None:
    blue, green = releases.program("1.0.0"), releases.program("2.0.0")
    endpoint = await beside(node, blue, green)
    report = await node.module()
    assert (report.current, report.staged, report.beside.release) == (blue.ref, green.ref, green.ref)
    assert report.beside.process.release_tree == green.ref.tree
    assert report.beside.healthy is True
    assert (report.problems, len(running(node.directory))) == ((), 2)
    assert {await version_at(endpoint) for _ in range(50)} == {"1.0.0"}
    assert {await version_at(report.beside.endpoints["http"]) for _ in range(50)} == {"2.0.0"}
    again = await node.order(Action.START, green)
    assert (again.changed, again.report.beside.process) == (False, report.beside.process)


async def test_the_switch_and_the_return_take_no_start_and_lose_no_request(
    node: Node, releases: Releases
) -> None:
    blue, green = releases.program("1.0.0"), releases.program("2.0.0")
    endpoint = await beside(node, blue, green)
    before = await node.module()
    async with Traffic(endpoint) as traffic:
        await traffic.hears("1.0.0", 50)
        switched = (await node.order(Action.ACTIVATE, green, keep=True)).report
        assert await version_at(endpoint) == "2.0.0"
        await traffic.hears("2.0.0", 50)
        assert switched.process.pid == before.beside.process.pid
        assert (switched.beside.release, switched.beside.process.pid) == (blue.ref, before.process.pid)
        assert mismatch(switched, green.ref, beside=True) is None
        assert "runs beside" in mismatch(switched, green.ref)
        back = (await node.order(Action.REVERT, blue)).report
        await traffic.hears("1.0.0", 50)
    assert traffic.failures == []
    assert back.process == before.process
    assert back.beside is None
    assert mismatch(back, blue.ref) is None
    assert running(node.directory) == [before.process.pid]


async def test_settling_ends_blue_and_the_next_hand_overs_go_on(node: Node, releases: Releases) -> None:
    blue, green, next_one = (releases.program(f"{major}.0.0") for major in (1, 2, 3))
    endpoint = await beside(node, blue, green)
    async with Traffic(endpoint) as traffic:
        await node.order(Action.ACTIVATE, green, keep=True)
        settled = await node.order(Action.SETTLE, green)
        assert (settled.changed, settled.report.beside, settled.report.previous) == (True, None, blue.ref)
        assert (await node.order(Action.SETTLE, green)).changed is False
        for release in (next_one, blue):
            await node.stage(release)
            await node.order(Action.START, release)
            assert {await version_at(endpoint) for _ in range(20)} != {release.ref.version}
            report = (await node.order(Action.ACTIVATE, release, keep=True)).report
            assert {await version_at(endpoint) for _ in range(20)} == {release.ref.version}
            await node.order(Action.SETTLE, release)
            assert running(node.directory) == [report.process.pid]
        await node.install(green)
        await traffic.hears("2.0.0", 20)
    assert traffic.failures == []


async def test_what_is_current_already_goes_through_the_same_steps_untouched(
    node: Node, releases: Releases
) -> None:
    """As for a node that was switched in an attempt before, and whose blue nobody has ended."""
    blue, green = releases.program("1.0.0"), releases.program("2.0.0", smoke=HTTP_SMOKE)
    await beside(node, blue, green)
    await node.order(Action.ACTIVATE, green, keep=True)
    before = await node.module()
    assert before.beside.release == blue.ref
    for action, keep in ((Action.START, False), (Action.SMOKE, False), (Action.ACTIVATE, True)):
        result = await node.order(action, green, keep=keep)
        assert (result.changed, result.report.process) == (False, before.process)
    settled = (await node.order(Action.SETTLE, green)).report
    assert mismatch(settled, green.ref) is None
    assert running(node.directory) == [before.process.pid]


async def test_reverting_before_the_switch_ends_green(node: Node, releases: Releases) -> None:
    blue, green = releases.program("1.0.0"), releases.program("2.0.0")
    endpoint = await beside(node, blue, green)
    before = await node.module()
    async with Traffic(endpoint) as traffic:
        back = await node.order(Action.REVERT, blue)
        await traffic.hears("1.0.0", 20)
    assert (traffic.failures, set(traffic.answers)) == ([], {"1.0.0"})
    assert (back.changed, back.report.beside, back.report.process) == (True, None, before.process)
    assert mismatch(back.report, blue.ref) is None
    assert running(node.directory) == [before.process.pid]


async def test_a_first_install_lets_nobody_in_before_the_switch(node: Node, releases: Releases) -> None:
    green = releases.program("2.0.0")
    await node.stage(green)
    report = (await node.order(Action.START, green)).report
    assert (report.state, report.current) == (ModuleState.ABSENT, None)
    assert await version_at(report.beside.endpoints["http"]) == "2.0.0"
    switched = (await node.order(Action.ACTIVATE, green, keep=True)).report
    assert mismatch(switched, green.ref) is None
    assert await version_at(switched.endpoints["http"]) == "2.0.0"
    await node.order(Action.REVERT, None, module="echo")
    await node.stage(green)
    await node.order(Action.START, green)
    await node.order(Action.REVERT, None, module="echo")
    assert mismatch(await node.module(), None) is None
    assert running(node.directory) == []


@pytest.mark.parametrize(
    ("smoke", "broken", "words"),
    [
        (HTTP_SMOKE, HTTP_SMOKE.replace("2.0.0", "9.9.9"), "answers without '9.9.9'"),
        (HTTP_SMOKE, HTTP_SMOKE.replace("http =", 'http = [{ socket = "http", status = 404 }] #'), "not 404"),
        (COMMAND_SMOKE, COMMAND_SMOKE.replace("-gt 0", "-gt 99999"), "exited with status 1"),
        (
            COMMAND_SMOKE,
            COMMAND_SMOKE.replace("test {port:http} -gt 0", "sleep 30").replace("= 5", "= 0.2"),
            "in time",
        ),
    ],
)
async def test_the_smoke_test_is_the_manifests(
    node: Node, releases: Releases, smoke: str, broken: str, words: str
) -> None:
    await beside(node, releases.program("1.0.0"), releases.program("2.0.0", smoke=smoke))
    assert (await node.order(Action.SMOKE, releases.program("2.0.0", smoke=smoke))).ok
    bad = releases.program("2.1.0", smoke=broken)
    await node.stage(bad)
    await node.order(Action.START, bad)
    with pytest.raises(SmokeFailed, match=words):
        await node.order(Action.SMOKE, bad)
    assert (await node.module()).beside.release == bad.ref


async def test_a_green_that_ended_or_is_sick_is_not_let_in(node: Node, releases: Releases) -> None:
    blue, green = releases.program("1.0.0"), releases.program("2.0.0")
    endpoint = await beside(node, blue, green)
    os.kill((await node.module()).beside.process.pid, signal.SIGKILL)
    await until_report(node, lambda seen: seen.beside.process is None)
    with pytest.raises(SmokeFailed, match="SIGKILL"):
        await node.order(Action.SMOKE, green)
    with pytest.raises(ModuleNotReady, match="has ended or is not healthy"):
        await node.order(Action.ACTIVATE, green, keep=True)
    assert await version_at(endpoint) == "1.0.0"
    back = (await node.order(Action.REVERT, blue)).report
    assert mismatch(back, blue.ref) is None


async def test_a_return_to_a_blue_that_has_died_starts_it_again(node: Node, releases: Releases) -> None:
    blue, green = releases.program("1.0.0"), releases.program("2.0.0")
    endpoint = await beside(node, blue, green)
    old = (await node.module()).process
    await node.order(Action.ACTIVATE, green, keep=True)
    os.kill(old.pid, signal.SIGKILL)
    async with Traffic(endpoint) as traffic:
        back = (await node.order(Action.REVERT, blue)).report
        await traffic.hears("1.0.0", 20)
    assert traffic.failures == []
    assert back.process.pid != old.pid
    assert mismatch(back, blue.ref) is None


async def test_a_return_to_a_blue_that_was_staged_again_starts_what_is_there_now(
    node: Node, releases: Releases
) -> None:
    """What ran beside until then has lost its directory: it proves nothing any more."""
    blue, green = releases.program("1.0.0"), releases.program("2.0.0")
    endpoint = await beside(node, blue, green)
    await node.order(Action.ACTIVATE, green, keep=True)
    (node.slot(blue) / "program.py").unlink()
    with pytest.raises(ReadBackMismatch):
        await node.order(Action.REVERT, blue)
    await node.stage(blue)
    async with Traffic(endpoint) as traffic:
        back = (await node.order(Action.ACTIVATE, blue)).report
        await traffic.hears("1.0.0", 20)
    assert traffic.failures == []
    assert mismatch(back, blue.ref) is None
    assert running(node.directory) == [back.process.pid]


async def test_a_green_that_never_gets_ready_leaves_nothing(node: Node, releases: Releases) -> None:
    blue, green = releases.program("1.0.0"), releases.program("2.0.0", "hang", start_timeout=0.4)
    before = (await node.install(blue)).report
    await node.stage(green)
    with pytest.raises(ModuleNotReady, match="never gets ready"):
        await node.order(Action.START, green)
    after = await node.module()
    assert (after.process, after.beside) == (before.process, None)
    assert mismatch(after, blue.ref) is None
    assert running(node.directory) == [before.process.pid]
    assert (await node.install(releases.program("3.0.0"))).ok


async def test_what_cannot_run_beside_is_refused(node: Node, releases: Releases) -> None:
    blue, green = releases.program("1.0.0"), releases.program("2.0.0", swap="restart", ready="probe")
    await node.install(blue)
    with pytest.raises(NotStaged):
        await node.order(Action.START, green)
    with pytest.raises(Conflict, match="not current"):
        await node.order(Action.SETTLE, green)
    await node.stage(green)
    with pytest.raises(Conflict, match="binds its own ports"):
        await node.order(Action.START, green)
    await node.order(Action.ACTIVATE, green)
    await node.stage(blue)
    with pytest.raises(Conflict, match="nothing can run beside it"):
        await node.order(Action.START, blue)
    assert mismatch(await node.module(), green.ref) is None


async def test_files_lie_staged_beside_and_are_checked_by_a_command(node: Node, releases: Releases) -> None:
    check = '[smoke]\ncommand = ["grep", "-q", "2.0.0", "index.txt"]\n'
    one, two = releases.files("1.0.0"), releases.files("2.0.0", smoke=check)
    bad = releases.files("2.1.0", smoke=check)
    await node.install(one)
    for release in (two, bad):
        await node.stage(release)
        assert (await node.order(Action.START, release)).report.current == one.ref
    with pytest.raises(SmokeFailed, match="status 1"):
        await node.order(Action.SMOKE, bad)
    await node.stage(two)
    assert (await node.order(Action.SMOKE, two)).ok
    switched = (await node.order(Action.ACTIVATE, two, keep=True)).report
    assert mismatch(switched, two.ref) is None
    assert (await node.order(Action.REVERT, one)).report.current == one.ref


async def test_samples_are_of_the_release_that_the_public_reaches(node: Node, releases: Releases) -> None:
    blue, green = releases.program("1.0.0"), releases.program("2.0.0")
    started = time.time()
    endpoint = await beside(node, blue, green)
    for _ in range(5):
        await ask(endpoint)

    async def newest() -> tuple[str, float | None]:
        samples = (await node.client.samples(node.address, "echo", started)).samples
        return (samples[-1].version, samples[-1].requests) if samples else ("", None)

    async with asyncio.timeout(10):
        while await newest() != ("1.0.0", 7):
            await asyncio.sleep(0.05)
        await node.order(Action.ACTIVATE, green, keep=True)
        await ask(endpoint)
        while await newest() != ("2.0.0", 3):
            await asyncio.sleep(0.05)


CUTS = [
    (Action.START, "at once"),
    (Action.START, "green is there"),
    (Action.START, "after the end"),
    (Action.ACTIVATE, "at once"),
    (Action.ACTIVATE, "pointer has moved"),
    (Action.ACTIVATE, "after the end"),
    (Action.REVERT, "pointer has moved"),
    (Action.SETTLE, "at once"),
]


@pytest.mark.parametrize(("action", "moment"), CUTS)
async def test_killed_at_any_instant_of_a_blue_green(
    process: AgentProcess, releases: Releases, action: Action, moment: str
) -> None:
    """kill -9, a start, the same order again: it ends as it does without the kill, and no request is lost."""
    blue, green = releases.program("1.0.0"), releases.program("2.0.0")
    node = await process.start()
    endpoint = (await node.install(blue)).report.endpoints["http"]
    await node.stage(green)
    if action is not Action.START:
        await node.order(Action.START, green)
    if action in (Action.REVERT, Action.SETTLE):
        await node.order(Action.ACTIVATE, green, keep=True)
    target = blue if action is Action.REVERT else green
    pointer = node.module_directory("echo") / "current"
    seen = {
        "at once": lambda: True,
        "green is there": lambda: len(running(node.directory)) == 2,
        "pointer has moved": lambda: pointer.readlink().name == node.slot(target).name,
        "after the end": lambda: order.done(),
    }[moment]
    operation = node.operation(action, target, keep=action is Action.ACTIVATE)
    async with Traffic(endpoint, clients=2) as traffic:
        order = asyncio.create_task(_patient(node, operation))
        await asyncio.sleep(0)
        await until(seen)
        process.kill()
        await process.start()
        result = await order
        expected = {Action.START: "1.0.0", Action.REVERT: "1.0.0"}.get(action, "2.0.0")
        await traffic.hears(expected, 20)
    assert traffic.failures == []
    assert result.ok
    current = blue if expected == "1.0.0" else green
    # An agent that has just started adopts first.
    report = await until_report(node, lambda seen: mismatch(seen, current.ref, beside=True) is None)
    assert {await version_at(endpoint) for _ in range(20)} == {expected}
    assert len(running(node.directory)) == (1 if report.beside is None else 2)
    if action in (Action.REVERT, Action.SETTLE):
        assert report.beside is None
    if action is Action.START:
        assert await version_at(report.beside.endpoints["http"]) == "2.0.0"


async def _patient(node: Node, operation: object) -> object:
    return await node.client.operate(node.address, operation, deadline=60)


async def test_an_entrance_cuts_off_who_cannot_be_led_on() -> None:
    entrance = Entrance("127.86.1.2", "127.0.0.1", {"http": 1})
    await entrance.open()
    with pytest.raises((OSError, IndexError, HotswapError)):
        await ask(entrance.endpoints["http"])
    await entrance.close()
