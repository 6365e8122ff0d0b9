"""Hook rules, and where in a plan their points lie."""

import pytest
from pydantic import ValidationError

from domain.hooks import (
    HookOrder,
    HookPoint,
    HookRule,
    boundaries_after,
    boundaries_before,
    pause_before,
    read_answer,
)

URL = {"kind": "http", "url": "https://hooks.example.com/x"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": "after-deployment"},
        {"at": "before-rollback", "on_failure": "stop"},
        {"at": "after-rollback", "on_failure": "ignore", "polled": True},
        {"at": "before-node", "on_failure": "hold"},
        {"at": "after-node", "polled": True},
        {"at": "before-node", "timeout": 100, "attempts": 3},
        {"at": "before-wave", "call": {"kind": "http", "url": "ftp://hooks.example.com"}},
        {"at": "before-wave", "call": {"kind": "http", "url": "https://user:pw@hooks.example.com/"}},
        {"at": "before-wave", "call": {"kind": "command", "command": "rm -rf /"}},
        {"at": "before-wave", "call": {"kind": "http", **URL, "key": "a signing key in a policy"}},
        {"at": "sometimes"},
    ],
)
def test_rules_that_could_block_or_leak_are_refused(wrong):
    with pytest.raises(ValidationError):
        HookRule.model_validate({"name": "h", "call": URL, **wrong})


def test_a_wave_begins_after_its_gates_and_ends_with_its_last_step():
    steps = [("gate", 1), ("stage", 1), ("activate", 1), ("gate", 2), ("stage", 2), ("verify", 2)]
    before = {index: boundaries_before(steps, index) for index in range(len(steps))}
    after = {index: boundaries_after(steps, index) for index in range(len(steps))}
    assert {index: found for index, found in before.items() if found} == {
        0: [(HookPoint.BEFORE_DEPLOYMENT, None)],
        1: [(HookPoint.BEFORE_WAVE, 1)],
        4: [(HookPoint.BEFORE_WAVE, 2)],
    }
    assert {index: found for index, found in after.items() if found} == {
        2: [(HookPoint.AFTER_WAVE, 1)],
        5: [(HookPoint.AFTER_WAVE, 2)],
    }


def test_an_order_has_one_id_and_a_payload_without_the_rule():
    rule = HookRule.model_validate({"name": "h", "at": "before-node", "call": {**URL, "secret": "ci"}})
    order = HookOrder(
        rule=rule,
        tenant="acme",
        environment="production",
        deployment="d1",
        module="greeter",
        version="2.0.0",
        wave=1,
        node="web-1",
    )
    assert order.id == "d1:before-node:1:web-1:h"
    said = order.payload()
    assert (said["point"], said["hook"], said["node"]) == ("before-node", "h", "web-1")
    assert "rule" not in said
    assert "secret" not in str(said)


def test_pauses_grow_to_a_limit_and_are_part_of_the_budget():
    assert [pause_before(attempt) for attempt in range(1, 9)] == [0, 1, 2, 4, 8, 16, 30, 30]
    rule = HookRule.model_validate(
        {"name": "h", "at": "before-wave", "call": URL, "timeout": 5, "attempts": 3}
    )
    assert rule.budget == 18


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"status": "WAIT", "explanation": "soak", "link": "https://m.example.com/1"}', "WAIT"),
        (b'{"status": "COMPLETE"}', None),
        (b'{"status": "CONTINUE", "link": "javascript:alert(1)"}', None),
        (b"OK", None),
        (b"", None),
    ],
)
def test_an_answer_is_one_of_three_words_or_none(body, status):
    answer = read_answer(body)
    assert (answer.status if answer else None) == status
