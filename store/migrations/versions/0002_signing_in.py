"""Signing in: lock-out, forced change, sessions, API keys"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

_NOW = sa.text("now()")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("users", sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
    op.add_column("users", sa.Column("locked_until", _MOMENT, nullable=True))
    for flag in ("must_change", "disabled"):
        op.add_column("users", sa.Column(flag, sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_check_constraint(op.f("users_failures_count_check"), "users", "failures >= 0")
    op.create_table(
        "sessions",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("refresh_hash", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.Text(), nullable=True),
        sa.Column("created_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.Column("revoked_at", _MOMENT, nullable=True),
        sa.CheckConstraint("expires_at > created_at", name=op.f("sessions_lives_check")),
        sa.ForeignKeyConstraint(
            ["tenant", "username"],
            ["users.tenant", "users.username"],
            name=op.f("sessions_tenant_username_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("sessions_pkey")),
    )
    op.create_index(op.f("sessions_tenant_username_idx"), "sessions", ["tenant", "username"])
    op.create_index(op.f("sessions_expires_at_idx"), "sessions", ["expires_at"])
    op.create_table(
        "api_keys",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.Column("revoked_at", _MOMENT, nullable=True),
        sa.CheckConstraint("expires_at > created_at", name=op.f("api_keys_lives_check")),
        sa.CheckConstraint("cardinality(scopes) > 0", name=op.f("api_keys_scoped_check")),
        sa.CheckConstraint("secret_hash ~ '^[0-9a-f]{64}$'", name=op.f("api_keys_hashed_check")),
        sa.ForeignKeyConstraint(
            ["tenant", "username"],
            ["users.tenant", "users.username"],
            name=op.f("api_keys_tenant_username_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("api_keys_pkey")),
        sa.UniqueConstraint("tenant", "username", "name", name=op.f("api_keys_tenant_username_name_key")),
    )
