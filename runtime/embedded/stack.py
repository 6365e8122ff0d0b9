"""The embedded stack as a whole: what starts after what, and what stops before what."""

import asyncio
import fcntl
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from domain.errors import Conflict
from runtime import files
from runtime.embedded import bootstrap, choices, parts, postgres
from runtime.embedded.choices import Choices
from runtime.embedded.control_plane import ControlPlane
from runtime.embedded.directory import StackDirectory
from runtime.embedded.identity import this_process
from runtime.embedded.part import Part, StartFailed, child_environment, python, tail
from runtime.embedded.state import StackState, StackStatus, load
from runtime.embedded.supervisor import Supervisor
from runtime.settings import MIGRATION_VARIABLE

log = logging.getLogger(__name__)

_COMMAND_SECONDS = 120.0


class AlreadyRunning(Conflict):
    """The directory's stack has a supervisor that lives."""

    code = "already-running"


class Stack:
    """One start and stop of the stack in a directory."""

    def __init__(self, directory: StackDirectory) -> None:
        self._directory = directory
        self._supervisor = Supervisor(
            directory.state, StackState(supervisor=this_process(), status=StackStatus.STARTING)
        )

    async def start(self, *, nodes: int | None, environment: str | None) -> Choices:
        """Bring everything up; what an earlier supervisor left running is adopted.

        Raises:
            HotswapError: why it does not come up; parts that are up stay up until `stop`.
        """
        directory = self._directory
        chosen = await self._choose(nodes=nodes, environment=environment)
        bootstrap.ensure_keys(directory, chosen)
        cluster = await asyncio.to_thread(
            postgres.prepare, directory.postgres, files.secret(directory.postgres / "password")
        )
        bootstrap.write_settings(directory, chosen)
        await self._supervisor.start(
            parts.postgres_part(directory, chosen, cluster), parts.temporal_part(directory, chosen)
        )
        await self._prepare_database(cluster, chosen)
        await self._supervisor.start(parts.api_part(directory, chosen), parts.worker_part(directory, chosen))
        await self._populate(chosen)
        await self._supervisor.start(*_agents(directory, chosen))
        self._supervisor.announce(StackStatus.READY)
        return chosen

    async def stop(self, *, problem: str = "") -> None:
        """Stop everything in order: who gives orders first, then the agents, the database last."""
        if self._directory.choices.exists():
            self._supervisor.announce(StackStatus.STOPPING, problem)
            await self._supervisor.stop(*_stages(self._directory, read_choices(self._directory)))
        self._supervisor.announce(StackStatus.FAILED if problem else StackStatus.STOPPED, problem)

    async def _choose(self, *, nodes: int | None, environment: str | None) -> Choices:
        known = self._directory.choices
        before = read_choices(self._directory) if known.exists() else None
        chosen = choices.decide(
            known,
            nodes=nodes,
            environment=environment,
            running=self._supervisor.survivors,
            free=choices.is_free,
        )
        moved = before is not None and any(chosen.ports[name] != port for name, port in before.ports.items())
        if moved and self._supervisor.survivors:
            # What still runs knows the others by their old ports.
            await self._supervisor.stop(*_stages(self._directory, chosen))
        return chosen

    async def _prepare_database(self, cluster: postgres.PostgresDirectory, chosen: Choices) -> None:
        directory = self._directory
        await asyncio.to_thread(
            cluster.ensure_database,
            chosen.ports["postgres"],
            owner=bootstrap.owner_login(directory),
            application=bootstrap.application_login(directory),
            database=bootstrap.DATABASE,
        )
        await self._run_store(chosen, "upgrade")
        if directory.restored.exists():
            await self._run_store(chosen, "restored")
            directory.restored.unlink()

    async def _run_store(self, chosen: Choices, *arguments: str) -> None:
        output = self._directory.log("store")
        logins = {
            "HOTSWAP_DATABASE_URL": bootstrap.application_login(self._directory),
            MIGRATION_VARIABLE: bootstrap.owner_login(self._directory),
        }
        environment = {name: bootstrap.database_url(chosen, login) for name, login in logins.items()}
        with output.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                *python("-m", "store", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self._directory.logs,
                env=child_environment(environment),
            )
        try:
            code = await asyncio.wait_for(process.wait(), _COMMAND_SECONDS)
        except (TimeoutError, asyncio.CancelledError):
            with suppress(ProcessLookupError):
                process.kill()
            raise
        if code != 0:
            raise StartFailed(f"store {arguments[0]}: exit code {code}\n{tail(output)}".rstrip())
        log.info("store %s: done", arguments[0])

    async def _populate(self, chosen: Choices) -> None:
        """Make the first admin and the nodes that the API does not know, or knows elsewhere."""
        directory = self._directory
        password = files.secret(directory.admin_password)
        async with ControlPlane(bootstrap.api_url(chosen)) as control_plane:
            if not await control_plane.sign_in(bootstrap.ADMIN, password):
                admin = (
                    "--username",
                    bootstrap.ADMIN,
                    "--password-file",
                    str(directory.admin_password),
                    "--keep-password",
                )
                await self._run_store(chosen, "bootstrap", *admin)
                if not await control_plane.sign_in(bootstrap.ADMIN, password):
                    raise StartFailed(f"the API refuses {bootstrap.ADMIN} with {directory.admin_password}")
            for index, name in enumerate(chosen.node_names):
                address = f"https://{bootstrap.HOST}:{chosen.ports[name]}"
                if _registered_at(directory, name) != address:
                    labels = bootstrap.labels(index)
                    token = await control_plane.register(name, chosen.environment, address, labels)
                    files.replace(bootstrap.token_file(directory, name), token.encode())
                    files.replace(_address_file(directory, name), address.encode())
                    log.info("registered %s at %s", name, address)


