"""What has to be told a database that was brought back from a backup."""

from typing import Final

from sqlalchemy import create_engine, text

from store import row_security

# Far more deployments than an environment can have seen between a backup and the loss of what followed it.
LEAP: Final = 1_000_000


def leap(url: str) -> int:
    """Draw the fences that follow from above all that nodes can have seen; in how many environments.

    Nodes go on while the database is away and may have seen orders that the backup knows nothing of: they
    would refuse every order with a fence below those. Blocking; asked as the tables' owner.
    """
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            row_security.open_to_owner(connection)
            moved = connection.execute(
                text("UPDATE environments SET sequence = sequence + :leap"), {"leap": LEAP}
            )
            row_security.secure(connection)
            connection.commit()
            return moved.rowcount
    finally:
        engine.dispose()
