"""All restarted, and all lost and brought back from a backup: the same answers, and what waited goes on."""

import asyncio
import json
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from domain.deployment import Phase
from domain.errors import Conflict, Fenced
from domain.policy import EnvironmentPolicy, GateRule
from runtime.embedded import bootstrap, postgres
from runtime.embedded.backup import restore
from runtime.embedded.directory import StackDirectory
from runtime.embedded.stack import end, open_directory, read_choices
from tests.conftest import wait_for_postgres
from tests.stack.answers import ask_everything, differences
from tests.stack.running import (
    CANARY,
    DIRECT,
    GOOD,
    GREETER,
    OLD,
    PATIENCE,
    PRODUCTION,
    RunningStack,
    started,
    until,
)

pytestmark = [pytest.mark.faults_long, pytest.mark.timeout(600)]

NODES = 4
CENTRAL = ("api", "worker", "temporal", "postgres")
TRAIL = "/api/v1/audit/export"
# Nodes come up with the stack: the same releases in new processes, from where the directory lies now.
OF_PROCESSES = frozenset({"agent_started", "pid", "started", "executable", "release_directory"})
HOTSWAP = Path(sysconfig.get_path("scripts")) / "hotswap"


@dataclass(frozen=True)
class Busy:
    """A stack with something of each kind, and a rollout that waits at a gate.

    Attributes:
        waiting, queued: the deployment at the gate, and the one behind it.
        token: of the first admin.
        known, ended: ids by the name that paths give them; those whose streams end.
    """

    stack: RunningStack
    waiting: str
    queued: str
    token: str
    known: dict[str, list[str]]
    ended: dict[str, list[str]]

    def answers(self) -> dict[str, Any]:
        """Every answer, after every node has reported once more."""
        before = self.heard()
        until(lambda: all(self.heard()[name] != at for name, at in before.items()))
        return ask_everything(self.stack, self.token, self.known, self.ended)

    def heard(self) -> dict[str, str]:
        return {node["name"]: node["last_seen"] for node in self.stack.deployer.items("/nodes")}

    def on(self, stack: RunningStack) -> "Busy":
        """The same on another stack."""
        stack.releases.update(self.stack.releases)
        return replace(self, stack=stack)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    with started(tmp_path_factory.mktemp("busy"), nodes=NODES) as stack:
        yield fill(stack)


def fill(stack: RunningStack) -> Busy:
    """A promotion that has ended, a canary that waits before its second wave, one behind it, and the rest."""
    stack.push_greeter()
    direct = EnvironmentPolicy(strategy=DIRECT)
    stack.admin.put(f"/clusters/{PRODUCTION}/policy", direct.model_dump(mode="json"))
    order = {"module": GREETER, "version": OLD, "environments": [PRODUCTION]}
    promotion = stack.deployer.post("/promotions", order, key="first")["id"]
    until(lambda: stack.deployer.get(f"/promotions/{promotion}")["phase"] == "completed", PATIENCE)
    [first] = [each["id"] for each in stack.deployer.items("/deployments")]
    stack.set_policy(GateRule(name="promotion", before_wave=2))
    with stack.traffic():
        waiting = stack.order(GOOD, CANARY)
        gate = stack.gate(waiting)
    queued = stack.order(OLD, DIRECT)
    stack.admin.put("/groups/sre", {"members": ["test-approver"]})
    stack.deployer.post("/auth/keys", {"name": "ci", "scopes": ["read"], "days": 1})
    night = datetime.now(tz=UTC).replace(tzinfo=None) + timedelta(days=30)
    times = {"starts": night.isoformat(), "ends": (night + timedelta(hours=1)).isoformat(), "zone": "UTC"}
    stack.admin.post("/clusters/staging/freezes", {"name": "night", "reason": "stocktaking", **times})
    analyses = [each["id"] for each in stack.deployer.items("/analyses")]
    assert analyses
    known = {
        "deployment": [first, waiting, queued],
        "promotion": [promotion],
        "approval": [gate],
        "analysis": analyses,
        "module": [GREETER],
        "version": [OLD, GOOD],
        "environment": [PRODUCTION, "staging"],
        "node": sorted(stack.nodes()),
        "tenant": ["default"],
    }
    username, password = stack.admin.target.username, stack.directory.admin_password
    token = stack.admin.sign_in(str(username), password.read_text().strip())
    return Busy(stack, waiting, queued, token, known, {"deployment": [first], "promotion": [promotion]})


@pytest.mark.finding("N9")
def test_all_restarted_answers_the_same(busy: Busy) -> None:
    """Killed without warning, all at once; nodes go on meanwhile."""
    stack = busy.stack
    before, pids = busy.answers(), stack.module_pids()
    killed = [stack.kill(part) for part in CENTRAL]
    until(lambda: stack.back(*CENTRAL), PATIENCE)
    assert not {stack.process(part) for part in CENTRAL} & set(killed)
    after = busy.answers()
    print(f"\n{len(before)} questions, before and after")
    assert differences(before, after) == {}
    assert stack.module_pids() == pids


def hotswap(*arguments: str | Path) -> str:
    done = subprocess.run(
        [str(HOTSWAP), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def counts(connection: psycopg.Connection) -> dict[str, int]:
    """The rows of every table that is logged."""
    tables = connection.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relpersistence = 'p'"
        " AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)'"
    ).fetchall()
    found = {}
    for (name,) in tables:
        counted = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.SQL(name))).fetchone()
        assert counted is not None
        found[name] = counted[0]
    return found


