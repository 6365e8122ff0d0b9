"""Deployments that supersede others, hotfixes and overrides"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

PHASES = (
    "queued", "planning", "staging", "waiting-approval", "activating", "verifying", "baking", "analyzing",
    "paused", "holding", "frozen", "rolling-back", "completed", "rolled-back-verified",
    "rolled-back-unverified", "rejected", "aborted", "superseded", "failed",
)


def upgrade() -> None:
    for name in ("hotfix", "override", "supersedes", "supersede_mode"):
        op.add_column("deployments", sa.Column(name, sa.Text(), nullable=True))
    op.create_foreign_key(
        op.f("deployments_tenant_supersedes_fkey"),
        "deployments",
        "deployments",
        ["tenant", "supersedes"],
        ["tenant", "id"],
    )
    op.create_check_constraint(
        op.f("deployments_supersede_mode_known_check"),
        "deployments",
        "supersede_mode IN ('revert-first', 'roll-forward')",
    )
    op.create_check_constraint(
        op.f("deployments_superseded_somehow_check"),
        "deployments",
        "(supersedes IS NULL) = (supersede_mode IS NULL)",
    )
    listed = ", ".join(f"'{phase}'" for phase in PHASES)
    op.drop_constraint(op.f("deployments_phase_known_check"), "deployments")
    op.create_check_constraint(op.f("deployments_phase_known_check"), "deployments", f"phase IN ({listed})")
