"""An outcome of its own for what runs beside"""

from alembic import op

revision = "0003"
down_revision = "0002"

_NAME = "deployment_nodes_outcome_known_check"
_KNOWN = ("staged", "started", "activated", "verified", "reverted", "revert-verified", "failed")


def upgrade() -> None:
    listed = ", ".join(f"'{value}'" for value in _KNOWN)
    op.drop_constraint(op.f(_NAME), "deployment_nodes")
    op.create_check_constraint(op.f(_NAME), "deployment_nodes", f"outcome IN ({listed})")
