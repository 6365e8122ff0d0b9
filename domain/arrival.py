"""What becomes of a request that finds its environment's lane busy: a decision over what runs and waits."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from domain.base import Frozen
from domain.deployment import Phase
from domain.errors import InvalidInput
from domain.names import ModuleName


class Arrival(StrEnum):
    """What becomes of a request while the environment's lane is busy.

    reject: it is refused, naming what is in its way. queue: it waits its turn. coalesce: it waits, and
    takes the place of requests for the same module that still wait. supersede: as coalesce, and it takes
    the place of the one that is under way too. preempt: only for a declared hotfix; it goes before all that
    waits and takes the place of what is under way, of whatever module.
    """

    REJECT = "reject"
    QUEUE = "queue"
    COALESCE = "coalesce"
    SUPERSEDE = "supersede"
    PREEMPT = "preempt"

    @property
    def heeds_others(self) -> bool:
        """Whether what runs and waits makes a difference to it, or it to them."""
        return self is not Arrival.QUEUE


class SupersedeMode(StrEnum):
    """How the one under way makes room.

    revert-first: it is taken back and verified, then the new one starts. roll-forward: it stops at a safe
    point, and the new one starts from there; a rollback of the new one returns to what ran before both.
    """

    REVERT_FIRST = "revert-first"
    ROLL_FORWARD = "roll-forward"


# From the strictest to the laxest: what a later one does to others, an earlier one does not.
_LAXITY: Final = (Arrival.REJECT, Arrival.QUEUE, Arrival.COALESCE, Arrival.SUPERSEDE)


def stricter(policy: Arrival, asked: Arrival | None) -> Arrival:
    """The arrival that a request gets: the environment's, or a stricter one that was asked for.

    Raises:
        InvalidInput: what was asked for is laxer, or is not to be asked for.
    """
    if asked is None or asked is policy:
        return policy
    if asked not in _LAXITY or _LAXITY.index(asked) > _LAXITY.index(policy):
        raise InvalidInput(
            f"{asked} is laxer than the environment's {policy}: only a stricter arrival may be asked for",
            field="arrival",
        )
    return asked


class Waiting(Frozen):
    """An entry of a lane, as far as arrivals look at it."""

    deployment: str
    module: ModuleName
    phase: Phase = Phase.QUEUED
    rolls_back: str | None = None
    hotfix: bool = False
    supersedes: str | None = None
    supersede_mode: SupersedeMode | None = None


class Admission(Frozen):
    """What an arrival does.

    Attributes:
        blocked_by: it is refused, because of this one.
        withdrawn: these give their places to it.
        supersedes: this one, under way, makes room for it, in `mode`.
    """

    blocked_by: str | None = None
    withdrawn: tuple[str, ...] = ()
    supersedes: str | None = None
    mode: SupersedeMode | None = None


def admit(
    module: ModuleName,
    arrival: Arrival,
    mode: SupersedeMode,
    *,
    running: Waiting | None,
    queued: Sequence[Waiting],
) -> Admission:
    """Decide about a request for `module`, from what runs and what waits (in the order of its turn).

    A rollback is never superseded, nor withdrawn; a hotfix only by a hotfix of the same module. Whatever a
    withdrawn entry was to supersede, the new one supersedes in its place.
    """
    if not arrival.heeds_others:
        return Admission()
    if arrival is Arrival.REJECT:
        ahead = running or next(iter(queued), None)
        return Admission(blocked_by=ahead.deployment if ahead else None)
    withdrawn = [each for each in queued if _gives_way(each, module, arrival)]
    if running is not None and _makes_room(running, module, arrival):
        own = mode if running.module == module else SupersedeMode.REVERT_FIRST
        supersedes: tuple[str | None, SupersedeMode | None] = (running.deployment, own)
    else:
        heirs = [each for each in withdrawn if each.supersedes is not None]
        supersedes = (heirs[0].supersedes, heirs[0].supersede_mode) if heirs else (None, None)
    return Admission(
        withdrawn=tuple(each.deployment for each in withdrawn), supersedes=supersedes[0], mode=supersedes[1]
    )


def _gives_way(waiting: Waiting, module: ModuleName, arrival: Arrival) -> bool:
    """Whether a waiting entry gives its place to the new one."""
    if waiting.module != module or waiting.rolls_back is not None:
        return False
    if arrival is Arrival.PREEMPT:  # it takes over what that one was to take over; the others wait behind it
        return waiting.supersedes is not None
    return arrival in (Arrival.COALESCE, Arrival.SUPERSEDE) and not waiting.hotfix


def _makes_room(running: Waiting, module: ModuleName, arrival: Arrival) -> bool:
    """Whether the one under way makes room for the new one."""
    if running.rolls_back is not None or running.phase is Phase.ROLLING_BACK:
        return False
    if arrival is Arrival.PREEMPT:
        return running.module == module or not running.hotfix
    return arrival is Arrival.SUPERSEDE and running.module == module and not running.hotfix
