"""The life of a deployment: its phases, which may follow which, and what ended it."""

from enum import StrEnum
from typing import Final

from domain.base import Frozen
from domain.errors import IllegalTransition


class Phase(StrEnum):
    """Where a deployment stands."""

    QUEUED = "queued"
    PLANNING = "planning"
    STAGING = "staging"
    WAITING_APPROVAL = "waiting-approval"
    ACTIVATING = "activating"
    VERIFYING = "verifying"
    BAKING = "baking"
    ANALYZING = "analyzing"
    PAUSED = "paused"
    HOLDING = "holding"
    FROZEN = "frozen"
    ROLLING_BACK = "rolling-back"
    COMPLETED = "completed"
    ROLLED_BACK_VERIFIED = "rolled-back-verified"
    ROLLED_BACK_UNVERIFIED = "rolled-back-unverified"
    REJECTED = "rejected"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        """Whether nothing can follow."""
        return not TRANSITIONS[self]


_STEPS: Final = (
    Phase.STAGING,
    Phase.WAITING_APPROVAL,
    Phase.ACTIVATING,
    Phase.VERIFYING,
    Phase.BAKING,
    Phase.ANALYZING,
    Phase.PAUSED,
    Phase.HOLDING,
    Phase.FROZEN,
)
# Superseded: another deployment has taken its place. Nodes that it changed are that one's from then on.
_ENDS_AS_IT_STANDS: Final = (Phase.REJECTED, Phase.ABORTED, Phase.SUPERSEDED, Phase.FAILED)
_STEPPING: Final = frozenset((*_STEPS, *_ENDS_AS_IT_STANDS, Phase.ROLLING_BACK, Phase.COMPLETED))

# Which phases may follow which. A rollback, once begun, ends in one of its two ends and nowhere else.
TRANSITIONS: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.QUEUED: frozenset((Phase.PLANNING, Phase.ROLLING_BACK, *_ENDS_AS_IT_STANDS)),
    Phase.PLANNING: frozenset((*_STEPS, *_ENDS_AS_IT_STANDS, Phase.ROLLING_BACK)),
    **dict.fromkeys(_STEPS, _STEPPING),
    Phase.ROLLING_BACK: frozenset((Phase.ROLLED_BACK_VERIFIED, Phase.ROLLED_BACK_UNVERIFIED)),
    Phase.COMPLETED: frozenset(),
    Phase.ROLLED_BACK_VERIFIED: frozenset(),
    Phase.ROLLED_BACK_UNVERIFIED: frozenset(),
    Phase.REJECTED: frozenset(),
    Phase.ABORTED: frozenset(),
    Phase.SUPERSEDED: frozenset(),
    Phase.FAILED: frozenset(),
}
TERMINAL_PHASES: Final = tuple(phase for phase in Phase if phase.terminal)


def advance(present: Phase, following: Phase) -> Phase:
    """The following phase, if it may follow; staying is always allowed.

    Raises:
        IllegalTransition: the table has no such step.
    """
    if following is not present and following not in TRANSITIONS[present]:
        raise IllegalTransition(f"a deployment cannot go from {present} to {following}", field="phase")
    return following


class CauseKind(StrEnum):
    """What ended a deployment, or turned it back."""

    ANALYSIS = "analysis"
    INCONCLUSIVE = "inconclusive"
    NODE_FAILURES = "node-failures"
    INFRASTRUCTURE = "infrastructure"
    DEADLINE = "deadline"
    HOOK = "hook"
    REJECTED = "rejected"
    EXPIRED = "expired"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"
    OPERATOR = "operator"
    TERMINATED = "terminated"
    PLAN = "plan"
    INTERNAL = "internal"

    @property
    def human(self) -> bool:
        """Whether people decided so, rather than the release failing."""
        return self in (CauseKind.REJECTED, CauseKind.EXPIRED, CauseKind.ABORTED, CauseKind.SUPERSEDED)


# How a deployment ends that touched no node; any other cause is a failure.
UNTOUCHED_END: Final = {
    CauseKind.REJECTED: Phase.REJECTED,
    CauseKind.EXPIRED: Phase.REJECTED,
    CauseKind.ABORTED: Phase.ABORTED,
    CauseKind.SUPERSEDED: Phase.SUPERSEDED,
}


class Cause(Frozen):
    """Why, in words, and who, where it was a person."""

    kind: CauseKind
    message: str
    actor: str | None = None


class NodeFailure(Frozen):
    """One node that did not do as ordered: its name, a code of domain.errors, and words."""

    node: str
    code: str
    message: str


def exit_code(phase: Phase, cause: Cause | None, *, frozen: bool = False) -> int:
    """The exit code of `hotswap deploy --watch`.

    0 completed; 2 rolled back and verified; 3 rolled back but not verified, or the lane is frozen;
    4 still under way or waiting; 5 rejected, aborted or superseded; 1 failed before anything
    was touched.
    """
    if frozen or phase is Phase.ROLLED_BACK_UNVERIFIED:
        return 3
    if phase is Phase.ROLLED_BACK_VERIFIED:
        return 5 if cause is not None and cause.kind.human else 2
    ends = {Phase.COMPLETED: 0, Phase.REJECTED: 5, Phase.ABORTED: 5, Phase.SUPERSEDED: 5, Phase.FAILED: 1}
    return ends.get(phase, 4)
