"""`hotswap plan`: what a deployment would do, wave by wave, and how that differs from another plan."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from cli.errors import CommandFailed, why
from cli.session import console, show_table
from cli.view import duration
from domain.console import count
from domain.difference import Difference, difference
from domain.plan import Plan

if TYPE_CHECKING:  # httpx is not loaded before somebody is asked
    from cli.client import ApiClient

NAMED_NODES = 8  # a wave of more nodes is shown by its first
SHOWN_CHANGES = 50


def show_plan(release: str, shown: dict[str, Any]) -> None:
    """The preview as a table."""
    plan = shown["plan"]
    before = plan["replaces"] or "first install"
    line = f"{release}   {before} → {plan['release']['version']}   {plan['strategy']}"
    console.print(line, highlight=False)
    expected = f"expected {_estimate(shown['expected'])}"
    console.print(f"plan {shown['digest'][:12]}   {len(plan['waves'])} waves   {expected}", highlight=False)
    columns = ("wave", "nodes", "zones (left alone)", "gates", "steps", "expected", "if it fails, taken back")
    show_table(columns, _rows(shown))
    for line in _baselines(shown):
        console.print(line, highlight=False)
    if shown["unheard"]:
        console.print(f"not heard of yet: {', '.join(shown['unheard'])}", highlight=False)


def show_difference(found: Difference) -> None:
    """What differs, one line each."""
    if found.empty:
        console.print("the same plan", highlight=False)
        return
    lines = [
        *(f"~ {each.field}: {each.before} → {each.after}" for each in found.fields),
        *(f"- {line}" for line in found.steps_gone),
        *(f"+ {line}" for line in found.steps_new),
        *(f"~ node {each.node}: {_wave(each.before)} → {_wave(each.after)}" for each in found.nodes),
    ]
    for line in lines[:SHOWN_CHANGES]:
        console.print(line, highlight=False, markup=False)
    if len(lines) > SHOWN_CHANGES:
        console.print(f"and {len(lines) - SHOWN_CHANGES} more: see --json", highlight=False)


def compared(client: "ApiClient", other: str, plan: dict[str, Any]) -> Difference:
    """From the plan of a deployment, or in a file that `hotswap plan --json` wrote, to this one.

    Raises:
        CommandFailed: the deployment has no plan yet, or the file holds none.
    """
    path = Path(other)
    try:
        document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        before = document if document is not None else client.get(f"/deployments/{other}")
        return difference(Plan.model_validate(before.get("plan", before)), Plan.model_validate(plan))
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        raise CommandFailed(f"{other!r} has no plan to compare with: {why(error)}", field="diff") from error


def _rows(shown: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    waves = {wave["number"]: wave["nodes"] for wave in shown["plan"]["waves"]}
    for wave in shown["waves"]:
        names = waves[wave["wave"]]
        nodes = ", ".join(names) if len(names) <= NAMED_NODES else f"{names[0]} and {len(names) - 1} more"
        zones = ", ".join(
            f"{zone or '-'}: {count} ({wave['left'][zone]}, margin {wave['margin'][zone]})"
            for zone, count in wave["zones"].items()
        )
        blast = wave["blast"]
        whole = ", ".join(zone or "-" for zone in blast["whole_zones"])
        stake = f"{blast['nodes']} ({blast['share']:.0%}){', all of ' + whole if whole else ''}"
        steps = " → ".join(wave["steps"])
        yield wave["wave"], nodes, zones, ", ".join(wave["gates"]), steps, _estimate(wave["expected"]), stake


def _baselines(shown: dict[str, Any]) -> Iterator[str]:
    """What waves are judged against where the policy wants chosen nodes, and what is restarted for it."""
    before = shown["plan"]["replaces"]
    for wave in shown["waves"]:
        if (group := wave["baseline"]) is not None:
            zones = ", ".join(f"{zone or '-'}: {count}" for zone, count in group["renewed"].items())
            short = f" ({group['reason']})" if group["reason"] else ""
            restarted = f"; restarted for that: {zones}" if zones else ""
            yield (
                f"wave {wave['wave']} is judged against {group['nodes']} unchanged nodes on {before}{short}"
                f"{restarted}"
            )


def _estimate(expected: dict[str, Any]) -> str:
    people = f" + {count(expected['people'], 'decision')}" if expected["people"] else ""
    if expected["typical"] is None:
        least = f", at least {_seconds(expected['low'])}" if expected["low"] else ""
        return f"unknown{least}{people}"
    spread = f"{_seconds(expected['low'])} to {_seconds(expected['high'])}"
    return f"{_seconds(expected['typical'])} ({spread}){people}"


def _seconds(seconds: float) -> str:
    return duration(timedelta(seconds=seconds))


def _wave(number: int | None) -> str:
    return "not in it" if number is None else f"wave {number}"
