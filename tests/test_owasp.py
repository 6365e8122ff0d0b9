"""The page of OWASP's risks is made from the table, and every test that it names exists."""

import ast

import pytest

from tests.findings import ROOT
from tests.owasp import CONTROLS, PAGE, page

NAMED = sorted({test for controls in CONTROLS.values() for control in controls for test in control.tests})


def test_the_page_is_made_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make it again: python -m tests.owasp"


@pytest.mark.finding("N17")
def test_every_risk_has_controls_and_every_control_has_tests() -> None:
    numbers = {risk.split(" ")[0] for risk in CONTROLS}
    assert numbers == {*(f"A{number:02}:2021" for number in range(1, 11)), "A10:2025"}
    assert all(control.tests for controls in CONTROLS.values() for control in controls)
    missing = []
    for test in NAMED:
        file, _, name = test.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        known = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        if name not in known:
            missing.append(test)
    assert missing == []
