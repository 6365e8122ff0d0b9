"""Figures of the documentation are those of the raw output that is kept beside the benchmarks."""

import json
from typing import Any

import pytest

from bench import many_users
from tests.findings import ROOT

PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def kept(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "bench" / "raw" / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.finding("N14")
def test_the_page_says_what_was_measured() -> None:
    found = kept("many_users")
    assert {"at", "machine", "load_before", "commit"} <= set(found)
    assert many_users.table(found) in PAGE


@pytest.mark.finding("N7")
@pytest.mark.finding("X23")
def test_a_thousand_people_were_measured_second_by_second() -> None:
    found = kept("many_users")
    assert found["people"] == 1000
    assert found["commit"]
    steady = found["phases"]["steady"]
    assert len(steady["by_second"]) >= 0.9 * found["seconds"] >= 270
    asked = steady["requests"] + sum(steady["failed"].values())
    assert asked == found["rate"] * found["seconds"]
