"""A gate as the API shows it."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel

from api.links import approval_links
from domain.gate import RefusedVote, Vote
from domain.roles import Role
from runtime.settings import ApiSettings
from store.records import StoredPoll

CLOSED = "closed"  # the deployment ended before the gate did


class GateView(BaseModel):
    """A gate that was opened: what it is about, who has voted, and how it ended if it did.

    `plan` is the digest of the plan that votes bind to; `result` is null while it waits.
    """

    id: str
    deployment: str
    environment: str
    name: str
    subject: str
    requester: str
    plan: str
    before_wave: int
    role: Role
    required: int
    approvals: int
    exclude_requester: bool
    unsigned_votes: bool
    opened_at: datetime
    expires_at: datetime
    on_expiry: str
    closed_at: datetime | None
    result: str | None
    votes: tuple[Vote, ...]
    refused: tuple[RefusedVote, ...]
    links: dict[str, str]

    @classmethod
    def of(cls, stored: StoredPoll, settings: ApiSettings) -> Self:
        """From the store's row."""
        request, poll = stored.request, stored.poll
        return cls(
            id=stored.id,
            deployment=request.deployment,
            environment=request.environment,
            name=request.rule.name,
            subject=request.subject,
            requester=request.requester,
            plan=request.plan,
            before_wave=request.rule.before_wave,
            role=request.rule.role,
            required=request.rule.required,
            approvals=poll.approvals,
            exclude_requester=request.rule.exclude_requester,
            unsigned_votes=request.unsigned_votes,
            opened_at=stored.opened_at,
            expires_at=stored.expires_at,
            on_expiry=request.rule.on_expiry,
            closed_at=stored.closed_at,
            result=stored.result or (CLOSED if stored.closed_at else None),
            votes=poll.votes,
            refused=poll.refused,
            links=approval_links(settings, stored.id, request.deployment),
        )
