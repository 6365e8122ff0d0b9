"""Listening sockets: bound by the agent, handed to module processes, recovered after an agent's crash.

The kernel keeps a listening socket and its queue of connections as long as any process holds it. So while
the agent, the old process or the new one lives, no connection is refused.

Every socket is the first of a group (SO_REUSEPORT) that a second one can join, for a process that runs beside
the current one; agent.steering says which of the two the public reaches.
"""

import ctypes
import os
import secrets
import socket
from pathlib import Path

from agent import procfs, steering
from domain.errors import SocketUnavailable

BACKLOG = 4096  # listen(2); the kernel caps it at net.core.somaxconn
# A module's port is picked once and kept for good, also while nothing listens there. The kernel gives ports
# of this range to outgoing connections (ip(7)), so it is taken from below it.
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_POOL = 16_384
_PICKS = 100
_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp
_PIDFD_GETFD = 438  # the same number on every architecture: pidfd_getfd(2), Linux 5.6

_libc = ctypes.CDLL(None, use_errno=True)


def bind(name: str, address: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 picks a free one that no outgoing connection will take later.

    Raises:
        SocketUnavailable: the address is taken or not ours, or no port was found free.
    """
    if port:
        return _listen(name, address, port)
    lowest = _EPHEMERAL.read_text().split()[0]
    for _ in range(_PICKS):
        try:
            return _listen(name, address, int(lowest) - 1 - secrets.randbelow(_POOL))
        except SocketUnavailable:
            continue
    raise SocketUnavailable(f"socket {name}: {_PICKS} ports below {lowest} on {address} are all taken")


def _listen(name: str, address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)  # blocking, as sd_listen_fds(3) passes them
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Bound without SO_REUSEPORT, so that a port that anybody listens on is refused; opened to a second
        # socket of ours only then.
        bound.bind((address, port))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise SocketUnavailable(
            f"socket {name} cannot listen on {address}:{port}: {error.strerror}"
        ) from error
    return bound


def join(name: str, first: socket.socket, source: str) -> socket.socket:
    """A second listening socket on the port of `first`, which the public does not reach until it is steered.

    Args:
        name: the socket's name, for people.
        first: the only socket of its group.
        source: the address whose connections reach the second one.

    Raises:
        SocketUnavailable: somebody else listens on the port too, or it cannot be bound.
    """
    address, port = first.getsockname()[:2]
    strangers = listening(port) - {inode(first)}
    if strangers:
        raise SocketUnavailable(f"socket {name}: a process that is not known listens on port {port} too")
    second = socket.socket(first.family, socket.SOCK_STREAM)
    try:
        steering.steer(first, public=0, private=1, source=source)
        second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        second.bind((address, port))
        second.listen(BACKLOG)
    except OSError as error:
        second.close()
        raise SocketUnavailable(
            f"socket {name} cannot have a second one on port {port}: {error.strerror}"
        ) from error
    return second


def listening(port: int) -> set[int]:
    """The inodes of all sockets that listen on a port of this host: proc(5), net/tcp and net/tcp6."""
    found = set()
    for table in ("tcp", "tcp6"):
        path = procfs.PROC / "self/net" / table
        if path.exists():
            for line in path.read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(int(fields[9]))
    return found


def free_port(address: str) -> int:
    """A port that is free at this moment, for a program that binds it itself."""
    with bind("probe", address, 0) as bound:
        return port_of(bound)


def port_of(bound: socket.socket) -> int:
    """The port that a socket is bound to."""
    return int(bound.getsockname()[1])


def inode(bound: socket.socket) -> int:
    """Names the socket within this boot, in every process that holds it."""
    return os.fstat(bound.fileno()).st_ino


def recover(pid: int, pidfd: int, wanted: int) -> socket.socket | None:
    """Our own copy of a listening socket that a module's process holds; None when it does not any more.

    Looked for in the process and its descendants: a pre-forking server may have closed it in the parent.
    """
    for each in procfs.descendants(pid):
        descriptor = procfs.socket_inodes(each).get(wanted)
        if descriptor is not None:
            found = _take(pidfd if each == pid else None, each, descriptor)
            if found is not None and inode(found) == wanted:
                return found
            if found is not None:
                found.close()
    return None


def _take(pidfd: int | None, pid: int, descriptor: int) -> socket.socket | None:
    own = None
    try:
        own = os.pidfd_open(pid) if pidfd is None else None
        taken = _libc.syscall(_PIDFD_GETFD, own if own is not None else pidfd, descriptor, 0)
        if taken < 0:
            return None
        return socket.socket(fileno=taken)
    except OSError:
        return None
    finally:
        if own is not None:
            os.close(own)
