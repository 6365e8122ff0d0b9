"""Whose fault a failed node is. Only failures of the release count against the release.

A node that cannot be reached, has no room or has lost a socket says nothing about the release: it is
quarantined, by name and with its cause. Many such nodes at once are no sick nodes but a sick network or a
sick site: then nothing is quarantined, and the rollout holds; so it does where a zone could not spare a node,
and not for the rollout's sake. A hook that failed is the operator's: hooks
are the environment's, not the release's, whose own programs (smoke, reload) fail under codes of their own. A
failure that could be either counts against the release, unless the node's module was ill already before the
rollout touched it (the same fault on the control).
"""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Final

from pydantic import Field

from domain.base import Frozen, Strict
from domain.deployment import NodeFailure
from domain.errors import (
    AddressRefused,
    AnswerUnreadable,
    DiskFull,
    Fenced,
    HookFailed,
    NodeUnreachable,
    NodeUntrusted,
    SocketUnavailable,
    WrongTenant,
    ZoneShort,
)


class Blame(StrEnum):
    """What a node's failure is put down to."""

    RELEASE = "release"
    NODE = "node"
    INFRASTRUCTURE = "infrastructure"
    OPERATOR = "operator"


# Codes that say whose fault it is; any other could be the release's.
_BY_CODE: Final = {
    NodeUnreachable.code: Blame.NODE,
    NodeUntrusted.code: Blame.NODE,
    AddressRefused.code: Blame.NODE,
    AnswerUnreadable.code: Blame.NODE,
    WrongTenant.code: Blame.NODE,
    DiskFull.code: Blame.NODE,
    SocketUnavailable.code: Blame.NODE,
    Fenced.code: Blame.OPERATOR,  # somebody else has ordered something newer of this module
    HookFailed.code: Blame.OPERATOR,
    ZoneShort.code: Blame.INFRASTRUCTURE,
}
_OF_THE_NETWORK: Final = (NodeUnreachable.code, NodeUntrusted.code, AddressRefused.code)


class Attributed(Frozen):
    """A failure, and what it is put down to."""

    failure: NodeFailure
    blame: Blame

    @property
    def words(self) -> str:
        """For people: node, what, whose fault."""
        return f"{self.failure.node}: {self.failure.message} ({self.blame})"


class IllBudget(Strict):
    """How many nodes a rollout may lose for their own sake, and from when on it is not theirs.

    Attributes:
        share: of the plan's nodes, rounded down.
        minimum: this many are always allowed.
        outage: so many unreachable nodes in one step are an outage of the infrastructure, if they are more
            than `outage_share` of the step's nodes too.
    """

    share: float = Field(default=0.1, ge=0, lt=1)
    minimum: int = Field(default=1, ge=0)
    outage: int = Field(default=3, ge=2)
    outage_share: float = Field(default=0.2, gt=0, lt=1)

    def exceeded(self, *, ill: int, planned: int) -> bool:
        """Whether `ill` of `planned` nodes are too many to go on without them."""
        return ill > max(self.minimum, int(self.share * planned))

    def is_outage(self, *, unreachable: int, executed: int) -> bool:
        """Whether so many unreachable nodes of a step have a common cause."""
        return unreachable >= self.outage and unreachable > self.outage_share * executed


def attribute(
    failures: Sequence[NodeFailure], *, executed: int, ailing: Collection[str], budget: IllBudget
) -> tuple[Attributed, ...]:
    """Put each failure of one step down to somebody.

    Args:
        failures: of one operation on one wave.
        executed: how many nodes the operation was tried on, these included.
        ailing: nodes whose module was ill before the rollout touched them.
        budget: what counts as an outage.
    """
    unreachable = sum(failure.code in _OF_THE_NETWORK for failure in failures)
    outage = budget.is_outage(unreachable=unreachable, executed=executed)

    def blame(failure: NodeFailure) -> Blame:
        if outage and failure.code in _OF_THE_NETWORK:
            return Blame.INFRASTRUCTURE
        if failure.code in _BY_CODE:
            return _BY_CODE[failure.code]
        return Blame.NODE if failure.node in ailing else Blame.RELEASE

    return tuple(Attributed(failure=failure, blame=blame(failure)) for failure in failures)


def of(blame: Blame, attributed: Sequence[Attributed]) -> tuple[Attributed, ...]:
    """Those put down to `blame`."""
    return tuple(each for each in attributed if each.blame is blame)
