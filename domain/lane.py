"""The lane's rules: which of the waiting entries may start now."""

from domain.messages import LaneView, QueuedDeployment


def startable(view: LaneView) -> QueuedDeployment | None:
    """The entry that starts next; None when something runs, nothing waits, or nothing may start.

    A rollback that nobody has resolved keeps everything waiting. A freeze lets rollbacks through.
    """
    if view.running is not None or view.frozen is not None:
        return None
    if view.freeze is None:
        return view.queued[0] if view.queued else None
    return next((entry for entry in view.queued if entry.rolls_back is not None), None)
