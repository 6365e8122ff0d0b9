"""The embedded stack as a person and an operator have it: its API, its agents, its processes, its traffic."""

import asyncio
import random
import secrets
import signal
import ssl
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from pydantic import TypeAdapter

from agent.records import LINE, Ended
from bundles.archive import pack
from bundles.signature import sign
from cli.client import ApiClient
from cli.context import Target, stack_target
from cli.demo import build, readback, sender
from cli.demo.setting import user
from cli.errors import Unreachable
from cli.supervisor import start_detached
from domain.deployment import Phase
from domain.hooks import HookRule
from domain.names import deployment_workflow_id
from domain.policy import AnalysisRule, EnvironmentPolicy, GateRule
from domain.readback import mismatch
from domain.release import ReleaseRef
from domain.roles import Role
from domain.strategy import Canary, Direct, Strategy
from domain.wire import TENANT_HEADER, Action, JournalEntry, ModuleReport
from runtime import files
from runtime.embedded.choices import DEFAULT_PORTS, Choices, is_free
from runtime.embedded.directory import StackDirectory
from runtime.embedded.identity import ProcessId
from runtime.embedded.stack import end, open_directory
from runtime.embedded.state import PartStatus, load
from runtime.temporal import server_program

PRODUCTION, GREETER = "production", "greeter"
OLD, GOOD, BAD = "1.0.0", "2.0.0", "3.0.0"
CANARY = Canary(shares=(10, 40, 100), bake=1)
DIRECT = Direct()
PATIENCE = 90.0  # seconds for one rollout; a killed worker costs one of them a heartbeat's time-out
# Below the kernel's range for outgoing connections, away from where stacks look for ports by themselves.
PORTS = range(15000, 30000)

_JOURNAL = TypeAdapter(list[JournalEntry])


