"""Listening sockets: bound by the agent, handed to module processes, recovered after an agent's crash.

The kernel keeps a listening socket and its queue of connections as long as any process holds it. So while
the agent, the old process or the new one lives, no connection is refused.
"""

import ctypes
import os
import secrets
import socket
from pathlib import Path

from agent import procfs
from domain.errors import SocketUnavailable

BACKLOG = 4096  # listen(2); the kernel caps it at net.core.somaxconn
# A module's port is picked once and kept for good, also while nothing listens there. The kernel gives ports
# of this range to outgoing connections (ip(7)), so it is taken from below it.
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_POOL = 16_384
_PICKS = 100
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
        bound.bind((address, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise SocketUnavailable(
            f"socket {name} cannot listen on {address}:{port}: {error.strerror}"
        ) from error
    return bound


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
