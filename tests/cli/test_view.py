"""The live view on fixed deployments, drawn by a recording console."""

from datetime import timedelta

import pytest
from rich.console import Console

from cli.frame import FrameGate
from cli.view import amount, duration, headline, render
from domain.analysis import Doubt, MetricVerdict, Outcome, Verdict
from domain.deployment import Cause, CauseKind, Phase
from domain.freeze import Freeze
from domain.hooks import HookRun
from domain.measuring import Outage
from tests.cli.frames import NOW, frame, plan


def drawn(shown, notice=None, now=NOW):
    console = Console(record=True, width=240, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(render(shown, now=now, notice=notice))
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def line(lines, start):
    return next(each for each in lines if each.startswith(start))


def test_the_header_says_what_goes_where_and_who_asked():
    header = line(drawn(frame()), "rollout")
    assert header == "rollout greeter 1.0.0 → 2.0.0 acme/production ▶ ACTIVATING by ana, 11:57:00"


def test_a_first_install_replaces_nothing():
    shown = frame().model_copy(update={"replaces": None})
    assert "greeter first install → 2.0.0" in line(drawn(shown), "rollout")


def test_before_there_is_a_plan_nobody_knows_what_is_replaced():
    shown = frame(phase=Phase.QUEUED).model_copy(update={"replaces": None, "steps": (), "plan": None})
    assert "greeter … → 2.0.0" in line(drawn(shown), "rollout")


def test_undoing_a_deployment_leads_away_from_its_version():
    shown = frame(phase=Phase.ROLLING_BACK).model_copy(update={"rolls_back": "d-0"})
    assert "greeter 2.0.0 → back" in line(drawn(shown), "rollout")


def test_a_waiting_gate_counts_votes_and_its_time_down():
    gate = FrameGate(
        id="approval-d-1-promotion",
        name="promotion",
        approvals=1,
        required=2,
        expires_at=NOW + timedelta(minutes=14, seconds=5),
        on_expiry="reject",
    )
    shown = frame(phase=Phase.WAITING_APPROVAL, step=4, gates=(gate,))
    assert "॥ WAITING APPROVAL 1/2 (14m 05s left → reject)" in line(drawn(shown), "rollout")
    assert "1/2 (13m 05s left" in line(drawn(shown, now=NOW + timedelta(minutes=1)), "rollout")


def test_people_who_are_missing_and_hooks_that_wait_are_shown():
    gate = FrameGate(
        id="approval-d-1-promotion",
        name="promotion",
        approvals=1,
        required=2,
        expires_at=NOW + timedelta(minutes=14),
        on_expiry="reject",
        waits_for="1 × security",
        escalated=True,
        reminders=3,
        delegations=({"delegator": "bob", "delegate": "zoe"},),
        voided=({"voter": "cyd"},),
    )
    run = {"id": "x", "hook": "soak", "point": "after-wave", "wave": 1, "result": "waits"}
    asked = HookRun.model_validate({**run, "message": "12 of 30 min", "link": "https://m.example.com/7"})
    shown = drawn(frame(phase=Phase.WAITING_APPROVAL, gates=(gate,), hooks=(asked,)))
    people = line(shown, "people")
    assert "missing: 1 × security" in people
    for words in ("escalated", "reminded 3×", "bob → zoe", "void, for the plan was changed: 1"):
        assert words in people
    assert "soak after-wave 1: 12 of 30 min https://m.example.com/7" in line(shown, "hooks")


def test_checks_that_are_held_say_which_provider_does_not_answer():
    down = Outage(check="orders", wave=1, message="web does not answer: connection refused")
    shown = drawn(frame(phase=Phase.ANALYZING, outages=(down,)))
    assert line(shown, "held") == (
        "held orders: web does not answer: connection refused; tried again every 10 s"
    )


def test_why_shows_the_message_plan_artifact_and_signer():
    why = line(drawn(frame(message="wave 1 of 4: 1 nodes")), "why")
    assert why.startswith(f"why wave 1 of 4: 1 nodes plan {plan().digest[:12]}…")
    assert why.endswith("artifact sha256:91c291c291c2… ✔ signed by CN=release-key-3")


def test_a_cause_and_a_frozen_lane_take_the_place_of_the_message():
    cause = Cause(kind=CauseKind.ANALYSIS, message="errors 8.00 %, above the limit of 0.50 %")
    shown = frame(phase=Phase.ROLLED_BACK_UNVERIFIED, cause=cause, message="x", frozen="node-03 is not back")
    why = line(drawn(shown), "why")
    assert "analysis: errors 8.00 %, above the limit" in why
    assert "lane frozen: node-03 is not back" in why


@pytest.mark.parametrize(
    ("step", "phase", "steps"),
    [
        (
            1,
            Phase.ACTIVATING,
            "▶ wave 1 (1): activate ○ gate promotion ○ wave 2 (2) ○ wave 3 (2) ○ wave 4 (5)",
        ),
        (4, Phase.WAITING_APPROVAL, "✔ wave 1 (1) ▶ gate promotion ○ wave 2 (2) ○ wave 3 (2) ○ wave 4 (5)"),
        (8, Phase.ANALYZING, "✔ wave 1 (1) ✔ gate promotion ▶ wave 2 (2): analyze ○ wave 3 (2) ○ wave 4 (5)"),
        (
            8,
            Phase.ROLLING_BACK,
            "✔ wave 1 (1) ✔ gate promotion ✖ wave 2 (2): analyze ○ wave 3 (2) ○ wave 4 (5)",
        ),
        (17, Phase.COMPLETED, "✔ wave 1 (1) ✔ gate promotion ✔ wave 2 (2) ✔ wave 3 (2) ✔ wave 4 (5)"),
    ],
)
def test_steps_are_marked(step, phase, steps):
    assert line(drawn(frame(step=step, phase=phase)), "steps") == f"steps {steps}"


def test_what_is_left_is_a_lower_bound_that_counts_down():
    shown = frame(phase=Phase.ANALYZING, step=8, phase_since=NOW - timedelta(seconds=20))
    assert line(drawn(shown), "left") == "left at least 2m 30s of analysis and bake"
    earlier = frame(phase=Phase.ACTIVATING, step=1)
    assert line(drawn(earlier), "left") == "left at least 4m 00s of analysis and bake and 1 gate"


def test_nothing_is_left_at_the_end():
    assert not [each for each in drawn(frame(phase=Phase.COMPLETED, step=17)) if each.startswith("left")]


def test_health_shows_numbers_against_limits_and_why_not():
    metrics = (
        MetricVerdict(
            metric="latency",
            outcome=Outcome.PASS,
            canary=0.0031,
            baseline=0.003,
            limit=0.028,
            unit="s",
            reason="-",
        ),
        MetricVerdict(
            metric="errors",
            outcome=Outcome.FAIL,
            canary=0.08,
            baseline=0.0,
            limit=0.005,
            unit="%",
            reason="-",
        ),
        MetricVerdict(
            metric="cpu", outcome=Outcome.INCONCLUSIVE, doubt=Doubt.UNDERPOWERED, unit="cores", reason="-"
        ),
    )
    verdict = Verdict(outcome=Outcome.FAIL, reason="errors", metrics=metrics)
    assert line(drawn(frame(verdict=verdict)), "health") == (
        "health latency 3.1 ms (limit 28 ms, baseline 3 ms) PASS"
        " | errors 8 % (limit 0.5 %, baseline 0 %) FAIL | cpu — INCONCLUSIVE underpowered"
    )


def test_nodes_are_counted_and_each_has_its_line():
    lines = drawn(frame(states={"node-01": "verified", "node-02": "failed"}))
    assert line(lines, "nodes") == "nodes 1 verified ✔ | 1 failed ✖ | 8 pending ○"
    assert line(lines, "node-01") == "node-01 1.0.0 ✔ verified wave 1"
    assert len([each for each in lines if each.startswith("node-")]) == 10


def test_of_many_nodes_only_those_with_trouble_get_a_line():
    lines = drawn(frame(nodes=100, states={"node-40": "failed", "node-41": "verified"}))
    assert [each.split()[0] for each in lines if each.startswith("node-")] == ["node-40"]


def test_a_notice_says_that_the_picture_may_be_old():
    assert drawn(frame(), notice="http://h does not answer; trying again")[-1].startswith(
        "⚠ http://h does not answer"
    )


def test_what_people_wrote_is_never_markup():
    why = line(drawn(frame(message="[red]wave[/red] [1]")), "why")
    assert "[red]wave[/red] [1]" in why


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0s"), (9, "9s"), (65, "1m 05s"), (3600, "1h 00m"), (86400 * 2 + 3 * 3600, "2d 03h")],
)
def test_durations_have_two_units_at_most(seconds, words):
    assert duration(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.0123, "%", "1.23 %"),
        (0.25, "s", "250 ms"),
        (3 * 1048576, "bytes", "3 MiB"),
        (0.5, "cores", "0.5 cores"),
    ],
)
def test_amounts_have_units_that_people_read(value, unit, words):
    assert amount(value, unit) == words


