"""Readiness as sd_notify(3) has it: datagrams of KEY=VALUE lines on a socket named by NOTIFY_SOCKET."""

import array
import asyncio
import os
import secrets
import socket
import struct

_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
_DESCRIPTORS = 16
_MESSAGE = 4096


class NotifySocket:
    """Receives the messages of one process until closed.

    The name is abstract (unix(7)), so that no path is too long and nothing has to be deleted, and random.
    Anybody on the host can send to it, so only messages of the process's own user (or root) count.
    """

    def __init__(self) -> None:
        self._name = f"hotswap-{secrets.token_hex(16)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(f"\0{self._name}")
        self._ready = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    @property
    def address(self) -> str:
        """The value of NOTIFY_SOCKET; "@" stands for the abstract name's leading zero byte."""
        return f"@{self._name}"

    async def ready(self) -> None:
        """Wait for READY=1."""
        await self._ready.wait()

    def close(self) -> None:
        """Stop receiving."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _receive(self) -> None:
        space = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4 * _DESCRIPTORS)
        try:
            message, ancillary, _, _ = self._socket.recvmsg(_MESSAGE, space, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return
        uid = -1
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                uid = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[1]
            elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                _close_all(data)
        if uid in (0, os.getuid()) and b"READY=1" in message.split(b"\n"):
            self._ready.set()


def _close_all(data: bytes) -> None:
    # sd_notify_barrier(3) sends a descriptor and waits until the receiver has closed it.
    descriptors = array.array("i")
    descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    for descriptor in descriptors:
        os.close(descriptor)
