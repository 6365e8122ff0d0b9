"""Tenants have a life, a tier and a quota"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    json = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    moment = sa.DateTime(timezone=True)
    for column in (
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("state_since", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("tier", sa.Text(), server_default="custom", nullable=False),
        sa.Column("quota", json, nullable=True),
        sa.Column("trust", sa.Text(), nullable=True),
        sa.Column("first_admin", sa.Text(), server_default="admin", nullable=False),
    ):
        op.add_column("tenants", column)
    states = "'provisioning', 'active', 'suspended', 'deprovisioning', 'deleted'"
    op.create_check_constraint(op.f("tenants_state_known_check"), "tenants", f"state IN ({states})")
    tiers = "'free', 'starter', 'professional', 'enterprise', 'custom'"
    op.create_check_constraint(op.f("tenants_tier_known_check"), "tenants", f"tier IN ({tiers})")
    op.create_check_constraint(op.f("tenants_own_quota_check"), "tenants", "quota IS NULL OR tier = 'custom'")
    # A key's owner may be an administrator of the platform, who is no user of the tenant.
    op.drop_constraint("idempotency_keys_tenant_username_fkey", "idempotency_keys", type_="foreignkey")
    op.create_foreign_key(
        op.f("idempotency_keys_tenant_fkey"), "idempotency_keys", "tenants", ["tenant"], ["id"]
    )
