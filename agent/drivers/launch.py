"""Starting one process of a module: file descriptors, environment, session. posix_spawn(3), never fork."""

import fcntl
import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.errors import BundleInvalid
from domain.manifest import Manifest

LISTEN_FDS_START = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
_GATE = Path(__file__).with_name("gate.py")
_PLACEHOLDER = re.compile(r"\{(?:port:([a-z][a-z0-9-]*)|(address|release|data))\}")
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a module runs: what its placeholders and its environment say."""

    node: str
    address: str
    release: Path
    data: Path
    ports: Mapping[str, int]

    def fill(self, text: str) -> str:
        """Replace `{port:NAME}`, `{address}`, `{release}` and `{data}`; other braces stay.

        Raises:
            BundleInvalid: a port of a socket that the manifest does not declare.
        """

        def value(match: re.Match[str]) -> str:
            socket, word = match.groups()
            if word is not None:
                return str(getattr(self, word))
            if socket not in self.ports:
                raise BundleInvalid(f"{match.group()} names no declared socket", field="process.command")
            return str(self.ports[socket])

        return _PLACEHOLDER.sub(value, text)


@dataclass(frozen=True, slots=True)
class Launch:
    """All that a process is started with. `sockets` maps names to descriptors, in the manifest's order."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    log: Path
    sockets: Mapping[str, int]


def environment(manifest: Manifest, place: Place) -> dict[str, str]:
    """What a module's program sees: little of the agent's, what the manifest says, who and where it is."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    own = {
        name: place.fill(value)
        for name, value in (manifest.process.environment if manifest.process else {}).items()
    }
    return {
        "PATH": _DEFAULT_PATH,
        "HOME": str(place.data),
        # A Python program would write its caches into the release tree, which must stay as it was signed.
        "PYTHONDONTWRITEBYTECODE": "1",
        **inherited,
        **own,
        "HOTSWAP_MODULE": manifest.name,
        "HOTSWAP_VERSION": manifest.version,
        "HOTSWAP_NODE": place.node,
        "HOTSWAP_RELEASE": str(place.release),
        "HOTSWAP_DATA": str(place.data),
    }


def spawn(launch: Launch) -> tuple[int, int]:
    """Start the process, which waits at its gate; return its pid and the descriptor that opens the gate.

    One newline written to the gate lets the program run; closing it without ends the process.
    """
    variables = dict(launch.environment)
    if launch.sockets:
        variables["LISTEN_FDS"] = str(len(launch.sockets))
        variables["LISTEN_FDNAMES"] = ":".join(launch.sockets)
    gate = LISTEN_FDS_START + len(launch.sockets)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    opened = [reader]
    try:
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        opened.append(null)
        log = os.open(launch.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        opened.append(log)
        # Copies above every target, so that no dup2 below overwrites a source that is still needed.
        sources = [
            _above(descriptor, gate + 1, opened)
            for descriptor in (null, log, log, *launch.sockets.values(), reader)
        ]
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", str(_GATE), str(gate), str(launch.directory), *launch.command],
            variables,
            file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(sources)],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # Python ignores both, and exec would inherit that
        )
    except BaseException:
        os.close(writer)
        raise
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return pid, writer


def _above(descriptor: int, lowest: int, opened: list[int]) -> int:
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    opened.append(copy)
    return copy
