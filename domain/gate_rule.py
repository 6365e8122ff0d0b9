"""What a gate demands: how many people, of which role and groups, by when, and what then.

Times are seconds.
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from domain.base import Frozen, Strict
from domain.names import GateName, GroupName
from domain.roles import Role

Wait = Annotated[float, Field(gt=0, le=90 * 86400)]
MOST_REMINDERS = 50  # per gate, so that its history stays small however long it waits


class SubjectKind(StrEnum):
    """What people decide on."""

    DEPLOYMENT = "deployment"
    AMENDMENT = "amendment"
    HOTFIX = "hotfix"
    FREEZE_OVERRIDE = "freeze-override"
    SCHEMA = "schema"


class GroupShare(Strict):
    """So many people of one group."""

    group: GroupName
    required: int = Field(default=1, ge=1, le=20)


class Missing(Frozen):
    """The approvals that a quorum still lacks: of groups, and of anybody else who may vote."""

    groups: tuple[GroupShare, ...] = ()
    others: int = 0
    role: Role = Role.APPROVER

    @property
    def count(self) -> int:
        """How many people."""
        return self.others + sum(share.required for share in self.groups)

    @property
    def words(self) -> str:
        """For people: "1 × sre, 1 × approver"; empty when nothing is missing."""
        parts = [f"{share.required} × {share.group}" for share in self.groups]
        return ", ".join([*parts, f"{self.others} × {self.role}"] if self.others else parts)


class Quorum(Strict):
    """Who decides, and how many of them.

    Attributes:
        required: how many different people must approve.
        role: what each of them must at least be.
        groups: of which groups they must be. One person counts for one group only, however many he is in;
            when the shares add up to more than `required`, their sum is what is required.
    """

    required: int = Field(default=1, ge=1, le=20)
    role: Role = Role.APPROVER
    groups: tuple[GroupShare, ...] = Field(default=(), max_length=10)

    @model_validator(mode="after")
    def _groups_differ(self) -> Self:
        names = [share.group for share in self.groups]
        if len(names) != len(dict.fromkeys(names)):
            raise ValueError("groups: a group is named twice")
        return self

    @property
    def people(self) -> int:
        """How many different people must approve in all."""
        return max(self.required, sum(share.required for share in self.groups))

    @property
    def open_to_all(self) -> bool:
        """Whether an approval by somebody of none of the groups can help."""
        return self.people > sum(share.required for share in self.groups)

    def concerns(self, groups: Iterable[str]) -> bool:
        """Whether somebody of these groups can help to pass."""
        wanted = [share.group for share in self.groups]
        return self.open_to_all or any(group in wanted for group in groups)

    def missing(self, approvers: Sequence[Sequence[str]]) -> Missing:
        """What is missing when people with these groups have approved (one entry per person)."""
        seats = [share.group for share in self.groups for _ in range(share.required)]
        empty = _empty_seats(seats, approvers)
        shares = tuple(
            GroupShare(group=share.group, required=empty.count(share.group))
            for share in self.groups
            if share.group in empty
        )
        others = max(0, self.people - len(approvers) - len(empty))
        return Missing(groups=shares, others=others, role=self.role)


def _empty_seats(seats: Sequence[str], people: Sequence[Sequence[str]]) -> list[str]:
    """The seats left when as many as possible are taken, each by another person of its group.

    A maximum bipartite matching by augmenting paths (Kuhn's algorithm).
    """
    seated: dict[int, int] = {}

    def seat(person: int, tried: list[int]) -> bool:
        for number, group in enumerate(seats):
            if group in people[person] and number not in tried:
                tried.append(number)
                if number not in seated or seat(seated[number], tried):
                    seated[number] = person
                    return True
        return False

    for person in range(len(people)):
        seat(person, [])
    return [group for number, group in enumerate(seats) if number not in seated]


class Escalation(Quorum):
    """Who may decide instead, once a gate has expired: either quorum passes it from then on."""

    expires_after: Wait = 24 * 3600
    on_expiry: Literal["reject", "hold"] = "reject"


class GateRule(Quorum):
    """A point that waits for people. One rejection is enough to reject.

    Attributes:
        before_wave: the wave that must not start before the gate is passed; 1 is "before anything moves",
            2 is "after the first wave has proved itself". In a plan with fewer waves it is before the last.
        every_wave: a gate of its own before that wave and before each later one; the gates are named
            NAME-WAVE.
        exclude_requester: whoever asked for the deployment, or amended it, cannot approve it (four eyes).
        on_expiry: reject, hold until a person decides, or escalate to another quorum.
        remind_every: how often to say that it still waits; None: never. At most MOST_REMINDERS times.
    """

    name: GateName
    before_wave: int = Field(default=2, ge=1, le=100)
    every_wave: bool = False
    exclude_requester: bool = True
    expires_after: Wait = 24 * 3600
    on_expiry: Literal["reject", "hold", "escalate"] = "reject"
    escalation: Escalation | None = None
    remind_every: Annotated[float, Field(ge=60, le=30 * 86400)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.on_expiry == "escalate") != (self.escalation is not None):
            raise ValueError("on_expiry escalate and escalation go together")
        if self.every_wave and len(self.name) > 56:
            raise ValueError("name: at most 56 characters where every_wave adds the wave's number")
        return self

    def before(self, wave: int) -> "GateRule | None":
        """The gate that this rule puts before a wave, if it does."""
        if self.every_wave and wave >= self.before_wave:
            changes = {"name": f"{self.name}-{wave}", "before_wave": wave, "every_wave": False}
            return self.model_copy(update=changes)
        return self if wave == self.before_wave and not self.every_wave else None


def collision(rules: Sequence[GateRule]) -> str | None:
    """A name that two gates of a plan could share, if there is one."""
    names = [rule.name for rule in rules]
    for index, rule in enumerate(rules):
        if rule.name in names[:index]:
            return rule.name
        if rule.every_wave:
            numbered = [name for name in names if re.fullmatch(rf"{re.escape(rule.name)}-\d+", name)]
            if numbered:
                return numbered[0]
    return None
