"""Counters of limits, in a schema of their own"""

from alembic import op

from store.roles import APPLICATION

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("CREATE SCHEMA hotswap_limits")
    op.execute(
        """
        CREATE UNLOGGED TABLE hotswap_limits.counters (
            key text PRIMARY KEY,
            hits bigint NOT NULL CHECK (hits >= 0),
            ends_at timestamptz NOT NULL
        ) WITH (fillfactor = 50)
        """
    )
    op.execute("CREATE INDEX counters_ends_at_idx ON hotswap_limits.counters (ends_at)")
    op.execute(f"GRANT USAGE ON SCHEMA hotswap_limits TO {APPLICATION}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON hotswap_limits.counters TO {APPLICATION}")
