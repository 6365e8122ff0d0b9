"""The schema's version: bringing a database forward."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from store import row_security

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_146_291_030  # any constant of ours: upgrades of one database run one after the other


def upgrade(url: str, *, to: str | None = None) -> None:
    """Bring the database to the newest version, and its row-level security with it.

    With `to`, to that earlier version only, and without row-level security, which is of the newest tables.

    Blocking. Safe to run from several processes at once. Whoever asks is the tables' owner; the roles of
    store.roles must be there.
    """
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS))
            config.attributes["connection"] = connection
            if to is not None:
                command.upgrade(config, to)
                connection.commit()
                return
            if _newest(config) not in _present(connection):
                row_security.open_to_owner(connection)
                command.upgrade(config, "head")
            row_security.secure(connection)
            connection.commit()
    finally:
        engine.dispose()


def _newest(config: Config) -> str | None:
    return ScriptDirectory.from_config(config).get_current_head()


def _present(connection: Connection) -> tuple[str, ...]:
    return MigrationContext.configure(connection).get_current_heads()
