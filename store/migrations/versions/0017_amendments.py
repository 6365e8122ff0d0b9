"""Amendments of deployments under way"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    json = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    at = sa.DateTime(timezone=True)
    op.create_table(
        "amendments",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("changes", json, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("before", json, nullable=False),
        sa.Column("plan", json, nullable=False),
        sa.Column("widens", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("gate", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", at, server_default=sa.text("now()"), nullable=False),
        sa.Column("settled_at", at, nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'applied', 'rejected', 'expired', 'lapsed')",
            name=op.f("amendments_state_known_check"),
        ),
        sa.CheckConstraint("number >= 1", name=op.f("amendments_counts_check")),
        sa.ForeignKeyConstraint(
            ["tenant", "deployment"],
            ["deployments.tenant", "deployments.id"],
            name=op.f("amendments_tenant_deployment_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "deployment", "number", name=op.f("amendments_pkey")),
    )
