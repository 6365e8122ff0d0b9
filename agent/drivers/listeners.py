"""The listening sockets and ports of one module: picked once, held by the agent, shared by its processes."""

import socket
from collections.abc import Collection, Mapping

from agent import sockets, steering
from agent.drivers.instance import Instance
from agent.records import ModuleRecord
from domain.errors import Conflict
from domain.manifest import Process

Group = tuple[str, int]  # a socket's name and its port


class Listeners:
    """Ports by socket name, and, for programs that take sockets over, the sockets themselves.

    A group has one socket, or two while a process runs beside the current one: in the order in which they
    began to listen, which is how the kernel counts them.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._held: dict[Group, list[socket.socket]] = {}
        self._public: dict[Group, int] = {}  # inode of the one that the public reaches, where there are two
        self.source = steering.private_source()
        self.lost: set[str] = set()

    @property
    def address(self) -> str:
        """Where the sockets listen."""
        return self._address

    def ports(self, process: Process, record: ModuleRecord) -> dict[str, int]:
        """The port of each socket: the manifest's, or the one that was picked once; 0 has none yet."""
        return {each.name: each.port or record.ports.get(each.name, 0) for each in process.sockets}

    def endpoints(self, process: Process, record: ModuleRecord) -> dict[str, str]:
        """Socket name → "host:port", as clients use it."""
        host = f"[{self._address}]" if ":" in self._address else self._address
        return {name: f"{host}:{port}" for name, port in self.ports(process, record).items()}

    def prepare(
        self, process: Process, record: ModuleRecord
    ) -> tuple[dict[str, int], dict[str, socket.socket]]:
        """Every port, picked by now, and the sockets to hand over (none with swap = "restart"). Blocking.

        Raises:
            SocketUnavailable: a port is taken.
        """
        ports = self.ports(process, record)
        if process.swap == "restart":
            return {name: port or sockets.free_port(self._address) for name, port in ports.items()}, {}
        handed = {}
        for name, port in ports.items():
            handed[name] = self._public_socket(name, port)
            ports[name] = sockets.port_of(handed[name])
        return ports, handed

    def prepare_beside(
        self, process: Process, record: ModuleRecord
    ) -> tuple[dict[str, int], dict[str, socket.socket]]:
        """The same ports, and for each a second socket that only `source` reaches. Blocking.

        Where nothing listens yet the agent holds the public one itself, so that nobody is let in early.

        Raises:
            Conflict: the program binds its ports itself, or the sockets are not of IPv4.
            SocketUnavailable: a port is taken, or there are two sockets already.
        """
        if process.swap == "restart":
            raise Conflict('a program with swap = "restart" cannot run beside itself: it binds its own ports')
        if ":" in self._address:
            raise Conflict(f"a second instance needs sockets of IPv4, and they listen on {self._address}")
        ports = self.ports(process, record)
        handed = {}
        for name, port in ports.items():
            first = self._public_socket(name, port)
            ports[name] = sockets.port_of(first)
            group = name, ports[name]
            handed[name] = sockets.join(name, first, self.source)
            self._held[group].append(handed[name])
            self._public[group] = sockets.inode(first)
        return ports, handed

    def steer(self, chosen: Mapping[str, int]) -> None:
        """Let the public reach these sockets (name → inode) where there are two; each at once. Blocking."""
        for (name, port), group in self._held.items():
            inodes = [sockets.inode(each) for each in group]
            if len(group) == 2 and chosen.get(name) in inodes:
                public = inodes.index(chosen[name])
                steering.steer(group[0], public=public, private=1 - public, source=self.source)
                self._public[name, port] = chosen[name]

    def recover(self, instances: list[Instance]) -> None:
        """Get the sockets back that running processes were given. Blocking."""
        for instance in instances:
            for name, inode in instance.record.sockets.items():
                if inode in [sockets.inode(each) for group in self._held.values() for each in group]:
                    continue
                found = sockets.recover(instance.pid, instance.pidfd, inode)
                if found is not None:
                    self._held.setdefault((name, sockets.port_of(found)), []).append(found)
        held = {name for name, _ in self._held}
        self.lost = {name for instance in instances for name in instance.record.sockets} - held

    def public(self) -> dict[str, int]:
        """Name → inode of the sockets that the public reaches, where there are two."""
        return {name: inode for (name, _), inode in self._public.items()}

    def drop(self, unused: Mapping[str, int]) -> None:
        """Close these sockets (name → inode), which no process has any more."""
        held = [sockets.inode(each) for group in self._held.values() for each in group]
        self.trim([inode for inode in held if inode not in unused.values()])

    def trim(self, keep: Collection[int]) -> None:
        """Close all sockets but these (inodes)."""
        for group, members in list(self._held.items()):
            for each in [each for each in members if sockets.inode(each) not in keep]:
                members.remove(each)
                each.close()
            if len(members) < 2:
                self._public.pop(group, None)
            if not members:
                del self._held[group]
        self.lost -= {name for name in self.lost if not keep}

    def _public_socket(self, name: str, port: int) -> socket.socket:
        """The socket that the public reaches; bound now where there is none."""
        members = self._held.get((name, port), [])
        public = self._public.get((name, port))
        found = next((each for each in members if public in (None, sockets.inode(each))), None)
        if found is None:
            found = sockets.bind(name, self._address, port)
            self._held[name, sockets.port_of(found)] = [found]
        self.lost.discard(name)
        return found
