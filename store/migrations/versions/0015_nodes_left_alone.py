"""Nodes that are quarantined, and nodes to be caught up"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("nodes", sa.Column("quarantine", postgresql.JSONB(none_as_null=True)))
    op.add_column("nodes", sa.Column("due_since", sa.DateTime(timezone=True)))
    op.add_column("deployments", sa.Column("only_nodes", postgresql.ARRAY(sa.Text)))
    op.add_column("deployments", sa.Column("retries", sa.Text))
    op.add_column("deployments", sa.Column("catch_up", sa.Boolean, server_default="false", nullable=False))
    op.create_foreign_key(
        op.f("deployments_tenant_retries_fkey"),
        "deployments",
        "deployments",
        ["tenant", "retries"],
        ["tenant", "id"],
    )
    op.create_index(
        op.f("nodes_tenant_environment_idx"),
        "nodes",
        ["tenant", "environment"],
        postgresql_where=sa.text("due_since IS NOT NULL"),
    )
