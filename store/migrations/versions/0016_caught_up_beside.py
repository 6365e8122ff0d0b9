"""Deployments that catch nodes up beside the one that runs"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("deployments", sa.Column("beside", sa.Text))
    op.create_foreign_key(
        op.f("deployments_tenant_beside_fkey"),
        "deployments",
        "deployments",
        ["tenant", "beside"],
        ["tenant", "id"],
    )
    op.create_check_constraint(op.f("deployments_beside_catches_up_check"), "deployments", "beside IS NULL OR catch_up")
