"""The live view of a promotion: its environments, what each waits for, and the outcome as an exit code."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from cli.promotion_view import PHASE_MARKS, STAGE_MARKS, promotion_headline, render_promotion
from domain.promotion import PromotionPhase, StageState

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANSWER = {
    "id": "p1",
    "tenant": "acme",
    "module": "greeter",
    "version": "2.0.0",
    "requester": "ana",
    "created_at": (NOW - timedelta(hours=1)).isoformat(),
    "phase": "soaking",
    "message": "soaks in development, 600 s in all",
    "waiting_for": "",
    "cause": None,
    "stages": [
        {
            "environment": "development",
            "state": "soaking",
            "soaks_until": (NOW + timedelta(minutes=4)).isoformat(),
            "deployment": "p1-1",
        },
        {"environment": "staging", "state": "deploying", "waiting_for": "1 × approver", "deployment": "p1-2"},
        {"environment": "production", "state": "completed", "note": "left alone: d9 came later"},
    ],
    "exit_code": 4,
}


def drawn(answer, notice=None):
    out = io.StringIO()
    Console(file=out, width=200, color_system=None).print(render_promotion(answer, NOW, notice))
    return out.getvalue()


def test_each_environment_has_a_line_with_its_state_and_what_it_waits_for():
    lines = drawn(ANSWER).splitlines()
    assert (
        "greeter 2.0.0   acme: development → staging → production   ◷ SOAKING   by ana, 11:00:00" in lines[0]
    )
    assert "soaks in development" in lines[1]
    assert [each.strip() for each in lines[2].split("  ") if each.strip()] == [
        "development",
        "◷ soaking",
        "p1-1",
        "4m 00s left",
    ]
    assert "waits for 1 × approver" in lines[3]
    assert "left alone: d9 came later" in lines[4]


def test_the_cause_and_a_notice_are_shown():
    stopped = {
        **ANSWER,
        "phase": "stopped",
        "cause": {"kind": "node-failures", "message": "staging rolled back", "actor": None},
    }
    text = drawn(stopped, notice="the API does not answer; trying again")
    assert "STOPPED" in text
    assert "node-failures: staging rolled back" in text
    assert "trying again" in text
    assert promotion_headline(stopped, NOW).startswith("greeter 2.0.0")


@pytest.mark.parametrize(
    ("marks", "words"), [(PHASE_MARKS, PromotionPhase), (STAGE_MARKS, StageState)], ids=["phases", "states"]
)
def test_every_phase_and_state_has_a_mark(marks, words):
    assert set(marks) == set(words)
