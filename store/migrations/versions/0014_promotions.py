"""Promotions: one release through several environments"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    json = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    at = sa.DateTime(timezone=True)
    op.create_table(
        "promotions",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("module", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("requester", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("phase_since", at, server_default=sa.text("now()"), nullable=False),
        sa.Column("position", sa.Integer(), server_default="1", nullable=False),
        sa.Column("waiting_for", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("cause", json, nullable=True),
        sa.Column("created_at", at, server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", at, nullable=True),
        sa.CheckConstraint(
            "phase IN ('running', 'soaking', 'paused', 'rolling-back', 'completed', 'stopped', "
            "'rolled-back-verified', 'rolled-back-unverified')",
            name=op.f("promotions_phase_known_check"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "module", "version"],
            ["releases.tenant", "releases.module", "releases.version"],
            name=op.f("promotions_tenant_module_version_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("promotions_pkey")),
    )
    op.create_index(
        op.f("promotions_tenant_created_at_id_idx"), "promotions", ["tenant", "created_at", "id"]
    )
    op.create_table(
        "promotion_stages",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("promotion", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("soak", sa.Float(), nullable=False),
        sa.Column("on_failure", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=True),
        sa.Column("rollback", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint(
            "on_failure IN ('keep', 'rollback')", name=op.f("promotion_stages_on_failure_known_check")
        ),
        sa.CheckConstraint("position >= 1", name=op.f("promotion_stages_position_counts_check")),
        sa.ForeignKeyConstraint(
            ["tenant", "promotion"],
            ["promotions.tenant", "promotions.id"],
            name=op.f("promotion_stages_tenant_promotion_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "environment"],
            ["environments.tenant", "environments.name"],
            name=op.f("promotion_stages_tenant_environment_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "deployment"],
            ["deployments.tenant", "deployments.id"],
            name=op.f("promotion_stages_tenant_deployment_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "rollback"],
            ["deployments.tenant", "deployments.id"],
            name=op.f("promotion_stages_tenant_rollback_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "promotion", "position", name=op.f("promotion_stages_pkey")),
    )
    for column in ("deployment", "rollback"):
        op.create_index(
            op.f(f"promotion_stages_tenant_{column}_idx"), "promotion_stages", ["tenant", column]
        )
    op.add_column("events", sa.Column("promotion", sa.Text(), nullable=True))
    op.create_foreign_key(
        op.f("events_tenant_promotion_fkey"),
        "events",
        "promotions",
        ["tenant", "promotion"],
        ["tenant", "id"],
    )
    op.drop_constraint(op.f("events_one_home_check"), "events")
    op.create_check_constraint(
        op.f("events_one_home_check"), "events", "num_nonnulls(deployment, approval, promotion) = 1"
    )
    op.create_unique_constraint(
        op.f("events_tenant_promotion_key_key"), "events", ["tenant", "promotion", "key"]
    )
    op.create_index(op.f("events_tenant_promotion_id_idx"), "events", ["tenant", "promotion", "id"])