def test_a_freeze_says_until_when_and_a_queue_says_why_it_waits():
    held = frame(
        phase=Phase.FROZEN,
        message="frozen until 2026-03-02 07:00:00 UTC: weekend (nobody is there)",
        waiting_for="until 2026-03-02 07:00:00 UTC, until activating may go on",
    )
    assert "❄ FROZEN" in line(drawn(held), "rollout")
    assert "weekend (nobody is there)" in line(drawn(held), "why")
    freeze = Freeze(reason="weekend", until=NOW.timestamp())
    queued = frame(phase=Phase.QUEUED).model_copy(update={"freeze": freeze, "supersedes": "d-0"})
    why = line(drawn(queued), "why")
    assert "takes the place of d-0" in why
    assert "frozen until 2026-03-01 12:00:00 UTC: weekend" in why
    assert headline(queued, NOW).endswith("frozen until 2026-03-01 12:00:00 UTC: weekend")


def test_a_freeze_is_told_before_it_holds():
    freeze = Freeze(reason="weekend", until=None)
    gated = frame(phase=Phase.WAITING_APPROVAL, message="gate promotion").model_copy(
        update={"freeze": freeze}
    )
    assert "gate promotion · frozen until it is thawed: weekend" in line(drawn(gated), "why")


def test_a_hotfix_and_a_superseded_deployment_stand_out():
    assert "HOTFIX" in line(drawn(frame().model_copy(update={"hotfix": "it burns"})), "rollout")
    cause = Cause(kind=CauseKind.SUPERSEDED, message="superseded by greeter@3.0.0, deployment d-2")
    ended = frame(phase=Phase.SUPERSEDED).model_copy(update={"cause": cause})
    assert "↪ SUPERSEDED" in line(drawn(ended), "rollout")
    assert "deployment d-2" in line(drawn(ended), "why")
