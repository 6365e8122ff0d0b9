"""Real agents in this process, in a thread with a loop of their own; what they do can be bent."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from agent.config import AgentConfig
from agent.module import Module
from agent.records import Slot
from agent.service import Agent
from domain.wire import Action, ModuleReport, Operation, OperationResult
from runtime import files
from runtime.authority import Authority, Usage
from tests.stack.running import RunningStack, until

T = TypeVar("T")
MODULE = "matrix"
ZONES = 4


class Fleet:
    """A context manager: agents that are registered in an environment of the stack and report to it."""

    def __init__(self, stack: RunningStack, environment: str, count: int, where: Path) -> None:
        self.environment = environment
        self.names = tuple(f"{environment}-{index:02}" for index in range(1, count + 1))
        self._stack = stack
        self._where = where
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._pool = ThreadPoolExecutor(max_workers=16)
        self._agents: dict[str, Agent] = {}
        self._bent: list[Callable[[], None]] = []

    def __enter__(self) -> "Fleet":
        self._thread.start()
        tls = self._stack.directory.tls
        authority = Authority.ensure(tls, "ca", "Hotswap local CA")
        home = files.private_directory(self._where / "identity")
        shown = authority.issue(home, "fleet", usage=Usage.SERVER, common_name="fleet", hosts=["127.0.0.1"])
        for index, name in enumerate(self.names):
            token = home / f"{name}.token"
            config = AgentConfig(
                node=name,
                listen="127.0.0.1:0",
                directory=self._where / name,
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
            self._agents[name] = agent = Agent(config, executor=self._pool)
            self.run(agent.start())
            node = {
                "name": name,
                "environment": self.environment,
                "address": agent.address,
                "labels": {"zone": f"z{index % ZONES}"},
            }
            token.write_text(self._stack.admin.post("/nodes", node)["token"])
        healthy = f"/clusters/{self.environment}"
        until(lambda: self._stack.admin.get(healthy)["nodes_healthy"] == len(self.names))
        return self

    def __exit__(self, *_: object) -> None:
        self.run(_all(agent.stop() for agent in self._agents.values()))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._pool.shutdown()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the agents' loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def reports(self) -> dict[str, ModuleReport]:
        """What each node has of the module, read from the node now, without any API in between."""
        return {name: self.run(self._module(name).report()) for name in self.names if self._known(name)}

    def data(self, name: str) -> Path:
        return self._where / name / "modules" / MODULE / "data"

    def release(self, name: str, slot: str) -> Path:
        return self._where / name / "modules" / MODULE / "releases" / slot

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
