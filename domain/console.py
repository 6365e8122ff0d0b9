"""What operators see in the Temporal console: Markdown built from a rollout's state.

The console renders raw HTML, so every string that a person wrote is escaped.
"""

import re
from datetime import UTC, datetime

from domain.analysis import Verdict
from domain.deployment import Cause, Phase
from domain.plan import Gate, Plan

DETAILS_LIMIT = 18_000  # Temporal refuses current details over 20,000 bytes.


def escape(text: str) -> str:
    """Text as Markdown shows it, with nothing in it that the console would interpret."""
    flat = " ".join(text.split())
    return re.sub(
        r"([\\`*_{}\[\]()#|~])", r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )


def clip(text: str, limit: int = 200) -> str:
    """At most `limit` characters: Temporal's summaries are short."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def count(number: int, noun: str) -> str:
    """A number of things, in words: 1 node, 2 nodes."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def clock(at: float) -> str:
    """A time of day in UTC, for people."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def deployment_details(
    *,
    plan: Plan | None,
    phase: Phase,
    message: str,
    step: int,
    waiting_for: str,
    verdict: Verdict | None,
    cause: Cause | None,
    notices: tuple[str, ...],
) -> str:
    """The current details of a DeploymentWorkflow: where it stands and why, steps, verdict, refusals."""
    lines = [f"**{phase}**: {escape(message)}"]
    if waiting_for:
        lines.append(f"\nwaiting for **{escape(waiting_for)}**")
    if cause is not None:
        lines.append(f"\nbecause ({cause.kind}): {escape(cause.message)}")
    if plan is not None:
        lines.extend(_plan_lines(plan, step))
    if verdict is not None:
        lines.append(f"\n### Last verdict: {verdict.outcome}\n\n{escape(verdict.reason)}")
    lines.extend(_notice_lines(notices))
    return "\n".join(lines)[:DETAILS_LIMIT]


def _plan_lines(plan: Plan, step: int) -> list[str]:
    lines = [
        f"\n{escape(plan.release.module)} {plan.replaces or 'first install'} → {escape(plan.release.version)}"
        f" on {count(len(plan.nodes), 'node')}, plan `{plan.digest[:12]}`\n",
    ]
    for index, each in enumerate(plan.steps):
        mark = "✔" if index < step else "▶" if index == step else "○"
        nodes = plan.wave(each.wave).nodes
        name = f"gate {each.rule.name}" if isinstance(each, Gate) else each.kind
        lines.append(f"1. {mark} {name}, wave {each.wave} of {len(plan.waves)} ({count(len(nodes), 'node')})")
    return lines


def verdict_details(subject: str, verdict: Verdict | None) -> str:
    """The current details of a CanaryAnalysisWorkflow: one row per metric."""
    if verdict is None:
        return f"**{escape(subject)}**\n\nno look yet"
    rows = [f"| {metric.metric} | {metric.outcome} | {escape(metric.reason)} |" for metric in verdict.metrics]
    table = ["| metric | verdict | why |", "|---|---|---|", *rows]
    head = f"**{escape(subject)}**\n\nlook {verdict.looks}: **{verdict.outcome}**\n"
    return "\n".join([head, *table])[:DETAILS_LIMIT]


def _notice_lines(notices: tuple[str, ...]) -> list[str]:
    if not notices:
        return []
    return ["\n### Notices\n", *(f"- {escape(notice)}" for notice in notices[-20:])]
