"""Kind process: hand-over under traffic, restart, readiness, crashes, read-back, samples."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from agent.drivers import logs
from domain.errors import Conflict, ModuleNotReady
from domain.readback import mismatch
from domain.wire import Action, ModuleState
from tests.agent.nodes import Node, Releases, Traffic, ask, running, until, until_report


async def test_the_program_finds_what_it_was_promised(node: Node, releases: Releases) -> None:
    one = releases.program("1.0.0")
    report = (await node.install(one)).report
    status, body = await ask(report.endpoints["http"])
    assert (status, body) == (200, f"1.0.0 {report.process.pid}")
    environment = Path(f"/proc/{report.process.pid}/environ").read_bytes().split(b"\0")
    named = dict(entry.decode().split("=", 1) for entry in environment if entry)
    assert named["LISTEN_PID"] == str(report.process.pid)
    assert named["LISTEN_FDNAMES"] == "http"
    assert named["HOTSWAP_RELEASE"] == str(node.slot(one))
    assert named["HOTSWAP_NODE"] == "node-1"
    assert not [name for name in named if name.startswith("PYTEST")]
    assert os.getsid(report.process.pid) == report.process.pid


async def test_the_report_is_read_from_the_kernel(node: Node, releases: Releases) -> None:
    one = releases.program("1.0.0")
    report = (await node.install(one)).report
    process = report.process
    assert report.state is ModuleState.RUNNING
    assert report.healthy is True
    assert process.release_directory == str(node.slot(one).resolve())
    assert process.release_tree == one.ref.tree
    assert process.executable == str(Path(f"/proc/{process.pid}/exe").readlink())
    assert process.started == int(Path(f"/proc/{process.pid}/stat").read_text().split()[21])
    assert mismatch(report, one.ref) is None
    assert (await node.client.report(node.address)).modules == (report,)


async def test_hand_over_loses_no_request(node: Node, releases: Releases) -> None:
    one, two = releases.program("1.0.0"), releases.program("2.0.0")
    first = (await node.install(one)).report
    await node.stage(two)
    async with Traffic(first.endpoints["http"]) as traffic:
        for release, action in ((two, Action.ACTIVATE), (one, Action.REVERT), (two, Action.REVERT)):
            report = (await node.order(action, release)).report
            assert report.endpoints == first.endpoints
            await traffic.hears(release.ref.version, 50)
            assert running(node.directory) == [report.process.pid]
    assert traffic.failures == []
    assert min(traffic.answers.values()) > 50


async def test_a_release_that_never_gets_ready_leaves_the_old_one_untouched(
    node: Node, releases: Releases
) -> None:
    one, bad = releases.program("1.0.0"), releases.program("2.0.0", "hang", start_timeout=0.5)
    before = (await node.install(one)).report
    await node.stage(bad)
    async with Traffic(before.endpoints["http"]) as traffic:
        with pytest.raises(ModuleNotReady, match=r"not ready after 0.5 s(.|\n)*never gets ready"):
            await node.order(Action.ACTIVATE, bad)
    after = await node.module()
    assert traffic.failures == []
    assert after.process == before.process
    assert after.current == one.ref
    assert running(node.directory) == [before.process.pid]
    assert mismatch(after, one.ref) is None


async def test_renewing_puts_a_fresh_process_of_the_same_release_in_its_place(
    node: Node, releases: Releases
) -> None:
    one, two = releases.program("1.0.0"), releases.program("2.0.0")
    before = (await node.install(one)).report
    await node.stage(two)
    operation = node.operation(Action.RENEW, one)
    async with Traffic(before.endpoints["http"]) as traffic:
        await traffic.hears("1.0.0", 20)
        renewed = await node.client.operate(node.address, operation)
        await traffic.hears("1.0.0", 20)
    after = renewed.report
    assert (renewed.ok, renewed.changed, traffic.failures) == (True, True, [])
    assert mismatch(after, one.ref) is None
    assert (after.current, after.previous, after.staged) == (before.current, before.previous, two.ref)
    assert after.process.started > before.process.started
    assert running(node.directory) == [after.process.pid]
    again = await node.client.operate(node.address, operation)
    assert (again.replayed, (await node.module()).process) == (True, after.process)
    samples = (await node.client.samples(node.address, "echo", since=0.0)).samples
    assert all(sample.age is not None for sample in samples)
    with pytest.raises(Conflict, match="not current"):
        await node.order(Action.RENEW, two)


async def test_a_renewal_that_fails_leaves_what_ran(node: Node, releases: Releases) -> None:
    one = releases.program("1.0.0", "once")
    before = (await node.install(one)).report
    with pytest.raises(ModuleNotReady):
        await node.order(Action.RENEW, one)
    after = await node.module()
    assert after.process == before.process
    assert mismatch(after, one.ref) is None


async def test_renewing_what_binds_its_own_port_restarts_it(node: Node, releases: Releases) -> None:
    one = releases.program("1.0.0", swap="restart", ready="probe")
    before = (await node.install(one)).report
    after = (await node.order(Action.RENEW, one)).report
    assert mismatch(after, one.ref) is None
    assert after.endpoints == before.endpoints
    assert running(node.directory) == [after.process.pid] != [before.process.pid]


async def test_restart_stops_the_old_one_first_and_keeps_the_port(node: Node, releases: Releases) -> None:
    one = releases.program("1.0.0", swap="restart", ready="probe")
    two = releases.program("2.0.0", swap="restart", ready="probe")
    first = (await node.install(one)).report
    second = (await node.install(two)).report
    assert second.endpoints == first.endpoints
    assert (await ask(second.endpoints["http"]))[1] == f"2.0.0 {second.process.pid}"
    assert running(node.directory) == [second.process.pid]
    back = (await node.order(Action.REVERT, one)).report
    assert mismatch(back, one.ref) is None


async def test_a_restart_that_fails_starts_the_old_one_again(node: Node, releases: Releases) -> None:
    one = releases.program("1.0.0", swap="restart", ready="probe")
    bad = releases.program("2.0.0", "crash", swap="restart", ready="probe")
    before = (await node.install(one)).report
    await node.stage(bad)
    with pytest.raises(ModuleNotReady, match="exited with status 1"):
        await node.order(Action.ACTIVATE, bad)
    after = await node.module()
    assert mismatch(after, one.ref) is None
    assert after.process.pid != before.process.pid
    assert (await ask(after.endpoints["http"]))[0] == 200


async def test_changing_between_hand_over_and_restart(node: Node, releases: Releases) -> None:
    one, two = releases.program("1.0.0"), releases.program("2.0.0", swap="restart", ready="probe")
    first = (await node.install(one)).report
    second = (await node.install(two)).report
    third = (await node.order(Action.REVERT, one)).report
    assert first.endpoints == second.endpoints == third.endpoints
    assert (await ask(third.endpoints["http"]))[1] == f"1.0.0 {third.process.pid}"


async def test_a_crashed_process_is_started_again_and_counted(node: Node, releases: Releases) -> None:
    first = (await node.install(releases.program("1.0.0"))).report
    os.kill(first.process.pid, signal.SIGKILL)
    report = await until_report(
        node, lambda seen: seen.process is not None and seen.process.pid != first.process.pid
    )
    assert report.process.restarts == 1
    assert report.problems == ()
    # Connections wait in the listening socket's queue meanwhile: the agent holds it.
    assert (await ask(report.endpoints["http"]))[0] == 200


async def test_a_crash_loop_backs_off_and_is_reported(
    node: Node, releases: Releases, caplog: pytest.LogCaptureFixture
) -> None:
    one = releases.program("1.0.0", "die-soon")
    await node.install(one)
    report = await until_report(node, lambda seen: seen.state is ModuleState.FAILED and bool(seen.problems))
    assert "exited with status 7" in report.problems[0]
    assert mismatch(report, one.ref) == "echo@1.0.0 is installed but failed"
    await until(lambda: "restart 3" in caplog.text)
    pauses = [record.getMessage().rpartition("; ")[2] for record in caplog.records]
    assert pauses[:3] == ["restart 1 in 0.5 s", "restart 2 in 1 s", "restart 3 in 2 s"]
    assert (
        mismatch((await node.install(releases.program("2.0.0"))).report, releases.program("2.0.0").ref)
        is None
    )


async def test_an_activation_replaces_a_sick_process(node: Node, releases: Releases) -> None:
    one = releases.program("1.0.0")
    before = (await node.install(one)).report
    sick = node.module_directory("echo") / "data" / "sick"
    sick.touch()
    report = await node.module()
    assert report.healthy is False
    assert mismatch(report, one.ref) == "echo@1.0.0 runs but its health probe fails"
    sick.unlink()
    again = await node.order(Action.ACTIVATE, one)
    assert (again.changed, again.report.process.pid) == (False, before.process.pid)
    sick.touch()
    assert (await node.order(Action.ACTIVATE, one)).report.process.pid != before.process.pid


async def test_the_report_says_when_pointer_and_process_differ(node: Node, releases: Releases) -> None:
    one, two = releases.program("1.0.0"), releases.program("2.0.0")
    await node.install(one)
    report = (await node.install(two)).report
    pointer = node.module_directory("echo") / "current"
    pointer.unlink()
    pointer.symlink_to(f"releases/{node.slot(one).name}")
    lying = await node.module()
    assert lying.problems == (
        f"the pointer says 1.0.0, process {report.process.pid} runs from {node.slot(two)}",
    )
    assert lying.process.release_tree == two.ref.tree
    assert mismatch(lying, one.ref) is not None
    assert mismatch(lying, two.ref) is not None


async def test_children_of_a_program_do_not_outlive_it(node: Node, releases: Releases) -> None:
    report = (await node.install(releases.program("1.0.0", "with-child"))).report
    assert len(running(node.directory)) == 2
    os.kill(report.process.pid, signal.SIGKILL)
    report = await until_report(
        node, lambda seen: seen.process is not None and seen.process.pid != report.process.pid
    )
    assert len(running(node.directory)) == 2
    await node.order(Action.REVERT, None, module="echo")
    assert running(node.directory) == []


async def test_samples_are_of_one_release_and_grow(node: Node, releases: Releases) -> None:
    report = (await node.install(releases.program("1.0.0"))).report
    started = time.time()
    for _ in range(5):
        await ask(report.endpoints["http"])
    samples = ()
    while len([sample for sample in samples if sample.requests == 7]) < 3:
        assert time.time() < started + 10, samples
        await asyncio.sleep(0.05)
        samples = (await node.client.samples(node.address, "echo", started)).samples
    last = samples[-1]
    assert last.version == "1.0.0"
    assert last.instance == f"{report.process.pid}-{report.process.started}"
    assert last.errors == 0
    assert last.latency is not None
    assert (last.latency.bounds, last.latency.count) == ((0.1,), 5.0)
    assert last.memory_bytes > 1_000_000
    assert last.cpu_seconds > 0
    assert any(sample.probe_ok and sample.probe_seconds > 0 for sample in samples)
    newer = (await node.client.samples(node.address, "echo", last.at)).samples
    assert all(sample.at > last.at for sample in newer)

    await node.install(releases.program("2.0.0"))
    await asyncio.sleep(0.3)
    after = (await node.client.samples(node.address, "echo", started)).samples
    assert [sample.at for sample in after] == sorted(sample.at for sample in after)
    versions = [sample.version for sample in after]
    assert versions == sorted(versions)
    assert versions[-1] == "2.0.0"


async def test_a_log_is_bounded_while_the_program_writes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LIMIT", 1000)
    log = tmp_path / "1.0.0-abc.log"
    with log.open("ab", buffering=0) as program:
        for number in range(100):
            program.write(b"%060d\n" % number)
            logs.rotate(log)
    assert log.stat().st_size <= 1061
    assert log.with_suffix(".log.old").stat().st_size <= 1061
    assert logs.tail(log, 0).endswith("99")
