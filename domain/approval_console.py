"""An approval in the Temporal console: what is decided, by whom, what is missing, and how to vote."""

from domain.approval import ApprovalInput
from domain.console import DETAILS_LIMIT, clock, escape
from domain.gate import Poll
from domain.vote import Vote

HOW = (
    "Vote with *Send a Signal*: `approve` or `reject`, with "
    '`{"approver": "you", "comment": "why", "token": "…"}`. '
    "The token comes from `hotswap approve ID --print-signal`; a rejection needs none."
)
SHOWN_REFUSALS = 20


def approval_details(request: ApprovalInput, poll: Poll, expires: float) -> str:
    """The current details of an ApprovalWorkflow, as Markdown."""
    subject = request.subject
    lines = [
        f"**{escape(subject.words)}**",
        f"\n{subject.kind} {escape(subject.reference)}, digest `{poll.plan[:12]}`;"
        f" requested by {escape(poll.requester)}",
        f"\n{poll.approvals} approved; {_state(poll, expires)}",
        f"\n{HOW}",
    ]
    if poll.amended_by:
        lines.append(f"\nchanged by {', '.join(escape(each) for each in poll.amended_by)}")
    lines.extend(f"\n- {_said(vote)}" for vote in poll.votes)
    lines.extend(f"\n- void, for it was changed since: {_said(vote)}" for vote in poll.voided)
    lines.extend(
        f"\n- {escape(each.delegator)} lets **{escape(each.delegate)}** vote for him ({each.kind})"
        for each in poll.delegations
    )
    lines.extend(
        f"\n- not counted: {escape(void.claimed) or 'anonymous'} ({void.reason}), {clock(void.at)}"
        for void in poll.refused[-SHOWN_REFUSALS:]
    )
    return "\n".join(lines)[:DETAILS_LIMIT]


def _state(poll: Poll, expires: float) -> str:
    if poll.result is not None:
        return str(poll.result)
    waits = f"missing: {escape(poll.waits_for)}"
    if poll.overdue:
        return f"{waits}; expired {clock(expires)}, holds until a person decides"
    reminded = f"; reminded {poll.reminders} times" if poll.reminders else ""
    return f"{waits}; expires {clock(expires)} (then: {poll.on_expiry}){reminded}"


def _said(vote: Vote) -> str:
    behalf = f" for **{escape(vote.on_behalf_of)}**" if vote.on_behalf_of else ""
    groups = f", {', '.join(vote.groups)}" if vote.groups else ""
    comment = f": {escape(vote.comment)}" if vote.comment else ""
    who = f"**{escape(vote.voter)}**{behalf} ({vote.trust}{groups})"
    return f"{vote.decision} by {who}, {clock(vote.at)}{comment}"
