"""A gate, or another request to people, as the API shows it."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel

from api.links import approval_links
from domain.delegation import Delegation
from domain.gate_rule import Escalation, GroupShare, Missing, SubjectKind
from domain.roles import Role
from domain.vote import RefusedVote, Vote
from runtime.settings import ApiSettings
from store.records import StoredPoll

CLOSED = "closed"  # the deployment ended before the gate did


class GateView(BaseModel):
    """A gate that was opened: what it is about, who has voted, and how it ended if it did.

    `plan` is the digest that votes bind to: of a deployment its plan's; `result` is null while it waits.
    `missing` has what each quorum that is open still lacks, `waits_for` says it in words. `voided` are votes
    that counted until the plan was changed.
    """

    id: str
    kind: SubjectKind
    reference: str
    deployment: str | None
    environment: str
    name: str
    subject: str
    requester: str
    amended_by: tuple[str, ...]
    plan: str
    before_wave: int
    role: Role
    required: int
    groups: tuple[GroupShare, ...]
    approvals: int
    missing: tuple[Missing, ...]
    waits_for: str
    exclude_requester: bool
    unsigned_votes: bool
    opened_at: datetime
    expires_at: datetime
    on_expiry: str
    escalation: Escalation | None
    escalated: bool
    overdue: bool
    reminders: int
    closed_at: datetime | None
    result: str | None
    votes: tuple[Vote, ...]
    voided: tuple[Vote, ...]
    refused: tuple[RefusedVote, ...]
    delegations: tuple[Delegation, ...]
    links: dict[str, str]

    @classmethod
    def of(cls, stored: StoredPoll, settings: ApiSettings) -> Self:
        """From the store's row."""
        request, poll, rule = stored.request, stored.poll, stored.request.rule
        return cls.model_validate(
            {
                **rule.model_dump(
                    include={"name", "before_wave", "role", "groups", "exclude_requester", "escalation"}
                ),
                **poll.model_dump(
                    include={
                        *("plan", "requester", "amended_by", "unsigned_votes", "escalated", "overdue"),
                        *("reminders", "votes", "voided", "refused", "delegations"),
                    }
                ),
                "id": stored.id,
                "kind": request.subject.kind,
                "reference": request.subject.reference,
                "deployment": request.deployment,
                "environment": request.environment,
                "subject": request.subject.words,
                "required": rule.people,
                "approvals": poll.approvals,
                "missing": () if stored.closed_at else poll.missing,
                "waits_for": "" if stored.closed_at else poll.waits_for,
                "opened_at": stored.opened_at,
                "expires_at": stored.expires_at,
                "on_expiry": poll.on_expiry,
                "closed_at": stored.closed_at,
                "result": stored.result or (CLOSED if stored.closed_at else None),
                "links": approval_links(settings, stored.id, request.deployment),
            }
        )
