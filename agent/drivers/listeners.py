"""The listening sockets and ports of one module: picked once, held by the agent, shared by its processes."""

import socket

from agent import sockets
from agent.drivers.instance import Instance
from agent.records import ModuleRecord
from domain.manifest import Process


class Listeners:
    """Ports by socket name, and, for programs that take sockets over, the sockets themselves."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._held: dict[tuple[str, int], socket.socket] = {}
        self.lost: set[str] = set()

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
            held = self._held.get((name, port)) or sockets.bind(name, self._address, port)
            ports[name] = sockets.port_of(held)
            self._held[name, ports[name]] = held
            self.lost.discard(name)
            handed[name] = held
        return ports, handed

    def recover(self, instances: list[Instance]) -> None:
        """Get the sockets back that running processes were given. Blocking."""
        for instance in instances:
            for name, inode in instance.record.sockets.items():
                found = sockets.recover(instance.pid, instance.pidfd, inode)
                if found is not None and (name, sockets.port_of(found)) not in self._held:
                    self._held[name, sockets.port_of(found)] = found
                elif found is not None:
                    found.close()
        held = {name for name, _ in self._held}
        self.lost = {name for instance in instances for name in instance.record.sockets} - held

    def trim(self, keep: dict[str, int]) -> None:
        """Close the sockets that the current release does not use."""
        for key in [key for key in self._held if keep.get(key[0]) != key[1]]:
            self._held.pop(key).close()
        self.lost &= set(keep)
