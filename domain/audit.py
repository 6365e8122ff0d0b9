"""The audit trail: what an entry says, and the chain of hashes that shows whether one was changed.

Each tenant has one chain. An entry's hash is SHA-256 over the hash before it, the tenant, its number, its
time and its content, so that nothing can be changed, left out or put in between without the rest telling.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from domain.base import Frozen
from domain.errors import Conflict
from domain.events import EventKind

FIRST: Final = "0" * 64  # what the first entry of a chain has before it
SYSTEM_ACTOR: Final = "system"  # what no person asked for
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class ChainBroken(Conflict):
    """The audit trail was changed: an entry does not fit the one before it."""

    code = "audit-chain-broken"


class AuditCategory(StrEnum):
    """What an entry is about."""

    SIGN_IN = "sign-in"
    PEOPLE = "people"
    DEPLOYMENT = "deployment"
    APPROVAL = "approval"
    ENVIRONMENT = "environment"
    RELEASE = "release"
    NODE = "node"
    TENANT = "tenant"


class AuditOutcome(StrEnum):
    """Whether it was done."""

    DONE = "done"
    REFUSED = "refused"


class Origin(Frozen):
    """Where a request came from. `trace` is its W3C trace id, `correlation` what it is part of."""

    address: str = ""
    agent: str = ""
    trace: str = ""
    correlation: str = ""


class AuditNote(Frozen):
    """One thing that was done or refused.

    Attributes:
        actor: who; SYSTEM_ACTOR for what no person asked for.
        action: what, as a stable word: `policy.set`, `deployment.queued`.
        subject: the kind of the object, such as `deployment`; `subject_id` names it.
        reason: why, in a person's words or as the code of a refusal.
        before, after: the object as far as it changed; JSON values.
    """

    actor: str
    action: str
    category: AuditCategory
    subject: str
    subject_id: str
    outcome: AuditOutcome = AuditOutcome.DONE
    reason: str = ""
    before: Any = None
    after: Any = None

    def content(self, origin: Origin) -> str:
        """The text that is kept and hashed: JSON with sorted keys and without spaces."""
        said = {**self.model_dump(), "origin": origin.model_dump()}
        return json.dumps(_storable(said), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class AuditLink(Frozen):
    """An entry as it is kept; `sequence` numbers a tenant's entries from 1."""

    tenant: str
    sequence: int
    at: datetime
    content: str
    previous: str
    hash: str


class ChainHead(Frozen):
    """The end of a chain, or the point up to which old entries were dropped; 0 and FIRST for an empty one."""

    sequence: int = 0
    hash: str = FIRST


def link_hash(previous: str, tenant: str, sequence: int, at: datetime, content: str) -> str:
    """The hash of an entry; `at` counts in whole microseconds since 1970. The database computes the same."""
    microseconds = (at - _EPOCH) // _MICROSECOND
    parts = (previous, tenant, str(sequence), str(microseconds), content)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def follow(head: ChainHead, links: Iterable[AuditLink], *, known: ChainHead | None = None) -> ChainHead:
    """Go on from a point of the chain over the entries that follow it, oldest first; where that leads.

    With `known`, a point that the chain had earlier, the entry of its number must have its hash.

    Raises:
        ChainBroken: the first entry that is missing, changed or out of place, by number.
    """
    for link in links:
        if link.sequence != head.sequence + 1:
            raise ChainBroken(f"entry {head.sequence + 1} is missing")
        hashed = link_hash(head.hash, link.tenant, link.sequence, link.at, link.content)
        if link.previous != head.hash or link.hash != hashed:
            raise ChainBroken(f"entry {link.sequence} was changed")
        head = ChainHead(sequence=link.sequence, hash=link.hash)
        if known is not None and head.sequence == known.sequence and head != known:
            raise ChainBroken(f"entry {link.sequence} is another than it was")
    return head


# What only tells how a rollout goes, and what the judge and the nodes say, is in the events.
NOT_AUDITED: Final = (
    EventKind.PLANNED,
    EventKind.PHASE,
    EventKind.VERDICT,
    EventKind.PROVIDER_DOWN,
    EventKind.PROVIDER_BACK,
    EventKind.NODES_FAILED,
    EventKind.PROMOTION_PHASE,
)
_REFUSALS: Final = (EventKind.VOTE_REFUSED, EventKind.SIGNAL_REFUSED, EventKind.PROMOTION_SIGNAL_REFUSED)
_CATEGORY_OF: Final = {"gate": AuditCategory.APPROVAL, "lane": AuditCategory.ENVIRONMENT}


def note_of_event(
    kind: EventKind, subject: str, subject_id: str, payload: dict[str, Any]
) -> AuditNote | None:
    """What the audit trail says of an event; None for those that it leaves to the events."""
    if kind in NOT_AUDITED:
        return None
    said = {name: value for name, value in payload.items() if name not in ("actor", "message")}
    return AuditNote(
        actor=str(payload.get("actor") or SYSTEM_ACTOR),
        action=kind,
        category=_CATEGORY_OF.get(kind.split(".")[0], AuditCategory.DEPLOYMENT),
        subject=subject,
        subject_id=subject_id,
        outcome=AuditOutcome.REFUSED if kind in _REFUSALS else AuditOutcome.DONE,
        reason=str(payload.get("message", "")),
        after=said or None,
    )


def _storable(value: Any) -> Any:
    """The value without what PostgreSQL's text cannot hold: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, dict):
        return {_storable(str(name)): _storable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(each) for each in value]
    return value
