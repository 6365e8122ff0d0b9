"""What a look was judged on, and what it leaves for the next one"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("analyses", sa.Column("memory", sa.LargeBinary(), nullable=True))
    op.add_column("analyses", sa.Column("judged", sa.LargeBinary(), nullable=True))
