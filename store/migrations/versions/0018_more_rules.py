"""More of the domain's rules as CHECK constraints"""

from alembic import op

revision = "0018"
down_revision = "0017"

_USERNAME = "^[a-z0-9][a-z0-9._@-]{1,62}[a-z0-9]$"
_SHA256 = "^[0-9a-f]{64}$"
_PERMISSIONS = (
    *("read", "self", "own-keys", "push", "deploy", "pause", "resume", "promote", "abort", "roll-back"),
    *("approve", "freeze", "resolve", "set-policy", "register-nodes", "manage-people", "read-audit"),
    *("administer", "manage-tenants"),
)


def _words(column: str) -> str:
    return f"char_length({column}) <= 1000"


def _reason(column: str) -> str:
    return f"char_length({column}) >= 1 AND char_length({column}) <= 1000"


def upgrade() -> None:
    for table, column, rule in (
        ("tenants", "name", "char_length(name) <= 200"),
        ("tenants", "reason", _words("reason")),
        ("sessions", "refresh_hash", f"refresh_hash ~ '{_SHA256}'"),
        ("sessions", "previous_hash", f"previous_hash ~ '{_SHA256}'"),
        ("releases", "pushed_by", f"pushed_by ~ '{_USERNAME}'"),
        ("deployments", "requester", f"requester ~ '{_USERNAME}'"),
        ("deployments", "hotfix", _reason("hotfix")),
        ("deployments", "override", _reason("override")),
        ("amendments", "reason", _words("reason")),
        ("promotions", "requester", f"requester ~ '{_USERNAME}'"),
        ("promotions", "description", _words("description")),
        ("idempotency_keys", "username", f"username ~ '{_USERNAME}'"),
    ):
        op.create_check_constraint(op.f(f"{table}_{column}_fits_check"), table, rule)
    listed = ", ".join(f"'{permission}'" for permission in _PERMISSIONS)
    for table, name, rule in (
        ("api_keys", "scopes_known", f"scopes <@ ARRAY[{listed}]::text[]"),
        ("deployments", "step_counts", "step >= 0"),
        ("deployments", "wave_counts", "wave >= 1"),
        ("deployments", "sequence_counts", "sequence >= 1"),
        ("promotions", "position_counts", "position >= 1"),
        ("promotion_stages", "soak_fits", "soak >= 0 AND soak <= 7776000"),
        ("analyses", "counts", "wave >= 0 AND look >= 1"),
    ):
        op.create_check_constraint(op.f(f"{table}_{name}_check"), table, rule)
