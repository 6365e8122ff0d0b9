"""kill -9 of a real agent: at any instant, the node ends up with exactly one release and says which."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.errors import HotswapError
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


async def settled(process: AgentProcess) -> Node:
    """Start the agent again and wait until it has brought the module into order."""
    node = await process.start()
    # An operation waits for that: this one is new, so that nothing is replayed.
    await node.order(Action.VERIFY, None, module="echo")
    return node


async def check_one_release(node: Node, candidates: list[Release]) -> Release:
    """Exactly one of the releases runs, the report says which, and the disk agrees."""
    report = await until_report(node, lambda seen: seen.state is ModuleState.RUNNING)
    release = next(each for each in candidates if each.ref == report.current)
    assert mismatch(report, release.ref) is None, report
    assert running(node.directory) == [report.process.pid]
    status, body = await ask(report.endpoints["http"])
    assert (status, body) == (200, f"{release.ref.version} {report.process.pid}")
    return release


async def cut_short(process: AgentProcess, node: Node, operation: object, when: Callable[[], object]) -> None:
    """Order an operation, kill the agent when something is seen from outside."""
    ordered = asyncio.create_task(node.client.operate(node.address, operation, deadline=60))
    await asyncio.sleep(0)
    await until(when)
    process.kill()
    ordered.cancel()
    with contextlib.suppress(asyncio.CancelledError, HotswapError):
        await ordered


def lines(node: Node, kind: str, since: int) -> int:
    return sum(line.kind == kind for line in node.journal()[since:])


MILESTONES = {
    "the intent is written": lambda node, target, since: lines(node, "begin", since) == 1,
    "the new process is recorded": lambda node, target, since: lines(node, "note", since) == 1,
    "the new process is there": lambda node, target, since: len(running(node.directory)) == 2,
    "the new process is ready": lambda node, target, since: lines(node, "note", since) == 2,
    "the pointer has moved": lambda node, target, since: (
        (node.module_directory("echo") / "current").readlink().name == node.slot(target).name
    ),
    "the outcome is written": lambda node, target, since: lines(node, "end", since) == 1,
}


# With a restart there are never two processes, so one milestone is a hand-over's only.
CUTS = [
    (swap, milestone)
    for swap in ("handover", "restart")
    for milestone in MILESTONES
    if (swap, milestone) != ("restart", "the new process is there")
]


@pytest.mark.parametrize(("swap", "milestone"), CUTS)
async def test_killed_at_a_milestone(
    process: AgentProcess, releases: Releases, milestone: str, swap: str
) -> None:
    ready = "notify" if swap == "handover" else "probe"
    one = releases.program("1.0.0", swap=swap, ready=ready)
    two = releases.program("2.0.0", swap=swap, ready=ready)
    node = await process.start()
    await node.install(one)
    await node.stage(two)
    since = len(node.journal())
    operation = node.operation(Action.ACTIVATE, two)
    await cut_short(process, node, operation, lambda: MILESTONES[milestone](node, two, since))
    await settled(process)
    await check_one_release(node, [one, two])
    # The control plane asks again with the same id, and it is applied exactly once.
    result = await node.client.operate(node.address, operation)
    assert mismatch(result.report, two.ref) is None
    assert await check_one_release(node, [one, two]) is two
    ends = [line for line in node.journal() if line.kind == "end" and line.order.id == operation.id]
    assert len(ends) == 1
    assert (await node.order(Action.REVERT, one)).ok


async def test_killed_while_two_processes_of_one_release_run(
    process: AgentProcess, releases: Releases
) -> None:
    ready = MILESTONES["the new process is ready"]
    one = releases.program("1.0.0")
    node = await process.start()
    before = (await node.install(one)).report.process
    since = len(node.journal())
    operation = node.operation(Action.RENEW, one)
    await cut_short(process, node, operation, lambda: ready(node, one, since))
    await settled(process)
    await check_one_release(node, [one])
    # The pointer does not tell whether it was through, so it is done anew.
    result = await node.client.operate(node.address, operation)
    assert (result.ok, result.replayed) == (True, False)
    assert result.report.process.started > before.started
    await check_one_release(node, [one])


async def test_killed_at_random_moments(process: AgentProcess, releases: Releases) -> None:
    dice = random.Random(20251120)
    one, two = releases.program("1.0.0"), releases.program("2.0.0")
    node = await process.start()
    endpoint = (await node.install(one)).report.endpoints["http"]
    running_now, other = one, two
    async with Traffic(endpoint, clients=1) as traffic:
        for _ in range(6):
            await node.stage(other)
            operation = node.operation(Action.ACTIVATE, other)
            ordered = asyncio.create_task(node.client.operate(node.address, operation, deadline=60))
            await asyncio.sleep(dice.uniform(0, 0.25))
            process.kill()
            await process.start()
            # The client of the control plane has never given up: it retries with the same id.
            assert mismatch((await ordered).report, other.ref) is None
            assert await check_one_release(node, [one, two]) is other
            running_now, other = other, running_now
    assert traffic.failures == []
    assert sum(traffic.answers.values()) > 100
    activations = [
        entry for entry in await node.client.journal(node.address) if entry.action is Action.ACTIVATE
    ]
    assert len({entry.id for entry in activations}) == len(activations) == 7


async def test_killed_while_staging_removing_or_retiring(process: AgentProcess, releases: Releases) -> None:
    dice = random.Random(7)
    one, two = releases.files("1.0.0"), releases.files("2.0.0")
    node = await process.start()
    await node.install(one)
    orders = [(Action.STAGE, two), (Action.RETIRE, two), (Action.STAGE, two), (Action.REVERT, None)]
    for action, release in orders:
        operation = node.operation(action, release, module="site")
        call = (
            node.client.stage(node.address, operation, release.bundle, deadline=60)
            if action is Action.STAGE
            else node.client.operate(node.address, operation, deadline=60)
        )
        ordered = asyncio.create_task(call)
        await asyncio.sleep(dice.uniform(0, 0.03))
        process.kill()
        await process.start()
        result = await ordered
        assert result.ok
        left = {path.name for path in (node.module_directory("site") / "releases").iterdir()}
        expected = {
            Action.STAGE: {node.slot(one).name, node.slot(two).name},
            Action.RETIRE: {node.slot(one).name},
            Action.REVERT: set(),
        }[action]
        assert left == expected
    assert mismatch(await node.module("site"), None) is None


async def test_a_restarted_agent_adopts_what_runs(process: AgentProcess, releases: Releases) -> None:
    one, two = releases.program("1.0.0"), releases.program("2.0.0")
    node = await process.start()
    before = (await node.install(one)).report
    await node.stage(two)
    async with Traffic(before.endpoints["http"]) as traffic:
        process.kill()
        await traffic.hears("1.0.0", 20)
        await settled(process)
        after = await node.module()
        assert after.process == before.process
        assert after.endpoints == before.endpoints
        assert after.staged == two.ref
        assert mismatch(after, one.ref) is None
        # It has the listening socket again: the next hand-over loses nothing either.
        activated = await node.order(Action.ACTIVATE, two)
        await traffic.hears("2.0.0", 20)
    assert traffic.failures == []
    assert activated.report.endpoints == before.endpoints
    # And it watches the process although another one was its parent.
    os.kill(activated.report.process.pid, signal.SIGKILL)
    await until_report(node, lambda seen: seen.process is not None and seen.process.restarts == 1)


async def test_an_adopted_process_is_watched(process: AgentProcess, releases: Releases) -> None:
    node = await process.start()
    before = (await node.install(releases.program("1.0.0"))).report
    process.kill()
    await settled(process)
    os.kill(before.process.pid, signal.SIGKILL)
    after = await until_report(node, lambda seen: seen.process is not None and seen.process != before.process)
    assert after.process.restarts == 1
    assert after.endpoints == before.endpoints
    assert (await ask(after.endpoints["http"]))[0] == 200


async def test_a_module_that_died_with_its_agent_is_started(
    process: AgentProcess, releases: Releases
) -> None:
    one = releases.program("1.0.0")
    node = await process.start()
    before = (await node.install(one)).report
    process.kill()
    os.kill(before.process.pid, signal.SIGKILL)
    await until(lambda: running(node.directory) == [])
    await process.start()
    after = await until_report(node, lambda seen: seen.state is ModuleState.RUNNING)
    assert mismatch(after, one.ref) is None
    assert after.endpoints == before.endpoints


async def test_a_socket_that_is_lost_is_reported(process: AgentProcess, releases: Releases) -> None:
    node = await process.start()
    before = (await node.install(releases.program("1.0.0"))).report
    process.kill()
    os.kill(before.process.pid, signal.SIGUSR1)  # the program closes its listening socket
    inode = (
        next(line for line in reversed(node.journal()) if line.kind == "note")
        .record.processes[0]
        .sockets["http"]
    )
    held = Path(f"/proc/{before.process.pid}/fd")
    await until(lambda: f"socket:[{inode}]" not in [str(entry.readlink()) for entry in held.iterdir()])
    await settled(process)
    report = await node.module()
    assert report.process == before.process
    assert report.problems == ("the listening socket http could not be recovered from the running process",)


async def test_a_torn_journal_does_not_stop_the_start(process: AgentProcess, releases: Releases) -> None:
    one = releases.program("1.0.0")
    node = await process.start()
    before = (await node.install(one)).report
    process.kill()
    with (node.directory / "journal.jsonl").open("ab") as file:
        file.write(b'{"kind":"end","order":{"id":"to')
    await settled(process)
    assert (await node.module()).process == before.process
    assert (await node.stage(releases.program("2.0.0"))).ok


@pytest.mark.finding("X6")
async def test_results_are_replayed_after_a_restart(process: AgentProcess, releases: Releases) -> None:
    one = releases.program("1.0.0")
    node = await process.start()
    await node.stage(one)
    operation = node.operation(Action.ACTIVATE, one)
    first = await node.client.operate(node.address, operation)
    node.fence = 3
    await node.order(Action.VERIFY, one)
    process.kill()
    await process.start()
    assert await node.client.operate(node.address, operation) == first.model_copy(update={"replayed": True})
    assert (await node.module()).fence == 3


async def test_sigterm_leaves_modules_running(process: AgentProcess, releases: Releases) -> None:
    node = await process.start()
    before = (await node.install(releases.program("1.0.0"))).report
    assert process.terminate() == 0
    assert running(node.directory) == [before.process.pid]
    await settled(process)
    assert (await node.module()).process == before.process


async def test_a_crash_during_a_reload_command(
    process: AgentProcess, releases: Releases, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    one = releases.files("1.0.0")
    two = releases.files(
        "2.0.0",
        reload=["sh", "-c", f"echo run >> {tmp_path}/runs; while [ ! -e {gate} ]; do sleep 0.02; done"],
    )
    node = await process.start()
    await node.install(one)
    await node.stage(two)
    operation = node.operation(Action.ACTIVATE, two)
    await cut_short(process, node, operation, (tmp_path / "runs").exists)
    gate.touch()
    await process.start()
    result = await node.client.operate(node.address, operation)
    assert result.replayed
    assert mismatch(result.report, two.ref) is None
    assert (tmp_path / "runs").read_text() == "run\nrun\n"
