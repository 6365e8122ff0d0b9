"""The migrations make the tables that the code expects; the commands work."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from store import schema
from store.metadata import METADATA
from tests.conftest import as_owner


def test_migrations_and_tables_agree(database_url: str) -> None:
    owner = as_owner(database_url)
    schema.upgrade(owner)
    schema.upgrade(owner)
    engine = sa.create_engine(owner)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        checks = {
            check["name"]
            for table in METADATA.tables
            for check in sa.inspect(connection).get_check_constraints(table)
        }
    engine.dispose()
    expected = {
        constraint.name
        for table in METADATA.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, sa.CheckConstraint)
    }
    assert checks == expected


def test_every_table_has_a_tenant() -> None:
    for name, table in METADATA.tables.items():
        assert "tenant" in table.columns or name == "tenants"


@pytest.mark.finding("5")
def test_the_command_line_bootstraps_once(database_url: str, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse battery\n")
    url = ("--database-url", database_url)

    def store(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "store", *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    assert store("upgrade", *url).returncode == 2
    assert store("upgrade", "--migration-database-url", as_owner(database_url)).returncode == 0
    first = ("bootstrap", *url, "--username", "admin", "--password-file", str(password))
    assert store(*first).returncode == 0
    second = store(*first)
    assert second.returncode == 1
    assert "[conflict]" in second.stderr
