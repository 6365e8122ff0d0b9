"""Events know their transaction, so that a tenant's feed can be read without missing any"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    default = sa.text("(pg_current_xact_id()::text::bigint)")
    op.add_column("events", sa.Column("transaction", sa.BigInteger(), server_default=default, nullable=False))
    op.create_index(op.f("events_tenant_transaction_id_idx"), "events", ["tenant", "transaction", "id"])
