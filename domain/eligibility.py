"""Whether a gate can be passed at all, by the people that there are. Checked before anything moves."""

from collections.abc import Iterable, Sequence

from domain.base import Frozen
from domain.errors import PlanImpossible
from domain.gate_rule import GateRule, Quorum
from domain.names import GroupName
from domain.roles import Role


class Person(Frozen):
    """Somebody who may sign in: what he is, and the groups that he is in."""

    username: str
    role: Role
    groups: tuple[GroupName, ...] = ()


def check_gates(
    rules: Iterable[GateRule], people: Sequence[Person], *, authors: Sequence[str], unsigned_votes: bool
) -> None:
    """Refuse gates that nobody can pass.

    Args:
        rules: the gates.
        people: everybody of the tenant.
        authors: who asked for it or changed it; they cannot approve where the rule excludes them.
        unsigned_votes: whether approvals by anybody count, so that no account is needed to give one.

    Raises:
        PlanImpossible: `field` names the gate and what of it cannot be.
    """
    for rule in rules:
        excluded = tuple(authors) if rule.exclude_requester else ()
        _check(rule, f"gates.{rule.name}", people, excluded, unsigned_votes=unsigned_votes)
        if rule.escalation is not None:
            field = f"gates.{rule.name}.escalation"
            _check(rule.escalation, field, people, excluded, unsigned_votes=unsigned_votes)


def _check(
    quorum: Quorum,
    field: str,
    people: Sequence[Person],
    excluded: tuple[str, ...],
    *,
    unsigned_votes: bool,
) -> None:
    if unsigned_votes and not quorum.groups:
        return
    known = [group for person in people for group in person.groups]
    for share in quorum.groups:
        if share.group not in known:
            raise PlanImpossible(
                f"nobody can pass this gate: group {share.group!r} has no members", field=f"{field}.groups"
            )
    of_role = [person for person in people if person.role.includes(quorum.role)]
    able = [person for person in of_role if person.username not in excluded]
    if of_role and not able:
        raise PlanImpossible(
            f"nobody can pass this gate: {', '.join(excluded)} asks for it, and no other {quorum.role}"
            f" may approve: give somebody else the role {quorum.role}, or let the policy ask for less",
            field=f"{field}.exclude_requester",
        )
    missing = quorum.missing([person.groups for person in able])
    if missing.count:
        where = "groups" if missing.groups else "required"
        raise PlanImpossible(
            f"nobody can pass this gate: it needs {quorum.people}, and of the {len(able)} who may approve,"
            f" {missing.words} more would have to be",
            field=f"{field}.{where}",
        )
