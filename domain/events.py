"""The events that a deployment leaves behind, in order: the live stream and the audit trail read them."""

from enum import StrEnum


class EventKind(StrEnum):
    """What happened."""

    QUEUED = "deployment.queued"
    PLANNED = "deployment.planned"
    PHASE = "deployment.phase"
    FINISHED = "deployment.finished"
    GATE_OPENED = "gate.opened"
    VOTE_COUNTED = "gate.vote-counted"
    VOTE_REFUSED = "gate.vote-refused"
    GATE_AMENDED = "gate.amended"
    GATE_DELEGATED = "gate.delegated"
    GATE_REMINDED = "gate.reminded"
    GATE_ESCALATED = "gate.escalated"
    GATE_HELD = "gate.held"
    GATE_CLOSED = "gate.closed"
    VERDICT = "analysis.verdict"
    NODES_FAILED = "nodes.failed"
    COMMAND = "deployment.command"
    SIGNAL_REFUSED = "deployment.signal-refused"
    ROLLBACK_STUCK = "rollback.stuck"
    LANE_FROZEN = "lane.frozen"
    LANE_RESOLVED = "lane.resolved"
    SUPERSEDES = "deployment.supersedes"
    FREEZE_ADDED = "freeze.added"
    FREEZE_REMOVED = "freeze.removed"
