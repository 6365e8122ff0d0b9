"""Nodes that are away, and how many must stay up: what a rollout asks of the fleet around it."""

from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import Field

from domain.base import Frozen, Strict


class OfflineBudget(Strict):
    """How many nodes may be offline when the plan is made.

    They are deferred: left out of the plan, and brought to what is current when they are back. More of them
    refuse the plan, naming the nodes.
    """

    share: float = Field(default=0.05, ge=0, lt=1)
    minimum: int = Field(default=0, ge=0)

    def exceeded(self, *, offline: int, nodes: int) -> bool:
        """Whether `offline` of `nodes` are too many."""
        return offline > max(self.minimum, int(self.share * nodes))


class Standing(Frozen):
    """One node as its zone's margin counts it.

    `in_change` nodes count as down until they are read back; `touched` ones were changed by the rollout that
    asks, or are being changed.
    """

    zone: str
    healthy: bool
    in_change: bool
    touched: bool = False


def admitted(
    wanted: Sequence[str], standings: Mapping[str, Standing], margin: Mapping[str, int]
) -> tuple[str, ...]:
    """The wanted nodes that may start now, in order, so that each zone keeps its margin of nodes that are up.

    A node that a crashed attempt has begun to change may go on. One that is not up takes nothing away from
    its zone, but it still waits while the zone lacks its margin.
    """
    up = Counter(each.zone for each in standings.values() if each.healthy and not each.in_change)
    chosen = []
    for name in wanted:
        standing = standings.get(name)
        if standing is None or standing.in_change:
            chosen.append(name)
            continue
        if up[standing.zone] - standing.healthy >= margin.get(standing.zone, 0):
            up[standing.zone] -= standing.healthy
            chosen.append(name)
    return tuple(chosen)


def spoilt(waiting: Sequence[str], standings: Mapping[str, Standing]) -> tuple[str, ...]:
    """The waiting nodes of zones where a node is ill that the rollout has changed: it may be the reason."""
    zones = [each.zone for each in standings.values() if each.touched and not each.healthy]
    return tuple(name for name in waiting if name in standings and standings[name].zone in zones)
