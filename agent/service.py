"""One agent: everything put together. No globals, so that one process can host many."""

import fcntl
import logging
import os
import shutil
import time
from concurrent.futures import Executor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from aiohttp import web

from agent import procfs
from agent.bundle_store import BundleStore
from agent.config import AgentConfig
from agent.desk import Desk
from agent.drivers.base import Host
from agent.heartbeat import Heartbeat
from agent.identity import certificate_expiry, server_context
from agent.journal import Journal
from agent.metrics import AgentMetrics
from agent.pool import Pool
from agent.probe import Prober
from agent.server import Api
from bundles.trust import TrustStore
from domain.errors import Conflict, InvalidInput
from domain.names import Sha256
from domain.wire import NodeReport

GRACE = 30.0  # seconds that operations under way get to end when the agent is told to stop
_KEEPALIVE = 75.0

_log = logging.getLogger(__name__)


class Agent:
    """The agent of one node.

    Args:
        config: see `agent.config`.
        executor: threads for disk work, shared by agents in one process; its own without one.
    """

    def __init__(self, config: AgentConfig, *, executor: Executor | None = None) -> None:
        self._config = config
        self._pool = Pool(executor)
        self._started = time.time()
        self._lock = -1
        self._host: Host | None = None
        self._desk: Desk | None = None
        self._runner: web.AppRunner | None = None
        self._heartbeat: Heartbeat | None = None

    async def start(self) -> None:
        """Read the journal, begin to bring modules into order, and answer requests.

        Raises:
            Conflict: another agent works in the same directory.
            JournalDamaged: a person has to look.
            OSError: the address is taken, or a file cannot be read.
        """
        self._lock = await self._pool.run(_lock_directory, self._config)
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def recovered(self) -> None:
        """Wait until every module is in order after a start: adopted, completed, undone or started."""
        if self._desk is not None:
            await self._desk.recovered()

    async def stop(self) -> None:
        """Finish what is under way, answer no more; module processes go on, unless configured otherwise."""
        if self._heartbeat is not None:
            await self._heartbeat.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._desk is not None:
            await self._desk.close(stop=self._config.stop_modules_on_exit, grace=GRACE)
        if self._host is not None:
            await self._host.prober.close()
        await self._pool.close()
        if self._host is not None:
            self._host.journal.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def address(self) -> str:
        """The URL that the agent answers on, once started."""
        if self._runner is None or not self._runner.addresses:
            raise Conflict("the agent is not started")
        host, port = self._runner.addresses[0][:2]
        return f"https://{f'[{host}]' if ':' in host else host}:{port}"

    async def report(self) -> NodeReport:
        """Read the whole node back."""
        modules = await self._desk.reports() if self._desk is not None else ()
        usage = await self._pool.run(shutil.disk_usage, self._config.directory)
        return NodeReport(
            node=self._config.node,
            boot_id=procfs.boot_id(),
            agent_version=_version(),
            agent_started=self._started,
            disk_free_bytes=usage.free,
            roots=await self._pool.run(_roots, self._config.trust),
            modules=modules,
        )

    async def _start(self) -> None:
        config = self._config
        self._host = host = Host(
            config=config,
            boot=procfs.boot_id(),
            pool=self._pool,
            journal=Journal(config.directory / "journal.jsonl", self._pool),
            bundles=BundleStore(config.directory / "bundles", self._pool, config.max_bundle_bytes),
            prober=Prober(),
            metrics=AgentMetrics(),
        )
        await self._pool.run(host.bundles.prepare)
        await host.journal.open()
        self._desk = Desk(host)
        await self._desk.recover()
        await self._listen(host, Api(host, self._desk, self.report).application())
        if config.control_plane is not None and config.token_file is not None:
            self._heartbeat = Heartbeat(
                config.control_plane, config.token_file, config, self._pool, self.report
            )

    async def _listen(self, host: Host, application: web.Application) -> None:
        context = await self._pool.run(server_context, self._config)
        host.metrics.certificate_expires.set(await self._pool.run(certificate_expiry, self._config))
        self._runner = web.AppRunner(
            application, access_log=None, keepalive_timeout=_KEEPALIVE, shutdown_timeout=GRACE
        )
        await self._runner.setup()
        address, port = self._config.host_and_port
        await web.TCPSite(self._runner, address, port, ssl_context=context, backlog=1024).start()


def _lock_directory(config: AgentConfig) -> int:
    (config.directory / "modules").mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(config.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Conflict(f"another agent works in {config.directory}") from error
    return descriptor


def _roots(trust: Path) -> tuple[Sha256, ...]:
    """The fingerprints of the roots as they are on the disk; none when no bundle would be accepted."""
    try:
        return TrustStore.load(trust).fingerprints
    except (InvalidInput, OSError) as error:
        _log.warning("the trust roots cannot be read: %s", error)
        return ()


def _version() -> str:
    try:
        return version("hotswap")
    except PackageNotFoundError:
        return "unknown"
