"""The lane's rules: which of the waiting entries may start now, and who makes room for whom."""

import hashlib
import json

from domain.messages import LaneView, QueuedDeployment


def startable(view: LaneView) -> QueuedDeployment | None:
    """The entry that starts next; None when something runs, nothing waits, or nothing may start.

    A rollback that nobody has resolved keeps everything waiting but what overrides that, with a reason. A
    freeze lets rollbacks, undos and hotfixes through. What was to go beside a rollout that is over may bring
    what is out of date by now: it starts no more.
    """
    if view.running is not None:
        return None
    waiting = (entry for entry in view.queued if entry.beside is None)
    return next((entry for entry in waiting if _may_start(entry, view)), None)


def startable_beside(view: LaneView) -> QueuedDeployment | None:
    """The entry that may start beside what runs: one at a time, beside the rollout that it was made for."""
    if view.running is None or view.beside is not None:
        return None
    beside = (entry for entry in view.queued if entry.beside == view.running.deployment)
    return next((entry for entry in beside if _may_start(entry, view)), None)


def _may_start(entry: QueuedDeployment, view: LaneView) -> bool:
    if view.frozen is not None and not (view.may_override and entry.override is not None):
        return False
    return view.freeze is None or entry.goes_back or entry.hotfix


def superseder(view: LaneView) -> QueuedDeployment | None:
    """The waiting entry that what runs has to make room for; it has been asked to once it is named here."""
    if view.running is None:
        return None
    return next((entry for entry in view.queued if entry.supersedes == view.running.deployment), None)


def override_digest(entry: QueuedDeployment, frozen: str) -> str:
    """What votes about an override bind to: the entry, its reason, and why the lane is frozen."""
    said = json.dumps(
        [entry.deployment, entry.module, entry.version, entry.rolls_back, entry.override, frozen]
    )
    return hashlib.sha256(said.encode()).hexdigest()
