"""Freezes: calendar windows and those that people order"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"

PHASES = (
    "queued", "planning", "staging", "waiting-approval", "activating", "verifying", "baking", "analyzing",
    "paused", "holding", "frozen", "rolling-back", "completed", "rolled-back-verified",
    "rolled-back-unverified", "rejected", "aborted", "failed",
)


def upgrade() -> None:
    op.create_table(
        "freezes",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("calendar", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_by", sa.Text(), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removal_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("calendar IS NULL OR until IS NULL", name=op.f("freezes_one_end_check")),
        sa.CheckConstraint(
            "(removed_at IS NULL) = (removed_by IS NULL)", name=op.f("freezes_removed_by_somebody_check")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "environment"],
            ["environments.tenant", "environments.name"],
            name=op.f("freezes_tenant_environment_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("freezes_pkey")),
    )
    op.create_index(
        op.f("freezes_tenant_environment_idx"),
        "freezes",
        ["tenant", "environment"],
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    listed = ", ".join(f"'{phase}'" for phase in PHASES)
    op.drop_constraint(op.f("deployments_phase_known_check"), "deployments")
    op.create_check_constraint(op.f("deployments_phase_known_check"), "deployments", f"phase IN ({listed})")
