"""Amendments: before anything is ordered, and those that a deployment has had."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel

from domain.amendment import AmendmentState, Changes
from domain.difference import Difference, difference
from domain.gate_rule import GateRule
from domain.plan import Plan
from domain.widening import widens
from store.records import StoredAmendment


class AmendmentPreview(BaseModel):
    """What an amendment would make of the plan as the deployment stands now.

    `widens` says why people have to approve it, by the rule in `approval`; both are empty when it narrows,
    and then it holds from the next step on. `digest` is what votes would bind to.
    """

    before: str
    digest: str
    difference: Difference
    widens: tuple[str, ...]
    approval: GateRule | None
    waves: tuple[int, ...]

    @classmethod
    def of(cls, plan: Plan, amended: Plan) -> Self:
        """From the plan in force and the one that it would be."""
        reasons = widens(plan, amended)
        return cls(
            before=plan.digest,
            digest=amended.digest,
            difference=difference(plan, amended),
            widens=reasons,
            approval=plan.amendment if reasons else None,
            waves=tuple(len(wave.nodes) for wave in amended.waves),
        )


class AmendmentView(BaseModel):
    """An amendment that was ordered, and what became of it. Both plans are kept; this is what differs."""

    number: int
    state: AmendmentState
    message: str
    changes: Changes
    actor: str
    reason: str
    widens: tuple[str, ...]
    gate: str | None
    before: str
    digest: str
    difference: Difference
    created_at: datetime
    settled_at: datetime | None

    @classmethod
    def of(cls, stored: StoredAmendment) -> Self:
        """From the store's row."""
        same = set(cls.model_fields) & set(StoredAmendment.model_fields) - {"before"}
        return cls(
            **stored.model_dump(include=same),
            before=stored.before.digest,
            digest=stored.plan.digest,
            difference=difference(stored.before, stored.plan),
        )


class Amendments(BaseModel):
    """In the order in which they were ordered."""

    items: list[AmendmentView]