class RunningStack:
    """A stack that is up. Waiting is always for a condition, with a deadline."""

    def __init__(self, directory: StackDirectory) -> None:
        self.directory = directory
        self.work = files.private_directory(directory.root / "demo")
        self._tokens = directory.root / "cli-tokens"
        self.admin = ApiClient(stack_target(directory.client), cache=self._tokens)
        self.deployer = self.person("test-deployer", Role.DEPLOYER)
        self.approver = self.person("test-approver", Role.APPROVER)
        self.releases: dict[str, ReleaseRef] = {}
        tls = ssl.create_default_context(cafile=str(directory.tls / "ca.pem"))
        tls.load_cert_chain(directory.tls / "control-plane.pem", directory.tls / "control-plane.key")
        self._agents = httpx.Client(
            headers={TENANT_HEADER: "default"}, verify=tls, timeout=10.0, trust_env=False
        )

    def close(self) -> None:
        for client in (self.admin, self.deployer, self.approver, self._agents):
            client.close()

    def person(self, name: str, role: Role) -> ApiClient:
        """A client of a user of this name, who is made if need be."""
        target: Target = user(self.admin, self.directory, name, role)
        return ApiClient(target, cache=self._tokens)

    # Releases and policy.

    def push(self, tree: Path) -> ReleaseRef:
        """Pack, sign with the stack's key, push."""
        bundle = self.work / f"{secrets.token_hex(4)}.tar.gz"
        release = pack(tree, bundle)
        certificate, key = (
            (self.directory.signing / name).read_bytes() for name in ("signer.pem", "signer.key")
        )
        parts = {
            "bundle": (bundle.name, bundle.read_bytes()),
            "signature": (f"{bundle.name}.p7s", sign(bundle, certificate, key)),
        }
        self.deployer.upload("/modules", parts)
        return release

    def push_greeter(self) -> None:
        for version, tree in build.trees(self.directory, (OLD, GOOD, BAD)).items():
            self.releases[version] = self.push(tree)

    def set_policy(
        self,
        *gates: GateRule,
        environment: str = PRODUCTION,
        seconds: float = 6,
        hooks: Iterable[HookRule] = (),
    ) -> None:
        """The environment's policy: fast waves, these gates and hooks, an analysis of so many seconds."""
        policy = EnvironmentPolicy(
            strategy=CANARY,
            gates=gates,
            hooks=tuple(hooks),
            analysis=AnalysisRule(
                judge="threshold", duration=seconds, interval=1.5, warm_up=1, on_inconclusive="rollback"
            ),
        )
        self.admin.put(f"/clusters/{environment}/policy", policy.model_dump(mode="json"))

    # Deployments.

    def order(
        self,
        version: str,
        strategy: Strategy,
        *,
        module: str = GREETER,
        environment: str = PRODUCTION,
        by: ApiClient | None = None,
        hotfix: str = "",
    ) -> str:
        """Ask for a rollout, as a hotfix where there is a reason for one; its id."""
        body = {
            "module": module,
            "version": version,
            "environment": environment,
            "strategy": strategy.model_dump(mode="json"),
            **({"hotfix": True, "reason": hotfix} if hotfix else {}),
        }
        return str((by or self.deployer).post("/deployments", body, key=str(uuid.uuid4()))["id"])

    def look(self, deployment: str) -> dict[str, Any]:
        return self.deployer.get(f"/deployments/{deployment}")

    def wait(
        self, deployment: str, condition: Callable[[dict[str, Any]], bool], seconds: float = PATIENCE
    ) -> dict[str, Any]:
        """The deployment when it is so; an API that is just down is asked again."""
        deadline, seen = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            try:
                seen = self.look(deployment)
            except Unreachable:
                time.sleep(0.1)
                continue
            if condition(seen):
                return seen
            assert not Phase(seen["phase"]).terminal, f"ended too early: {_told(seen)}"
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds:.0f} s: {_told(seen) if seen else 'no answer'}")

    def wait_phase(self, deployment: str, phase: Phase, wave: int | None = None) -> dict[str, Any]:
        return self.wait(
            deployment, lambda seen: seen["phase"] == phase and (wave is None or seen["wave"] == wave)
        )

    def ended(self, deployment: str, phase: Phase, seconds: float = PATIENCE) -> dict[str, Any]:
        """The deployment at its end, which is this one."""
        seen = self.wait(deployment, lambda each: Phase(each["phase"]).terminal, seconds)
        assert seen["phase"] == phase, _told(seen)
        return seen

    def gate(self, deployment: str, name: str | None = None) -> str:
        """The id of the deployment's gate, or of that with this name, once it waits."""
        found: list[str] = []

        def waits() -> bool:
            pending = self.approver.items("/approvals/pending")
            found.extend(
                str(each["id"])
                for each in pending
                if each["deployment"] == deployment and name in (None, each["name"])
            )
            return bool(found)

        until(waits)
        return found[0]

    def install_greeter(self, version: str) -> None:
        """The greeter in this version on every node, by a direct rollout where it is not there yet."""
        if not all(self.runs(name, self.releases[version]) for name in self.nodes()):
            self.set_policy()
            self.ended(self.order(version, DIRECT), Phase.COMPLETED)

    # Nodes, asked themselves.

    def nodes(self, environment: str = PRODUCTION) -> dict[str, str]:
        """The address of each node's agent."""
        return {
            str(node["name"]): str(node["address"])
            for node in self.deployer.items("/nodes", environment=environment)
        }

    def module(self, node: str, module: str = GREETER, *, environment: str = PRODUCTION) -> ModuleReport:
        """The agent's read-back, made now."""
        answer = self._agents.get(f"{self.nodes(environment)[node]}/v1/modules/{module}")
        return ModuleReport.model_validate_json(answer.raise_for_status().content)

    def runs(self, node: str, release: ReleaseRef, *, environment: str = PRODUCTION) -> bool:
        return mismatch(self.module(node, release.module, environment=environment), release) is None

    def assert_everywhere(self, release: ReleaseRef, *, environment: str = PRODUCTION) -> None:
        """Every node's read-back proves that the release runs."""
        names = self.nodes(environment)
        reports = {name: self.module(name, release.module, environment=environment) for name in names}
        faults = {name: mismatch(report, release) for name, report in reports.items()}
        assert faults == dict.fromkeys(faults)

    def journal(self, address: str, module: str = GREETER) -> list[JournalEntry]:
        """The operations that the agent at this address remembers."""
        answer = self._agents.get(f"{address}/v1/journal", params={"module": module})
        return _JOURNAL.validate_json(answer.raise_for_status().content)

    def outcomes_written(self, node: str, deployment: str) -> list[str]:
        """Operation ids of a deployment in a node's journal file, as often as an outcome was written."""
        text = (self.directory.node(node) / "data" / "journal.jsonl").read_bytes()
        entries = [LINE.validate_json(line) for line in text.splitlines()]
        ended = [entry.order.id for entry in entries if isinstance(entry, Ended)]
        return [each for each in ended if each.startswith(f"{deployment}:")]

    def module_pids(self) -> dict[str, int | None]:
        reports = {name: self.module(name) for name in self.nodes()}
        return {name: report.process and report.process.pid for name, report in reports.items()}

    # Processes.

    def process(self, part: str) -> ProcessId | None:
        return load(self.directory.state).parts[part].process

    def kill(self, part: str) -> ProcessId:
        """SIGKILL to a part, as the supervisor has written it down; the process that was killed."""
        process = self.process(part)
        assert process is not None, f"{part} is down already"
        assert process.send(signal.SIGKILL), f"{part} is gone already"
        until(lambda: not process.alive())
        return process

    def back(self, *parts: str) -> bool:
        """Whether these parts run again."""
        known = load(self.directory.state).parts
        return all(known[name].status is PartStatus.RUNNING and _alive(known[name].process) for name in parts)

    def temporal(self, *arguments: str) -> str:
        """What Temporal's own command line answers."""
        address = str(self.admin.target.temporal_address)
        done = subprocess.run(
            [str(server_program()), *arguments, "--address", address],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def terminate(self, deployment: str) -> None:
        workflow = deployment_workflow_id(deployment)
        self.temporal("workflow", "terminate", "--workflow-id", workflow, "--reason", "a test of the lane")

    @contextmanager
    def traffic(self) -> Iterator[sender.Sender]:
        """Steady requests to the greeter on every node."""
        endpoints = readback.endpoints(self.deployer)
        with sender.traffic(endpoints, self.work) as running:
            running.wait_for(len(endpoints))
            yield running


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


@contextmanager
def started(where: Path, *, nodes: int) -> Iterator[RunningStack]:
    """A new stack under a directory, with so many nodes, until the block ends."""
    directory = open_directory(where / ".hotswap")
    choose_ports(directory.choices, nodes=nodes)
    try:
        start_detached(directory)
        running = RunningStack(directory)
        yield running
        running.close()
    finally:
        asyncio.run(end(directory))


def choose_ports(path: Path, *, nodes: int) -> None:
    """Write a new stack's choices with ports that nobody has; others may start stacks beside this one."""
    wanted = Choices(environment=PRODUCTION, nodes=nodes)
    found = free_ports(len(DEFAULT_PORTS) + nodes)
    ports = dict(zip((*DEFAULT_PORTS, *wanted.node_names), found, strict=True))
    files.replace(path, wanted.model_copy(update={"ports": ports}).model_dump_json().encode())


def free_ports(count: int) -> list[int]:
    shuffled = random.SystemRandom().sample(PORTS, len(PORTS))
    free = (port for port in shuffled if is_free(port))
    return [next(free) for _ in range(count)]


def orders_to_activate(entries: Iterable[JournalEntry], release: ReleaseRef) -> list[JournalEntry]:
    """What the journal says of orders to make the release current, whatever became of them."""
    return [each for each in entries if each.action is Action.ACTIVATE and each.release == release]


def _alive(process: ProcessId | None) -> bool:
    return process is not None and process.alive()


def _told(seen: dict[str, Any]) -> str:
    faults = {node["name"]: node["fault"] for node in seen["nodes"] if node["fault"]}
    return f"{seen['phase']} wave {seen['wave']}, cause {seen['cause']}, {seen['message']}, faults {faults}"
