"""The embedded stack for real, through the command line: two nodes, and everything that can be killed."""

import json
import os
import signal
import subprocess
import sysconfig
import time
from pathlib import Path

import httpx
import psutil
import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus

from runtime.embedded.state import load

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]
HOTSWAP = Path(sysconfig.get_path("scripts")) / "hotswap"
PARTS = {"postgres", "temporal", "api", "worker", "node-01", "node-02"}


class StackUnderTest:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def command(self, *arguments: str) -> list[str]:
        return [str(HOTSWAP), *arguments, "--dir", str(self.directory)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=120, check=False
        )

    def up(self, *arguments: str) -> str:
        done = self.run("up", "--detach", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def status(self) -> dict:
        return json.loads(self.run("status", "--json").stdout)

    @property
    def state(self):
        return load(self.directory / "state.json")

    @property
    def pids(self) -> dict[str, int]:
        return {name: part.process.pid for name, part in self.state.parts.items() if part.process}

    def kill(self, name: str) -> None:
        process = self.state.parts[name].process if name != "supervisor" else self.state.supervisor
        assert process.send(signal.SIGKILL)
        until(lambda: not process.alive())

    def processes(self) -> list[str]:
        """Every process that has anything to do with the directory."""
        own = os.getpid()
        return [
            " ".join(each.cmdline())
            for each in psutil.process_iter()
            if each.pid != own and self._concerns(each)
        ]

    def _concerns(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return str(self.directory) in " ".join([*process.cmdline(), process.cwd()])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def client(self) -> dict:
        return json.loads((self.directory / "client.json").read_text())

    def sign_in(self) -> int:
        client = self.client()
        password = Path(client["password_file"]).read_text().strip()
        body = {"username": client["username"], "password": password}
        return httpx.post(f"{client['url']}/api/v1/auth/token", json=body, timeout=10).status_code


def until(condition, seconds=40.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    one = StackUnderTest(tmp_path_factory.mktemp("stack") / ".hotswap")
    one.said = one.up("--nodes", "2")
    yield one
    one.run("down")


def test_up_says_where_everything_is_and_everything_is_there(stack):
    client = stack.client()
    assert f"{client['url']}/api/v1/docs" in stack.said
    assert client["temporal_ui_url"] in stack.said
    assert str(stack.directory / "logs") in stack.said
    assert str(stack.directory / "admin-password") in stack.said
    assert "admin" in stack.said
    assert httpx.get(f"{client['url']}/api/v1/docs").status_code == 200
    assert httpx.get(client["temporal_ui_url"]).status_code == 200
    assert stack.sign_in() == 200


def test_status_shows_every_part_running(stack):
    status = stack.status
    assert status["status"] == "ready"
    assert set(status["parts"]) == PARTS
    assert {part["state"] for part in status["parts"].values()} == {"running"}
    assert all(Path(part["log"]).exists() for part in status["parts"].values())
    assert stack.run("status").returncode == 0


def test_status_says_where_nothing_may_start(stack):
    def freezes(order, reason):
        words = [str(HOTSWAP), "freeze", order, "production", "--reason", reason]
        subprocess.run(words, cwd=stack.directory.parent, capture_output=True, timeout=60, check=True)

    assert stack.status["standstills"] == {}
    freezes("now", "the network is shaky")
    why = "frozen until it is thawed: the network is shaky"
    assert stack.status["standstills"] == {"production": why}
    assert stack.run("status").stdout.endswith(f"stack: ready\nproduction: {why}\n")
    freezes("thaw", "it is not")
    assert stack.status["standstills"] == {}


def test_a_second_up_finds_it_running(stack):
    before = stack.pids
    assert "ready" in stack.up("--nodes", "2")
    other = stack.run("up", "--detach", "--nodes", "3")
    assert (other.returncode, "hotswap down" in other.stderr) == (1, True)
    assert stack.pids == before


def test_nodes_are_registered_with_labels_and_report(stack):
    client = stack.client()
    password = Path(client["password_file"]).read_text().strip()
    with httpx.Client(base_url=f"{client['url']}/api/v1", timeout=10) as api:
        token = api.post("/auth/token", json={"username": "admin", "password": password}).json()[
            "access_token"
        ]
        api.headers["Authorization"] = f"Bearer {token}"
        nodes = api.get("/nodes", params={"environment": "production"}).json()["items"]
    assert {node["name"]: node["labels"]["zone"] for node in nodes} == {"node-01": "a", "node-02": "b"}


def test_whatever_is_killed_comes_back(stack):
    before = stack.pids
    killed = ("worker", "api", "node-01", "temporal", "postgres")
    for name in killed:
        stack.kill(name)
    until(lambda: all(stack.state.parts[name].restarts >= 1 for name in killed))
    until(lambda: {part.status.value for part in stack.state.parts.values()} == {"running"})
    assert stack.pids["node-02"] == before["node-02"]
    assert not {before[name] for name in killed} & set(stack.pids.values())
    assert stack.sign_in() == 200
    assert "node-01 ended (killed by SIGKILL)" in (stack.directory / "logs" / "supervisor.log").read_text()


def test_a_killed_supervisor_is_succeeded_without_a_restart_of_anything(stack):
    before = stack.pids
    stack.kill("supervisor")
    assert stack.status["status"] == "without supervisor"
    assert stack.run("status").returncode == 1
    stack.up()
    assert stack.pids == before
    stack.kill("node-02")
    until(lambda: stack.pids.get("node-02", before["node-02"]) != before["node-02"])


@workflow.defn(name="Waits", sandboxed=False)
class Waits:
    @workflow.run
    async def run(self) -> None: ...


async def test_down_leaves_nothing_and_up_continues_where_it_ended(stack):
    client = await Client.connect(stack.client()["temporal_address"])
    await client.start_workflow(Waits.run, id="under-way", task_queue="nobody-polls")
    before, ports = stack.client(), (stack.directory / "stack.json").read_text()
    stack.kill("supervisor")
    stack.kill("node-01")
    done = stack.run("down")
    assert done.returncode == 0, done.stderr
    assert stack.processes() == []
    assert {part.status.value for part in stack.state.parts.values()} == {"stopped"}
    assert stack.run("down").stdout.strip() == "nothing was running"

    foreground = subprocess.Popen(
        stack.command("up"), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    until(lambda: stack.state.status.value == "ready" and stack.state.supervisor.pid == foreground.pid)
    assert (stack.client(), (stack.directory / "stack.json").read_text()) == (before, ports)
    assert stack.sign_in() == 200
    client = await Client.connect(stack.client()["temporal_address"])
    found = await client.get_workflow_handle("under-way").describe()
    assert found.status is WorkflowExecutionStatus.RUNNING
    foreground.send_signal(signal.SIGINT)
    said, _ = foreground.communicate(timeout=60)
    assert foreground.returncode == 0
    assert before["url"] in said
    assert stack.processes() == []


def test_a_start_that_cannot_succeed_says_why_and_leaves_nothing(stack):
    (stack.directory / "postgres" / "data" / "postgresql.conf").write_text("nonsense = on\n")
    done = stack.run("up", "--detach")
    assert done.returncode == 1
    assert "postgres" in done.stderr
    assert "nonsense" in done.stderr
    assert stack.status["status"] == "failed"
    assert stack.processes() == []
