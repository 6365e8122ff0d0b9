"""Digests that survive the addition of fields, and still tell apart whatever differs."""

from typing import Literal

from domain.base import Frozen, essence
from domain.plan import Activate, Stage
from domain.policy import GateRule


class Before(Frozen):
    name: str
    seconds: float = 3


class After(Frozen):
    name: str
    seconds: float = 3
    patient: bool = False
    kind: Literal["after"] = "after"


def test_a_field_that_is_added_changes_nothing_until_it_is_used():
    assert {**essence(Before(name="x")), "kind": "after"} == essence(After(name="x"))
    assert essence(After(name="x", patient=True)) != essence(After(name="x"))
    assert essence(Before(name="x", seconds=4)) == {"name": "x", "seconds": 4}


def test_what_differs_in_its_tag_only_is_told_apart():
    assert essence(Stage(wave=1)) != essence(Activate(wave=1))


def test_nested_values_and_enumerations_are_plain_data():
    data = essence((GateRule(name="promotion", required=2), {"zone": 1}))
    assert data[0]["name"] == "promotion"
    assert data[0]["required"] == 2
    assert "expires_after" not in data[0]
    assert data[1] == {"zone": 1}
