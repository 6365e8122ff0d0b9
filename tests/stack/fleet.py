"""Real agents in this process, in a thread with a loop of their own; what they do can be bent.

Some may run in processes of their own, to be killed.
"""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx

from agent.config import AgentConfig
from agent.module import Module
from agent.records import Slot
from agent.service import Agent
from domain.wire import Action, ModuleReport, Operation, OperationResult
from runtime import files
from runtime.authority import Authority, Usage
from tests.agent.nodes import clean
from tests.stack.running import RunningStack, free_ports, until

T = TypeVar("T")
MODULE = "matrix"
ZONES = 4


class Fleet:
    """A context manager: agents that are registered in an environment of the stack and report to it.

    The last `apart` of them are processes of their own. Their modules outlive them when they are killed.
    """

    def __init__(
        self, stack: RunningStack, environment: str, count: int, where: Path, *, apart: int = 0
    ) -> None:
        self.environment = environment
        self.names = tuple(f"{environment}-{index:02}" for index in range(1, count + 1))
        self.apart = self.names[count - apart :]
        self._stack = stack
        self._where = where
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._pool = ThreadPoolExecutor(max_workers=16)
        self._agents: dict[str, Agent] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._bent: list[Callable[[], None]] = []

    def __enter__(self) -> "Fleet":
        self._thread.start()
        tls = self._stack.directory.tls
        authority = Authority.ensure(tls, "ca", "Hotswap local CA")
        home = files.private_directory(self._where / "identity")
        shown = authority.issue(home, "fleet", usage=Usage.SERVER, common_name="fleet", hosts=["127.0.0.1"])
        for index, name in enumerate(self.names):
            token = home / f"{name}.token"
            port = free_ports(1)[0] if name in self.apart else 0
            config = AgentConfig(
                node=name,
                listen=f"127.0.0.1:{port}",
                directory=self.directory(name),
                tls_ca=tls / "ca.pem",
                tls_certificate=shown.certificate,
                tls_key=shown.key,
                trust=self._stack.directory.trust,
                control_plane=self._stack.admin.target.url,
                token_file=token,
                heartbeat_seconds=2.0,
                sample_seconds=0.3,
                stop_modules_on_exit=True,
            )
            token.write_text("not registered yet")
            node = {
                "name": name,
                "environment": self.environment,
                "address": self._begin(config),
                "labels": {"zone": f"z{index % ZONES}"},
            }
            token.write_text(self._stack.admin.post("/nodes", node)["token"])
        healthy = f"/clusters/{self.environment}"
        until(lambda: self._stack.admin.get(healthy)["nodes_healthy"] == len(self.names))
        return self

    def _begin(self, config: AgentConfig) -> str:
        """Start an agent; its address."""
        if config.node in self.apart:
            values = config.model_dump(mode="json", exclude_none=True)
            text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
            self._file(config.node).write_text(text)
            self._start(config.node)
            return f"https://{config.listen}"
        self._agents[config.node] = agent = Agent(config, executor=self._pool)
        self.run(agent.start())
        return agent.address

    def start_the_dead(self) -> None:
        """The agents that were killed return."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                self._start(name)

    def _start(self, name: str) -> None:
        with self._file(name).with_suffix(".log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "agent", "--config", str(self._file(name))], stdout=log, stderr=log
            )

    def kill(self, *names: str) -> None:
        """SIGKILL to agents that are apart: nobody answers for these nodes any more."""
        for name in names:
            self._processes[name].kill()
            self._processes[name].wait()

    def answer(self) -> bool:
        """Whether all agents that are apart answer."""
        try:
            for name in self.apart:
                self._asked(name)
        except httpx.TransportError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for name, process in self._processes.items():
            process.wait()
            clean(self.directory(name))
        self.run(_all(agent.stop() for agent in self._agents.values()))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._pool.shutdown()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the agents' loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def reports(self, *names: str) -> dict[str, ModuleReport]:
        """What nodes (all without names) have of the module, read from them now, with no API in between."""
        chosen = names or self.names
        here = [name for name in chosen if name in self._agents and self._known(name)]
        apart = [name for name in chosen if name in self.apart]
        read = {name: self.run(self._module(name).report()) for name in here}
        return read | {name: self._asked(name) for name in apart}

    def _asked(self, name: str) -> ModuleReport:
        return self._stack.module(name, MODULE, environment=self.environment)

    def directory(self, name: str) -> Path:
        """Where an agent keeps everything."""
        return self._where / name

    def _file(self, name: str) -> Path:
        return self._where / f"{name}.toml"

    def data(self, name: str) -> Path:
        return self.directory(name) / "modules" / MODULE / "data"

    def release(self, name: str, slot: str) -> Path:
        return self.directory(name) / "modules" / MODULE / "releases" / slot

    def slot(self, name: str, version: str) -> str:
        """The slot of a version on a node."""
        return next(slot for slot in self._module(name).record.slots if slot.startswith(f"{version}-"))

    def _known(self, name: str) -> bool:
        return self._agents[name]._desk is not None and self._agents[name]._desk.module(MODULE) is not None

    def _module(self, name: str) -> Module:
        module = self._agents[name]._desk.module(MODULE)
        assert module is not None, f"{name} has never heard of {MODULE}"
        return module

    # Bending.

    def says_done_and_does_nothing(self, name: str) -> None:
        """The agent answers every order to revert with success, and reverts nothing."""
        desk = self._agents[name]._desk
        honest = desk.submit

        async def submit(operation: Operation) -> OperationResult:
            if operation.action is not Action.REVERT:
                return await honest(operation)
            verify = operation.model_copy(update={"id": f"{operation.id}:look", "action": Action.VERIFY})
            told = await honest(verify)
            return told.model_copy(update={"id": operation.id, "action": operation.action, "changed": True})

        desk.submit = submit
        self._bent.append(lambda: setattr(desk, "submit", honest))

    def keeps_the_old_process(self, name: str) -> None:
        """The agent moves the pointer and leaves the process that runs."""
        driver = self._module(name)._driver
        honest = driver.switch

        async def switch(
            target: Slot, _: Slot | None, point: Callable[[Slot], Awaitable[None]], *, keep: bool = False
        ) -> None:
            await point(target)

        driver.switch = switch
        self._bent.append(lambda: setattr(driver, "switch", honest))

    def loses_a_file(self, name: str, version: str) -> None:
        """A file of a release's tree is gone; nothing told the agent."""
        place = self.release(name, self.slot(name, version))
        (place / "program.py").unlink()

    def straighten(self) -> None:
        """All agents are honest again."""
        for undo in self._bent:
            undo()
        self._bent.clear()


async def _all(work: Any) -> None:
    await asyncio.gather(*work)
