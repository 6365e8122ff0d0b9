"""Conventions that hold for the whole house, and that no linter of ours has a rule for."""

import ast
import itertools
import re
import subprocess
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_structure import FILES, ROOT

# Where chance belongs: the jitter of heartbeats. Tokens and passwords come from `secrets`.
CHANCE_IN = {"agent/heartbeat.py"}
CHANCE = {"random", "numpy.random", "uuid1"}
SAME = 4  # statements in a row that may not be found twice
# The only files that may leave tests out, each with its reason: a program of Debian's, not ours, is missing,
# or nobody but root may mount a disk.
SKIPS_IN = {
    "tests/clients/providers/prometheus_server.py",
    "tests/deploy/test_monitoring.py",
    "tests/reports/browser.py",
    "tests/stack/test_losses_long.py",
    "tests/stack/third_party.py",
}
SKIPS = {"skip", "skipif", "xfail", "importorskip"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def uses_chance(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name in CHANCE for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module in CHANCE or any(f"{node.module}.{alias.name}" in CHANCE for alias in node.names)
    return isinstance(node, ast.Attribute) and node.attr in ("random", "default_rng", "uuid1")


@pytest.mark.finding("6")
def test_chance_is_in_no_number_no_decision_and_no_secret() -> None:
    found = {name(path) for path in FILES if any(map(uses_chance, ast.walk(tree(path))))}
    assert found == CHANCE_IN


@pytest.mark.finding("4")
@pytest.mark.finding("21")
def test_the_linter_looks_for_blocking_calls_and_swallowed_errors() -> None:
    """ASYNC: blocking in async code; BLE: a blind except; S110 and S112: one that does nothing."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    wanted = {"ASYNC", "BLE", "S", "TRY"}
    assert wanted <= set(rules["select"])
    assert not {rule for rule in rules["ignore"] if rule.startswith(("ASYNC", "BLE", "S1"))}
    lifted = {
        rule
        for pattern, ignored in rules["per-file-ignores"].items()
        if pattern.split("/")[0] not in ("tests", "bench")
        for rule in ignored
    }
    assert not {rule for rule in lifted if rule.startswith(tuple(wanted))}


@pytest.mark.finding("25")
def test_the_linter_refuses_what_branches_too_often() -> None:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert "C90" in rules["select"]
    assert rules["mccabe"]["max-complexity"] <= 10
    lifted = itertools.chain(rules["ignore"], *rules["per-file-ignores"].values())
    assert not [rule for rule in lifted if rule.startswith("C9")]


@pytest.mark.finding("N17")
def test_the_linter_looks_for_statements_and_shells_made_of_text() -> None:
    """S608: SQL put together; S602, S604 to S606: shells. S603 and S607 are about any program at all."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert "S" in rules["select"]
    assert {rule for rule in rules["ignore"] if rule.startswith("S") and rule[1].isdigit()} == {
        "S603",
        "S607",
    }
    lifted = [
        f"{pattern} {rule}" for pattern, ignored in rules["per-file-ignores"].items() for rule in ignored
    ]
    assert {each for each in lifted if each.split()[1].startswith("S")} == {"tests/** S", "bench/** S101"}


@pytest.mark.finding("N17")
def test_every_package_is_pinned_with_its_hash() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", "")
    pins = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert len(pins) > 100
    assert [pin for pin in pins if not re.match(r"\S+==\S+( ;[^-]+)? +--hash=sha256:[0-9a-f]{64}", pin)] == []
    assert "--require-hashes" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.finding("N17")
def test_lint_looks_for_advisories_secrets_and_unsafe_calls() -> None:
    _, _, rest = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlint:")
    lint, _, _ = rest.partition("\n\n")
    assert all(tool in lint for tool in ("bandit", "detect-secrets-hook", "tests.advisories", "mypy", "ruff"))
    assert "make lint" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def runs(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Every `SAME` statements in a row of a function's blocks: where, and what they say."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if isinstance(block, list) and not isinstance(node, ast.Module | ast.ClassDef):
            said = [ast.dump(statement) for statement in block]
            for start in range(len(said) - SAME + 1):
                yield block[start].lineno, "\n".join(said[start : start + SAME])


@pytest.mark.finding("26")
def test_no_four_statements_are_written_twice() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        if "versions" not in path.parts:  # a migration stands as it was written
            for line, said in itertools.chain.from_iterable(map(runs, ast.walk(tree(path)))):
                places[said].append(f"{name(path)}:{line}")
    assert [where for where in places.values() if len(where) > 1] == []


@pytest.mark.finding("26")
def test_nodes_are_taken_back_in_one_place() -> None:
    """Whatever the strategy: only the rollback's workflow orders nodes to revert."""
    orders = {
        name(path)
        for path in FILES
        if path.is_relative_to(ROOT / "workflows")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in ("revert", "verify_reverted")
    }
    assert orders == {"workflows/rollback.py"}


@pytest.mark.finding("N4")
def test_nothing_is_left_for_later() -> None:
    marks = "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"))
    found = subprocess.run(
        ["git", "grep", "-nIwE", rf"(#|//|<!--) *({marks})", "--", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""


@pytest.mark.finding("N18")
def test_warnings_are_errors_coverage_has_a_floor_and_decisions_are_written_down() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert tools["pytest"]["ini_options"]["filterwarnings"] == ["error", "ignore::ResourceWarning"]
    assert tools["coverage"]["report"]["fail_under"] >= 85
    assert {name(path).split("/")[0].removesuffix(".py") for path in FILES} - {"worker"} == set(
        tools["coverage"]["run"]["source"]
    )
    assert len(list((ROOT / "docs" / "adr").glob("*.md"))) >= 10


def skips(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in SKIPS


@pytest.mark.finding("N5")
def test_tests_are_left_out_only_where_a_program_of_the_system_is_missing() -> None:
    """In CI even those fail or run: `make tools` installs what they need."""
    paths = (ROOT / "tests").rglob("*.py")
    found = {name(path) for path in paths if any(map(skips, ast.walk(tree(path))))}
    assert found == SKIPS_IN
