"""Which of two listening sockets on one port new connections reach: a filter in the kernel, set by one call.

Sockets with SO_REUSEPORT on the same address form a group; a classic BPF program that is attached to the
group (SO_ATTACH_REUSEPORT_CBPF, socket(7), Linux 4.6; no privilege is needed) returns the index of the socket
that a connection goes to, counted in the order in which they began to listen. Ours sends what comes from one
loopback address, which nobody outside the host can have, to one of them and everything else to the other.
"""

import ctypes
import secrets
import socket
import struct

_ATTACH = 51  # SO_ATTACH_REUSEPORT_CBPF of asm-generic/socket.h
# linux/filter.h: load a word at an absolute offset; jump if equal; return a constant.
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NETWORK_HEADER = -0x100000  # SKF_NET_OFF: offsets from here on count from the IP header
_SOURCE = 12  # offset of the source address in an IPv4 header (RFC 791)


def private_source() -> str:
    """A loopback address to come from, drawn anew; 127.0.0.0/8 never arrives from outside (RFC 1122)."""
    return f"127.{64 + secrets.randbelow(64)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"


def steer(group: socket.socket, *, public: int, private: int, source: str) -> None:
    """Connections from `source` go to the group's socket number `private` now, all others to `public`.

    Args:
        group: any socket of the group; IPv4.
        public: index of the socket that everybody reaches, in the order of listen(2).
        private: index of the one that only `source` reaches.
        source: a dotted IPv4 address.
    """
    program = (
        (_LOAD, 0, 0, _NETWORK_HEADER + _SOURCE),
        (_JUMP_IF_EQUAL, 0, 1, int.from_bytes(socket.inet_aton(source), "big")),
        (_RETURN, 0, 0, private),
        (_RETURN, 0, 0, public),
    )
    # struct sock_fprog: the number of instructions and a pointer to them, eight bytes each.
    code = b"".join(struct.pack("=HBBI", *line[:3], line[3] & 0xFFFFFFFF) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    group.setsockopt(socket.SOL_SOCKET, _ATTACH, struct.pack("@HP", len(program), ctypes.addressof(buffer)))
