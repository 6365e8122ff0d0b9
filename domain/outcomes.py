"""How far a node has come in a deployment, as it is recorded and as people see it."""

from enum import StrEnum

from domain.deployment import Phase


class OutcomeKind(StrEnum):
    """The last thing that was recorded of a node."""

    STAGED = "staged"
    STARTED = "started"
    ACTIVATED = "activated"
    VERIFIED = "verified"
    REVERTED = "reverted"
    REVERT_VERIFIED = "revert-verified"
    FAILED = "failed"


class NodeState(StrEnum):
    """A node's place in a deployment, in a word."""

    PENDING = "pending"
    STAGED = "staged"
    STARTED = "started"
    ACTIVATING = "activating"
    ACTIVATED = "activated"
    VERIFIED = "verified"
    FAILED = "failed"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    UNVERIFIED = "unverified"
    OLD = "old"


_SEEN = {
    OutcomeKind.FAILED: NodeState.FAILED,
    OutcomeKind.REVERT_VERIFIED: NodeState.ROLLED_BACK,
    OutcomeKind.REVERTED: NodeState.ROLLING_BACK,
    OutcomeKind.VERIFIED: NodeState.VERIFIED,
    OutcomeKind.ACTIVATED: NodeState.ACTIVATED,
    OutcomeKind.STARTED: NodeState.STARTED,
}
_FORWARD = (OutcomeKind.VERIFIED, OutcomeKind.ACTIVATED, OutcomeKind.STARTED)


def node_state(outcome: OutcomeKind | None, *, touched: bool, unverified: bool, phase: Phase) -> NodeState:
    """What to call a node.

    Args:
        outcome: the last that was recorded of it.
        touched: whether it may have been changed.
        unverified: whether the rollback could not prove that it is back.
        phase: the deployment's.
    """
    if unverified:
        return NodeState.UNVERIFIED
    over = phase.terminal or phase is Phase.ROLLING_BACK
    if outcome in _SEEN and not (phase is Phase.ROLLING_BACK and outcome in _FORWARD):
        return _SEEN[outcome]
    if touched:
        return NodeState.ROLLING_BACK if over else NodeState.ACTIVATING
    if over:
        return NodeState.OLD
    return NodeState.STAGED if outcome is OutcomeKind.STAGED else NodeState.PENDING
