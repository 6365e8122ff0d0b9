"""One entry of an environment's history, as the API shows it."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, Field

from api.links import deployment_path
from domain.deployment import Cause, Phase
from domain.release import ReleaseRef
from store.history import HistoryEntry, NodeChange


class ChangeView(BaseModel):
    """Nodes that went the same way; null is "not installed". `unverified` are those of no proved end."""

    before: ReleaseRef | None = Field(serialization_alias="from")
    after: ReleaseRef | None = Field(serialization_alias="to")
    nodes: list[str]
    unverified: list[str]


class HistoryView(BaseModel):
    """A deployment that changed nodes: what was asked, by whom and why, and what it came to.

    `release` is what it brought, or, with `rolls_back`, what it took away; `actor` is whoever turned it back
    where somebody did, else whoever asked for it.
    """

    deployment: str
    environment: str
    release: ReleaseRef
    strategy: str | None
    rolls_back: str | None
    phase: Phase
    requester: str
    actor: str
    reason: str
    cause: Cause | None
    started_at: datetime | None
    finished_at: datetime | None
    changes: list[ChangeView]
    links: dict[str, str]

    @classmethod
    def of(cls, entry: HistoryEntry) -> Self:
        """From the store's rows."""
        stored = entry.deployment
        return cls(
            deployment=stored.id,
            environment=stored.environment,
            release=stored.release,
            strategy=stored.strategy.kind if stored.strategy else None,
            rolls_back=stored.rolls_back,
            phase=stored.phase,
            requester=stored.requester,
            actor=(stored.cause.actor if stored.cause else None) or stored.requester,
            reason=stored.description,
            cause=stored.cause,
            started_at=stored.started_at,
            finished_at=stored.finished_at,
            changes=_changes(entry.changes, stored.unverified),
            links={"deployment": deployment_path(stored.id)},
        )


def _changes(changes: tuple[NodeChange, ...], unverified: tuple[str, ...]) -> list[ChangeView]:
    """Nodes of the same way together, in the order in which the ways first come."""
    found: dict[tuple[ReleaseRef | None, ReleaseRef | None, bool], ChangeView] = {}
    for each in changes:
        way = (each.before, each.after, each.seen)
        view = found.setdefault(
            way, ChangeView(before=each.before, after=each.after, nodes=[], unverified=[])
        )
        view.nodes.append(each.node)
        if each.verified_at is None or each.node in unverified:
            view.unverified.append(each.node)
    return list(found.values())
