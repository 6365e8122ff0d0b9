"""Commands start at once: what takes long to load is loaded by the command that needs it."""

import subprocess
import sys

import pytest

LOADED = "import sys; {imports}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
HEAVY = {
    "aiohttp",
    "cryptography",
    "hvac",
    "httpx",
    "matplotlib",
    "numpy",
    "opentelemetry",
    "psycopg",
    "scipy",
    "sqlalchemy",
    "temporalio",
}


def loaded_by(imports: str) -> set[str]:
    """The top-level packages that a fresh interpreter has after some imports."""
    command = [sys.executable, "-c", LOADED.format(imports=imports)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    ("imports", "allowed"), [("import cli.main", set()), ("import cli.client", {"httpx"})]
)
def test_a_client_command_loads_no_engine_and_no_numerics(imports, allowed):
    loaded = loaded_by(imports)
    assert {"cli", "domain"} <= loaded
    assert loaded & HEAVY == allowed


def test_what_the_list_names_is_what_the_stack_loads():
    assert {"temporalio", "psycopg", "hvac", "cryptography"} <= loaded_by("import cli.supervisor")
