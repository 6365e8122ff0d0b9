"""The demo's story: a good release under traffic, then a bad one, and what was measured."""

import asyncio
import os
import time
from pathlib import Path

from rich.rule import Rule

from cli.client import ApiClient
from cli.context import stack_target
from cli.demo import build, gate, readback, setting
from cli.demo.report import Report
from cli.demo.rollout import Course, deploy
from cli.demo.sender import Sender, traffic
from cli.session import console, token_cache
from cli.supervisor import announce, start_detached
from domain.roles import Role
from runtime.embedded.directory import StackDirectory
from runtime.embedded.stack import end, open_directory, read_choices
from runtime.embedded.state import load

NODES = 10
OLD, GOOD, BAD = "1.0.0", "2.0.0", "3.0.0"
BROKEN = 1


def tell(directory: Path, *, leave: bool) -> int:
    """Tell it on the stack of a directory, stopped afterwards with `leave`; the exit code."""
    began = time.monotonic()
    stack = open_directory(directory)
    try:
        report = _tell(stack, began)
    finally:
        if leave:
            asyncio.run(end(stack))
    path = stack.root / "demo-report.json"
    path.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _conclude(report, path, left_open=not leave)
    return BROKEN if report.shortfalls else 0


def _tell(stack: StackDirectory, began: float) -> Report:
    _headline("The stack: PostgreSQL, Temporal, API, worker, ten agents")
    _bring_up(stack)
    admin_target = stack_target(stack.client)
    with ApiClient(admin_target, cache=token_cache()) as admin:
        setting.clear_lane(admin)
        people = {
            name: setting.user(admin, stack, name, role)
            for name, role in ((setting.DEPLOYER, Role.DEPLOYER), (setting.APPROVER, Role.APPROVER))
        }
    with (
        ApiClient(admin_target, cache=token_cache()) as admin,
        ApiClient(people[setting.DEPLOYER], cache=token_cache()) as deployer,
        ApiClient(people[setting.APPROVER], cache=token_cache()) as approver,
    ):
        releases = setting.push_releases(deployer, stack, build.trees(stack, (OLD, GOOD, BAD)))
        console.print(f"built, signed, pushed: {', '.join(str(release) for release in releases.values())}")

        _headline(f"{setting.MODULE} {OLD}: a direct rollout to all nodes")
        setting.set_policy(admin, setting.SETTING_UP)
        deploy(deployer, OLD, expected=0)
        setting.set_policy(admin, setting.POLICY)
        endpoints = readback.endpoints(deployer)
        with traffic(endpoints, stack.root / "demo") as sender:
            sender.wait_for(len(endpoints))
            console.print(f"traffic runs through all {len(endpoints)} nodes")
            console.print(
                f"for {setting.HISTORY:.0f} s the agents record how {OLD} behaves: the judge needs it"
            )
            time.sleep(setting.HISTORY)

            _headline(f"{setting.MODULE} {GOOD}: a canary rollout with an approval, under traffic")
            good = deploy(deployer, GOOD, expected=0, attend=gate.Attendant(approver))

            _headline(f"{setting.MODULE} {BAD}: slower and failing some requests")
            bad = deploy(deployer, BAD, expected=2, attend=gate.Attendant(approver))
            verified = readback.verified(deployer, releases[GOOD], since=bad.ended)
            return _report(
                sender,
                good,
                bad,
                nodes=len(endpoints),
                verified=verified,
                began=began,
                urls={
                    "api": f"{admin_target.url}/api/v1/docs",
                    "console": admin_target.temporal_ui_url or "",
                    "good_rollout": good.console,
                    "bad_rollout": bad.console,
                },
            )


def _bring_up(stack: StackDirectory) -> None:
    chosen = read_choices(stack) if load(stack.state).supervised else start_detached(stack, nodes=NODES)
    announce(stack, chosen)


def _report(
    sender: Sender,
    good: Course,
    bad: Course,
    *,
    nodes: int,
    verified: list[str],
    began: float,
    urls: dict[str, str],
) -> Report:
    tally = sender.tally()
    reached = dict.fromkeys((*bad.touched, *tally.nodes_serving(BAD)))
    return Report(
        requests=tally.requests,
        requests_during_good_rollout=tally.requests_within(good.began, good.ended),
        failed_during_good_rollout=len(tally.failures_within(good.began, good.ended)),
        bad_release_nodes=len(reached),
        first_wave_nodes=bad.first_wave,
        detection_seconds=round(bad.detection_seconds, 1),
        rollback_verified=bad.exit_code == 2,
        nodes=nodes,
        nodes_verified=len(verified),
        total_seconds=round(time.monotonic() - began, 1),
        urls=urls,
    )


def _headline(words: str) -> None:
    console.print()
    console.print(Rule(words, align="left"))


def _conclude(report: Report, path: Path, *, left_open: bool) -> None:
    _headline("What was measured")
    good, bad = report.failed_during_good_rollout, report.bad_release_nodes
    figures = {
        "requests": f"{report.requests}, {report.requests_during_good_rollout} during the good rollout",
        "failed in good rollout": str(good),
        "bad release": f"on {bad} of {report.nodes} nodes, caught in {report.detection_seconds} s",
        "read back on the nodes": f"{report.nodes_verified} of {report.nodes} run {GOOD}",
        "total": f"{report.total_seconds} s",
        "report": str(path),
    }
    for name, figure in figures.items():
        console.print(f"{name:<23} {figure}")
    for shortfall in report.shortfalls:
        console.print(f"✖ {shortfall}", style="bold red")
    if left_open:
        for name, url in report.urls.items():
            console.print(f"{name:<23} {url}")
        console.print(f"stop it with: hotswap down --dir {os.path.relpath(path.parent)}")
