"""The schema's version: bringing a database forward."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_146_291_030  # any constant of ours: upgrades of one database run one after the other


def upgrade(url: str) -> None:
    """Bring the database to the newest version; nothing happens when it is there already.

    Blocking. Safe to run from several processes at once.
    """
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    finally:
        engine.dispose()
