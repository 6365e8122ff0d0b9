"""The live view: one deployment's frame and the present time in, something that rich can draw out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.frame import Frame, FrameGate, FrameNode
from domain.analysis import MetricVerdict, Outcome
from domain.conditions.metric import ERROR_RETRY_SECONDS
from domain.deployment import Phase
from domain.hooks import HookResult, HookRun
from domain.outcomes import NodeState
from domain.plan import Gate, Plan
from domain.waiting import certain_wait, certain_waits

ALL_NODES = 20  # up to this many nodes get a line each; of more, only those that someone must look at
INTERESTING = (
    NodeState.FAILED,
    NodeState.UNVERIFIED,
    NodeState.ROLLING_BACK,
    NodeState.ACTIVATING,
    NodeState.ACTIVATED,
)
DIGEST_LENGTH = 12

GOOD, BAD, BUSY, QUIET = "green", "bold red", "bold cyan", "dim"
PHASES = {
    Phase.COMPLETED: ("✔", GOOD),
    Phase.ROLLED_BACK_VERIFIED: ("↩", "yellow"),
    Phase.ROLLED_BACK_UNVERIFIED: ("✖", BAD),
    Phase.ROLLING_BACK: ("↩", "bold yellow"),
    Phase.REJECTED: ("✖", BAD),
    Phase.ABORTED: ("✖", BAD),
    Phase.SUPERSEDED: ("↪", "yellow"),
    Phase.FAILED: ("✖", BAD),
    Phase.WAITING_APPROVAL: ("॥", "bold yellow"),
    Phase.PAUSED: ("॥", "bold yellow"),
    Phase.HOLDING: ("॥", "bold yellow"),
    Phase.FROZEN: ("❄", "bold yellow"),
    Phase.QUEUED: ("◷", QUIET),
}
NODE_MARKS = {
    NodeState.PENDING: ("○", QUIET),
    NodeState.STAGED: ("○", QUIET),
    NodeState.OLD: ("○", QUIET),
    NodeState.STARTED: ("▷", BUSY),
    NodeState.ACTIVATING: ("▶", BUSY),
    NodeState.ACTIVATED: ("▶", BUSY),
    NodeState.VERIFIED: ("✔", GOOD),
    NodeState.FAILED: ("✖", BAD),
    NodeState.ROLLING_BACK: ("↩", "bold yellow"),
    NodeState.ROLLED_BACK: ("↩", "yellow"),
    NodeState.UNVERIFIED: ("✖", BAD),
}
OUTCOMES = {Outcome.PASS: GOOD, Outcome.FAIL: BAD, Outcome.INCONCLUSIVE: "yellow"}


def render(frame: Frame, *, now: datetime, notice: str | None = None) -> RenderableType:
    """The whole picture, with times of day in `now`'s time zone.

    Args:
        frame: the deployment as it was read.
        now: for countdowns and ages.
        notice: why the frame may be out of date.
    """
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bold", no_wrap=True)
    rows.add_column()
    rows.add_row("rollout", _headline(frame, now))
    rows.add_row("why", _why(frame))
    if frame.open_gate is not None and not frame.phase.terminal and (people := _people(frame.open_gate)):
        rows.add_row("people", people)
    if frame.hooks:
        rows.add_row("hooks", _hooks(frame.hooks))
    if frame.outages:
        words = "; ".join(f"{each.check}: {each.message}" for each in frame.outages)
        rows.add_row("held", Text(f"{words}; tried again every {ERROR_RETRY_SECONDS:g} s", "yellow"))
    if frame.steps:
        rows.add_row("steps", _steps(frame))
    if frame.plan is not None and (remaining := _remaining(frame, frame.plan, now)):
        rows.add_row("left", Text(remaining, QUIET))
    if frame.verdict is not None:
        rows.add_row("health", _health(frame.verdict.metrics, frame.verdict.reason))
    if frame.nodes:
        rows.add_row("nodes", _summary(frame.nodes))
    parts: list[RenderableType] = [rows, _node_lines(frame.nodes)]
    if notice is not None:
        parts.append(Text(f"⚠ {notice}", "yellow"))
    return Group(*parts)


def headline(frame: Frame, now: datetime) -> str:
    """The first line of the view as plain text, with what keeps everything from starting."""
    return "   ".join((_headline(frame, now).plain, *_stopped_by(frame)))


def _headline(frame: Frame, now: datetime) -> Text:
    mark, style = PHASES.get(frame.phase, ("▶", BUSY))
    waiting = _gate_words(frame.open_gate, now) if frame.open_gate and not frame.phase.terminal else ""
    asked = frame.created_at.astimezone(now.tzinfo).strftime("%H:%M:%S")
    before = frame.replaces or ("first install" if frame.steps else "…")
    after = frame.version
    if frame.rolls_back is not None:
        before, after = frame.version, "back"
    return Text.assemble(
        (frame.module, "bold"),
        f" {before} → ",
        (after, "bold"),
        f"   {frame.tenant}/{frame.environment}   ",
        ("HOTFIX   " if frame.hotfix is not None else "", "bold yellow"),
        (f"{mark} {str(frame.phase).replace('-', ' ').upper()}", style),
        f"{waiting}   by {frame.requester}, {asked}",
    )


def _gate_words(gate: FrameGate, now: datetime) -> str:
    left = "waits on" if gate.overdue else f"{duration(gate.expires_at - now)} left → {gate.on_expiry}"
    return f" {gate.approvals}/{gate.required} ({left})"


def _people(gate: FrameGate) -> Text:
    """Whose approvals are missing, and what has become of some."""
    text = Text(f"missing: {gate.waits_for}" if gate.waits_for else "")
    if gate.escalated:
        text.append("   escalated", "yellow")
    if gate.reminders:
        text.append(f"   reminded {gate.reminders}×", QUIET)
    for each in gate.delegations:
        text.append(f"   {each['delegator']} → {each['delegate']}", QUIET)
    if gate.voided:
        text.append(f"   void, for the plan was changed: {len(gate.voided)}", "yellow")
    return text


SHOWN_HOOKS = 8
HOOKS = {
    HookResult.DONE: ("✔", GOOD),
    HookResult.WAITS: ("॥", "bold yellow"),
    HookResult.ABORTED: ("✖", BAD),
    HookResult.FAILED: ("✖", BAD),
}


def _hooks(runs: Sequence[HookRun]) -> Text:
    """The last hooks; those that did more than answer say what."""
    text = Text()
    for run in runs[-SHOWN_HOOKS:]:
        mark, style = HOOKS[run.result]
        place = str(run.node or run.wave or "")
        text.append("   " if text.plain else "")
        text.append(f"{mark} {run.hook} {run.point}{' ' + place if place else ''}", style)
        if run.result is not HookResult.DONE:
            text.append(f": {run.message}{' ' + run.link if run.link else ''}")
    return text


def _why(frame: Frame) -> Text:
    words = f"{frame.cause.kind}: {frame.cause.message}" if frame.cause else frame.message
    if frame.supersedes is not None and frame.phase is Phase.QUEUED:
        words += f" · takes the place of {frame.supersedes}"
    words = " · ".join((words, *_stopped_by(frame)))
    text = Text(words or frame.waiting_for or "—")
    if frame.plan_digest is not None:
        text.append(f"   plan {frame.plan_digest[:DIGEST_LENGTH]}…", QUIET)
    if frame.digest is not None:
        text.append(f"   artifact sha256:{frame.digest[:DIGEST_LENGTH]}…", QUIET)
    if frame.signer is not None:
        text.append(f" ✔ signed by {frame.signer}", QUIET)
    return text


def _stopped_by(frame: Frame) -> Iterator[str]:
    if frame.frozen:
        yield f"lane frozen: {frame.frozen}"
    if frame.freeze is not None and frame.phase is not Phase.FROZEN:  # whose message has it
        yield frame.freeze.words


def _steps(frame: Frame) -> Text:
    """One mark per gate and per wave; the wave under way, or where it turned back, names its step."""
    text = Text()
    sizes = Counter(node.wave for node in frame.nodes)
    for (wave, gate), group in groupby(frame.steps, key=lambda step: (step.wave, step.gate)):
        members = list(group)
        mark, style = _stage_mark([step.state for step in members])
        present = next((step.kind for step in members if step.state in ("current", "stopped")), None)
        named = f"gate {gate}" if gate else f"wave {wave} ({sizes[wave]})"
        text.append("  " if text.plain else "")
        text.append(f"{mark} {named}{f': {present}' if present and not gate else ''}", style)
    return text


def _stage_mark(states: Sequence[str]) -> tuple[str, str]:
    if "stopped" in states:
        return "✖", BAD
    if all(state == "done" for state in states):
        return "✔", GOOD
    return ("○", QUIET) if all(state == "todo" for state in states) else ("▶", BUSY)


def _remaining(frame: Frame, plan: Plan, now: datetime) -> str:
    """The waits that are certain to come: a lower bound, for nodes and people take what they take."""
    if frame.phase.terminal or frame.phase is Phase.ROLLING_BACK:
        return ""
    seconds = certain_waits(plan.steps[frame.step :])
    if frame.phase_since is not None and frame.phase in (Phase.BAKING, Phase.ANALYZING):
        spent = (now - frame.phase_since).total_seconds()
        seconds -= min(certain_wait(plan.steps[frame.step]), max(0.0, spent))
    gates = sum(isinstance(step, Gate) for step in plan.steps[frame.step :])
    if not seconds:
        return ""
    people = f" and {gates} gate{'s' if gates > 1 else ''}" if gates else ""
    return f"at least {duration(timedelta(seconds=seconds))} of analysis and bake{people}"


def _health(metrics: Sequence[MetricVerdict], reason: str) -> Text:
    if not metrics:
        return Text(reason, "yellow")
    text = Text()
    for metric in metrics:
        if text.plain:
            text.append(" | ", QUIET)
        text.append(f"{metric.metric} {_numbers(metric)} ")
        doubt = f" {metric.doubt}" if metric.doubt else ""
        text.append(f"{str(metric.outcome).upper()}{doubt}", OUTCOMES[metric.outcome])
    return text


def _numbers(metric: MetricVerdict) -> str:
    if metric.canary is None or metric.limit is None or metric.baseline is None:
        return "—"
    canary, limit, baseline = (
        amount(value, metric.unit) for value in (metric.canary, metric.limit, metric.baseline)
    )
    return f"{canary} (limit {limit}, baseline {baseline})"


def amount(value: float, unit: str) -> str:
    """A metric's value as people read it: shares as percent, seconds as milliseconds, bytes as MiB."""
    scale, shown = {"%": (100.0, " %"), "s": (1000.0, " ms"), "bytes": (1 / 1048576, " MiB")}.get(
        unit, (1.0, f" {unit}")
    )
    return f"{value * scale:.3g}{shown}"


def duration(left: timedelta) -> str:
    """Two units at most: 2d 3h, 14m 05s, 9s; nothing below zero."""
    seconds = max(0, round(left.total_seconds()))
    for size, unit, lower, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // lower:02}{name}"
    return f"{seconds}s"


def _summary(nodes: Sequence[FrameNode]) -> Text:
    text = Text()
    for state, count in Counter(node.state for node in nodes).items():
        if text.plain:
            text.append(" | ", QUIET)
        mark, style = NODE_MARKS[state]
        text.append(f"{count} {state} {mark}", style)
    return text


def _node_lines(nodes: Sequence[FrameNode]) -> Table:
    table = Table.grid(padding=(0, 2))
    chosen = (
        nodes
        if len(nodes) <= ALL_NODES
        else [node for node in nodes if node.state in INTERESTING][:ALL_NODES]
    )
    for node in chosen:
        mark, style = NODE_MARKS[node.state]
        table.add_row(
            node.name,
            Text(node.version or "—"),
            Text(f"{mark} {node.state}", style),
            f"wave {node.wave}",
            Text(node.message),
        )
    return table
