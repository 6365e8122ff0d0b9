"""What keeps the house readable, where no linter has a rule for it."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = (
    "domain",
    "workflows",
    "activities",
    "store",
    "runtime",
    "api",
    "agent",
    "cli",
    "bundles",
    "clients",
    "reports",
)
FILES = sorted([ROOT / "worker.py", *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))])
LONGEST_FUNCTION = 60
VAGUE = {"utils", "helpers", "manager", "misc", "common"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.finding("25")
def test_no_function_is_longer_than_a_screen(path):
    if "versions" in path.parts:
        return  # a migration is one list of tables
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert long == []


def test_names_say_what_is_inside():
    assert [path for path in FILES if path.stem in VAGUE] == []


def test_no_file_names_a_registry_host_or_a_private_key():
    """Lock files and scripts must not tie the repository to one package registry, nor hold a secret."""
    wanted = "files[.]pythonhosted|pypi[.]org|registry[.]npmjs|deb[.]debian|BEGIN [A-Z ]*PRIVATE KEY-----$"
    found = subprocess.run(
        ["git", "grep", "-lIE", wanted, "--", ".", ":!tests/test_structure.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.split() == []
