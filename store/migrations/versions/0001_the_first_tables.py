"""The first tables"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("tenants_pkey")),
    )
    op.create_table(
        "environments",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("policy", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("frozen", sa.Text(), nullable=True),
        sa.Column("frozen_by", sa.Text(), nullable=True),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "(frozen IS NULL) = (frozen_by IS NULL)", name=op.f("environments_frozen_has_a_cause_check")
        ),
        sa.CheckConstraint("sequence >= 0", name=op.f("environments_sequence_counts_check")),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("environments_tenant_fkey")),
        sa.PrimaryKeyConstraint("tenant", "name", name=op.f("environments_pkey")),
    )
    op.create_table(
        "releases",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("module", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("tree", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("manifest", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("signer", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("pushed_by", sa.Text(), nullable=False),
        sa.Column("pushed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "digest ~ '^[0-9a-f]{64}$' AND tree ~ '^[0-9a-f]{64}$'", name=op.f("releases_hashes_check")
        ),
        sa.CheckConstraint("kind IN ('process', 'files')", name=op.f("releases_kind_known_check")),
        sa.CheckConstraint("size > 0", name=op.f("releases_size_positive_check")),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("releases_tenant_fkey")),
        sa.PrimaryKeyConstraint("tenant", "module", "version", name=op.f("releases_pkey")),
    )
    op.create_table(
        "users",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "role IN ('viewer', 'deployer', 'approver', 'admin')", name=op.f("users_role_known_check")
        ),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("users_tenant_fkey")),
        sa.PrimaryKeyConstraint("tenant", "username", name=op.f("users_pkey")),
    )
    op.create_table(
        "deployments",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("module", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("rolls_back", sa.Text(), nullable=True),
        sa.Column("strategy", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("requester", sa.Text(), nullable=False),
        sa.Column("replaces", sa.Text(), nullable=True),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("phase_since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("wave", sa.Integer(), nullable=True),
        sa.Column("waiting_for", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("cause", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("unverified", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("plan", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("plan_digest", sa.Text(), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "phase IN ('queued', 'planning', 'staging', 'waiting-approval', 'activating', 'verifying', 'baking', 'analyzing', 'paused', 'holding', 'rolling-back', 'completed', 'rolled-back-verified', 'rolled-back-unverified', 'rejected', 'aborted', 'failed')",
            name=op.f("deployments_phase_known_check"),
        ),
        sa.CheckConstraint(
            "(plan IS NULL) = (plan_digest IS NULL)", name=op.f("deployments_plan_has_a_digest_check")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "environment"],
            ["environments.tenant", "environments.name"],
            name=op.f("deployments_tenant_environment_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "module", "version"],
            ["releases.tenant", "releases.module", "releases.version"],
            name=op.f("deployments_tenant_module_version_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "rolls_back"],
            ["deployments.tenant", "deployments.id"],
            name=op.f("deployments_tenant_rolls_back_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("deployments_pkey")),
        sa.UniqueConstraint(
            "tenant", "environment", "sequence", name=op.f("deployments_tenant_environment_sequence_key")
        ),
    )
    op.create_index(
        op.f("deployments_tenant_created_at_id_idx"),
        "deployments",
        ["tenant", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("deployments_tenant_environment_phase_idx"),
        "deployments",
        ["tenant", "environment", "phase"],
        unique=False,
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_digest", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "username"],
            ["users.tenant", "users.username"],
            name=op.f("idempotency_keys_tenant_username_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "username", "key", name=op.f("idempotency_keys_pkey")),
    )
    op.create_index(op.f("idempotency_keys_created_at_idx"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "nodes",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("labels", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=True),
        sa.Column(
            "registered_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("report", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant", "environment"],
            ["environments.tenant", "environments.name"],
            name=op.f("nodes_tenant_environment_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "name", name=op.f("nodes_pkey")),
    )
    op.create_index(
        op.f("nodes_tenant_environment_name_idx"), "nodes", ["tenant", "environment", "name"], unique=False
    )
    op.create_table(
        "analyses",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("analysis", sa.Text(), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("look", sa.Integer(), nullable=False),
        sa.Column("verdict", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "deployment"],
            ["deployments.tenant", "deployments.id"],
            name=op.f("analyses_tenant_deployment_fkey"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("analyses_pkey")),
        sa.UniqueConstraint("tenant", "analysis", "look", name=op.f("analyses_tenant_analysis_look_key")),
    )
    op.create_index(
        op.f("analyses_tenant_deployment_id_idx"), "analyses", ["tenant", "deployment", "id"], unique=False
    )
    op.create_table(
        "deployment_nodes",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("prior", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("fault", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("observed", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('staged', 'activated', 'verified', 'reverted', 'revert-verified', 'failed')",
            name=op.f("deployment_nodes_outcome_known_check"),
        ),
        sa.CheckConstraint("wave >= 1", name=op.f("deployment_nodes_wave_counts_check")),
        sa.ForeignKeyConstraint(
            ["tenant", "deployment"],
            ["deployments.tenant", "deployments.id"],
            name=op.f("deployment_nodes_tenant_deployment_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "deployment", "node", name=op.f("deployment_nodes_pkey")),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("payload", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "deployment"],
            ["deployments.tenant", "deployments.id"],
            name=op.f("events_tenant_deployment_fkey"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("events_pkey")),
        sa.UniqueConstraint("tenant", "deployment", "key", name=op.f("events_tenant_deployment_key_key")),
    )
    op.create_index(
        op.f("events_tenant_deployment_id_idx"), "events", ["tenant", "deployment", "id"], unique=False
    )
    op.create_table(
        "polls",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("request", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("poll", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "result IN ('approved', 'rejected', 'expired')", name=op.f("polls_result_known_check")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "deployment"],
            ["deployments.tenant", "deployments.id"],
            name=op.f("polls_tenant_deployment_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("polls_pkey")),
    )
    op.create_index(op.f("polls_tenant_deployment_idx"), "polls", ["tenant", "deployment"], unique=False)
    op.create_index(
        op.f("polls_tenant_opened_at_idx"),
        "polls",
        ["tenant", "opened_at"],
        unique=False,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