async def serve(
    directory: StackDirectory,
    *,
    nodes: int | None = None,
    environment: str | None = None,
    ready: Callable[[Choices], None] = lambda _: None,
) -> None:
    """Start the stack, call `ready`, keep it until SIGINT or SIGTERM, stop it.

    Raises:
        AlreadyRunning: another supervisor has this directory.
        HotswapError: it did not come up; all that was started is stopped again.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    with _only_supervisor(directory), _log_file(directory):
        stack = Stack(directory)
        start = asyncio.create_task(stack.start(nodes=nodes, environment=environment))
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
            if start.done() and start.exception() is None:
                ready(start.result())
                await stop
        finally:
            start.cancel()
            (outcome,) = await asyncio.gather(start, return_exceptions=True)
            failed = isinstance(outcome, Exception)
            await stack.stop(problem=str(outcome) if failed else "")
    if failed:
        start.result()


async def end(directory: StackDirectory, *, seconds: float = 180.0) -> bool:
    """Stop the directory's stack: through its supervisor, or, where that is gone, what it left running.

    Returns:
        Whether there was anything to stop.

    Raises:
        Conflict: the supervisor does not end in time.
    """
    state = load(directory.state)
    found = state.supervised or state.unfinished
    if state.supervisor is not None and state.supervisor.send(signal.SIGTERM):
        deadline = asyncio.get_running_loop().time() + seconds
        while state.supervisor.alive():
            if asyncio.get_running_loop().time() > deadline:
                raise Conflict(
                    f"the supervisor (pid {state.supervisor.pid}) has not ended in {seconds:.0f} s"
                )
            await asyncio.sleep(0.1)
    if load(directory.state).unfinished:
        with _only_supervisor(directory), _log_file(directory):
            await Stack(directory).stop()
    return found


def open_directory(path: Path) -> StackDirectory:
    """The stack's directory, made if need be and closed to others."""
    return StackDirectory(root=files.private_directory(path.absolute()))


def read_choices(directory: StackDirectory) -> Choices:
    """What the directory's stack is made of."""
    return Choices.model_validate_json(directory.choices.read_bytes())


def _stages(directory: StackDirectory, chosen: Choices) -> tuple[tuple[Part, ...], ...]:
    cluster = postgres.of(directory.postgres)
    return (
        (parts.worker_part(directory, chosen), parts.api_part(directory, chosen)),
        (parts.temporal_part(directory, chosen), *_agents(directory, chosen)),
        (parts.postgres_part(directory, chosen, cluster),),
    )


def _agents(directory: StackDirectory, chosen: Choices) -> tuple[Part, ...]:
    return tuple(parts.agent_part(directory, chosen, name) for name in chosen.node_names)


def _address_file(directory: StackDirectory, node: str) -> Path:
    return directory.node(node) / "registered-address"


def _registered_at(directory: StackDirectory, node: str) -> str | None:
    path = _address_file(directory, node)
    return path.read_text(encoding="utf-8") if path.exists() else None


@contextmanager
def _only_supervisor(directory: StackDirectory) -> Iterator[None]:
    """Hold the directory's lock; the kernel drops it when this process ends, however it ends."""
    descriptor = os.open(directory.lock, os.O_RDWR | os.O_CREAT, files.FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise AlreadyRunning(f"a supervisor runs in {directory.root}") from error
    finally:
        os.close(descriptor)


@contextmanager
def _log_file(directory: StackDirectory) -> Iterator[None]:
    files.private_directory(directory.logs)
    handler = logging.FileHandler(directory.supervisor_log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("runtime.embedded")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