def counts_of(directory: StackDirectory) -> dict[str, int]:
    """Of a stack that is up."""
    port = read_choices(directory).ports["postgres"]
    with postgres.of(directory.postgres).connect(port, bootstrap.DATABASE) as connection:
        return counts(connection)


def counts_at_rest(directory: StackDirectory) -> dict[str, int]:
    """Of one that is not: its PostgreSQL is started for the question."""
    cluster, port = postgres.of(directory.postgres), read_choices(directory).ports["postgres"]
    server = subprocess.Popen(cluster.command(port), stderr=subprocess.DEVNULL)
    try:
        wait_for_postgres(cluster, port)
        return counts_of(directory)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def open_workflows(stack: RunningStack) -> set[tuple[str, str]]:
    listed = stack.temporal(
        "workflow", "list", "--query", "ExecutionStatus = 'Running'", "-o", "json", "--limit", "1000"
    )
    return {(each["execution"]["workflowId"], each["execution"]["runId"]) for each in json.loads(listed)}


@pytest.fixture(scope="module")
def saved(busy: Busy, tmp_path_factory: pytest.TempPathFactory) -> "Saved":
    """A backup of the busy stack, which goes on for a while and is then lost."""
    stack, target = busy.stack, tmp_path_factory.mktemp("saved") / "backup"
    rows, workflows, answers = counts_of(stack.directory), open_workflows(stack), busy.answers()
    print(hotswap("backup", target, "--dir", stack.directory.root))
    with pytest.raises(Conflict, match="still runs"):
        restore(target, StackDirectory(root=target.parent / "beside"))
    finish(busy)
    asyncio.run(end(stack.directory))
    return Saved(busy, target, rows, workflows, answers)


def finish(busy: Busy) -> None:
    """What waits at the gate is let through, and what waits behind it."""
    stack = busy.stack
    approve(stack, busy.waiting)
    with stack.traffic():
        stack.ended(busy.waiting, Phase.COMPLETED)
    approve(stack, busy.queued)
    stack.ended(busy.queued, Phase.COMPLETED)
    stack.assert_everywhere(stack.releases[OLD])


def approve(stack: RunningStack, deployment: str) -> None:
    stack.approver.post(f"/approvals/{stack.gate(deployment)}/approve", {})


@dataclass(frozen=True)
class Saved:
    """A backup, and what was there when it was made."""

    busy: Busy
    path: Path
    rows: dict[str, int]
    workflows: set[tuple[str, str]]
    answers: dict[str, Any]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[StackDirectory]:
    """An empty directory; what runs there in the end is stopped."""
    directory = StackDirectory(root=tmp_path / "restored" / ".hotswap")
    directory.root.parent.mkdir()
    yield directory
    asyncio.run(end(open_directory(directory.root)))


@pytest.mark.finding("N12")
def test_brought_back_it_has_all_rows_and_workflows_and_what_waited_goes_on(
    saved: Saved, fresh: StackDirectory
) -> None:
    began = time.monotonic()
    print(hotswap("restore", saved.path, "--dir", fresh.root))
    copied = time.monotonic() - began
    rows = counts_at_rest(fresh)
    assert differences(saved.rows, rows) == {}
    began = time.monotonic()
    hotswap("up", "--detach", "--dir", fresh.root)
    print(
        f"brought back in {copied:.1f} s, up in {time.monotonic() - began:.1f} s; {sum(rows.values())} rows"
    )
    busy = saved.busy.on(RunningStack(fresh))
    stack = busy.stack
    assert open_workflows(stack) == saved.workflows
    trail, answers = saved.answers.pop(TRAIL), busy.answers()
    assert answers.pop(TRAIL)[: len(trail)] == trail
    assert answers["/api/v1/audit/verify"]["intact"]
    but_of_audit = [
        {path: said for path, said in each.items() if not path.startswith("/api/v1/audit")}
        for each in (saved.answers, answers)
    ]
    assert differences(*but_of_audit, but=OF_PROCESSES) == {}
    finish(busy)
    stack.close()


@pytest.mark.finding("N12")
def test_nodes_that_went_on_since_the_backup_take_orders_again(saved: Saved, fresh: StackDirectory) -> None:
    """Nodes are other machines: they are not lost, and have seen orders that the backup knows nothing of."""
    hotswap("restore", saved.path, "--dir", fresh.root)
    lived_on = saved.busy.stack.directory
    for name in saved.busy.known["node"]:
        shutil.rmtree(fresh.node(name) / "data")
        shutil.copytree(lived_on.node(name) / "data", fresh.node(name) / "data", symlinks=True)
    hotswap("up", "--detach", "--dir", fresh.root)
    busy = saved.busy.on(RunningStack(fresh))
    stack = busy.stack
    stack.assert_everywhere(stack.releases[OLD])

    # What was under way is older than what the nodes have seen: they refuse it, and nothing on them changes.
    approve(stack, busy.waiting)
    end = stack.wait(busy.waiting, lambda seen: Phase(seen["phase"]).terminal)
    print(f"what was under way: {end['phase']}, {end['message']}")
    assert Fenced.code in {node["fault"]["code"] for node in end["nodes"] if node["fault"]}
    assert end["phase"] == Phase.ROLLED_BACK_VERIFIED
    stack.assert_everywhere(stack.releases[OLD])

    # Whatever is planned from now on counts.
    approve(stack, busy.queued)
    stack.ended(busy.queued, Phase.COMPLETED)
    stack.set_policy()
    stack.ended(stack.order(GOOD, DIRECT), Phase.COMPLETED)
    stack.assert_everywhere(stack.releases[GOOD])
    stack.close()
