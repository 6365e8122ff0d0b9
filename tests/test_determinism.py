"""The static guard of workflow code.

Our packages pass through Temporal's sandbox (five times less CPU), so the sandbox no longer sees a clock
or a random number in them. This test does: it bans in domain/ and workflows/ what would make a replay
differ. Iterating a set of strings differs between processes (hash seeds), so sets are banned outright
there but for membership tests on constants.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("domain/**/*.py"), *ROOT.glob("workflows/**/*.py")])

BANNED_MODULES = {"time", "random", "secrets", "uuid", "os", "threading", "socket", "subprocess", "requests"}
BANNED_CALLS = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "asyncio.wait",
    "asyncio.as_completed",
    "asyncio.to_thread",
    "asyncio.sleep",
    "print",
    "open",
    "input",
    "id",
    "hash",
    "set",
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def offences(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [
                f"import {alias.name}" for alias in node.names if alias.name.split(".")[0] in BANNED_MODULES
            ]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in BANNED_MODULES:
            found.append(f"from {node.module} import")
        elif isinstance(node, ast.Call) and dotted(node.func) in BANNED_CALLS:
            found.append(f"{dotted(node.func)}() in line {node.lineno}")
        elif isinstance(node, ast.SetComp) or (isinstance(node, ast.Set) and not in_comparison(tree, node)):
            found.append(f"a set in line {node.lineno}")
    return found


def in_comparison(tree: ast.AST, wanted: ast.Set) -> bool:
    return any(isinstance(node, ast.Compare) and wanted in ast.walk(node) for node in ast.walk(tree))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_in_workflow_code_can_differ_between_runs(path):
    assert offences(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "code",
    [
        "import random",
        "from time import monotonic",
        "from datetime import datetime\nx = datetime.now()",
        "for name in {'a', 'b'}: pass",
        "names = {each for each in things}",
        "names = set(things)",
        "print('x')",
    ],
)
def test_the_guard_sees_what_it_must(code):
    assert offences(ast.parse(code))
