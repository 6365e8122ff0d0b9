"""Ports and nodes: chosen at the first start, kept for all that follow."""

import socket
from collections.abc import Callable, Collection
from pathlib import Path

from pydantic import Field

from domain.base import Frozen
from domain.errors import Conflict, HotswapError
from domain.names import EnvironmentName
from runtime.files import replace

DEFAULT_NODES = 10
DEFAULT_ENVIRONMENT = "production"
# PostgreSQL's is away from its usual 5432, where a system's own may come up later.
DEFAULT_PORTS = {"postgres": 5442, "temporal": 7233, "temporal-ui": 8233, "api": 8080}
FIRST_AGENT_PORT = 7701
_SPAN = 1000


class NoFreePort(HotswapError):
    """Every port in reach is taken."""

    code = "no-free-port"


class Choices(Frozen):
    """What a stack is made of.

    Attributes:
        environment: where its nodes belong.
        nodes: how many there are.
        ports: by part; the agents' parts are named as their nodes.
    """

    environment: EnvironmentName = DEFAULT_ENVIRONMENT
    nodes: int = Field(default=DEFAULT_NODES, ge=0, le=500)
    ports: dict[str, int] = Field(default_factory=dict)

    @property
    def node_names(self) -> tuple[str, ...]:
        """The nodes in order: node-01, node-02 and so on."""
        return tuple(f"node-{number:02}" for number in range(1, self.nodes + 1))


def decide(
    path: Path,
    *,
    nodes: int | None,
    environment: str | None,
    running: Collection[str],
    free: Callable[[int], bool],
) -> Choices:
    """The choices for this start: those of the last one, completed and with taken ports replaced.

    Args:
        path: where they are kept.
        nodes: how many nodes are wanted; None for as many as there are.
        environment: where they belong; None for where they are.
        running: parts whose process still runs: their ports are taken by themselves.
        free: whether a port may be listened on.

    Raises:
        Conflict: fewer nodes or another environment than the stack has.
        NoFreePort: as it says.
    """
    before = Choices.model_validate_json(path.read_bytes()) if path.exists() else None
    if before is not None:
        _refuse_changes(before, nodes=nodes, environment=environment)
    wanted = before or Choices()
    given = {"nodes": nodes, "environment": environment}
    wanted = Choices.model_validate(
        {**wanted.model_dump(), **{name: value for name, value in given.items() if value is not None}}
    )
    ports = _ports(wanted, running=running, free=free)
    choices = wanted.model_copy(update={"ports": ports})
    replace(path, choices.model_dump_json(indent=2).encode())
    return choices


def is_free(port: int) -> bool:
    """Whether a port of this machine can be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _refuse_changes(before: Choices, *, nodes: int | None, environment: str | None) -> None:
    if nodes is not None and nodes < before.nodes:
        raise Conflict(f"this stack has {before.nodes} nodes; a new directory may have fewer", field="nodes")
    if environment is not None and environment != before.environment:
        raise Conflict(f"this stack's nodes belong to {before.environment}", field="environment")


def _ports(choices: Choices, *, running: Collection[str], free: Callable[[int], bool]) -> dict[str, int]:
    agents = {name: FIRST_AGENT_PORT + index for index, name in enumerate(choices.node_names)}
    wishes = {**DEFAULT_PORTS, **agents, **choices.ports}
    owners = {"temporal-ui": "temporal"}
    kept = {name: port for name, port in wishes.items() if owners.get(name, name) in running}
    chosen = dict(kept)
    for name, wish in wishes.items():
        if name not in kept:
            chosen[name] = _first_free(wish, set(chosen.values()) | set(wishes.values()) - {wish}, free)
    return chosen


def _first_free(wish: int, reserved: Collection[int], free: Callable[[int], bool]) -> int:
    for port in range(wish, min(wish + _SPAN, 65536)):
        if port not in reserved and free(port):
            return port
    raise NoFreePort(f"no free port from {wish} on")
