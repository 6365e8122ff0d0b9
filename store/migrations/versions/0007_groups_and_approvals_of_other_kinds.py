"""Groups, and approvals of other kinds than a deployment's"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "group_members",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "username"],
            ["users.tenant", "users.username"],
            name=op.f("group_members_tenant_username_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "name", "username", name=op.f("group_members_pkey")),
    )
    op.create_index(op.f("group_members_tenant_username_idx"), "group_members", ["tenant", "username"])
    op.alter_column("polls", "deployment", nullable=True)
    op.alter_column("events", "deployment", nullable=True)
    op.add_column("events", sa.Column("approval", sa.Text(), nullable=True))
    op.create_foreign_key(
        op.f("events_tenant_approval_fkey"), "events", "polls", ["tenant", "approval"], ["tenant", "id"]
    )
    op.create_unique_constraint(
        op.f("events_tenant_approval_key_key"), "events", ["tenant", "approval", "key"]
    )
    op.create_check_constraint(
        op.f("events_one_home_check"), "events", "(deployment IS NULL) <> (approval IS NULL)"
    )
    op.create_index(op.f("events_tenant_approval_id_idx"), "events", ["tenant", "approval", "id"])
