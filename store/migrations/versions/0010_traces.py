"""The trace that a deployment belongs to"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("deployments", sa.Column("traceparent", sa.Text(), nullable=True))
