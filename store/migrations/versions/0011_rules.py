"""The domain's rules as CHECK constraints"""

from alembic import op

revision = "0011"
down_revision = "0010"

_SLUG = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_USERNAME = "^[a-z0-9][a-z0-9._@-]{1,62}[a-z0-9]$"
_NODE = "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
_MODULE = "^[a-z0-9][a-z0-9-]{1,62}[a-z0-9]$"
_SHA256 = "^[0-9a-f]{64}$"
_SEMVER = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-((0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(\+([0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*))?$"
_ADDRESS = r"^https://[A-Za-z0-9.\[\]:-]+:\d{1,5}$"
_DEADLINES = ("node", "wave", "deployment")


def upgrade() -> None:
    for table, column, rule in (
        ("tenants", "id", f"id ~ '{_SLUG}'"),
        ("tenants", "first_admin", f"first_admin ~ '{_USERNAME}'"),
        ("users", "username", f"username ~ '{_USERNAME}'"),
        ("group_members", "name", f"name ~ '{_SLUG}'"),
        ("environments", "name", f"name ~ '{_SLUG}'"),
        ("nodes", "name", f"name ~ '{_NODE}'"),
        ("nodes", "address", f"address ~ '{_ADDRESS}'"),
        ("releases", "module", f"module ~ '{_MODULE}'"),
        ("releases", "version", f"version ~ '{_SEMVER}' AND char_length(version) <= 128"),
        ("deployments", "description", "char_length(description) <= 1000"),
        ("deployments", "plan_digest", f"plan_digest ~ '{_SHA256}'"),
        ("deployment_nodes", "node", f"node ~ '{_NODE}'"),
        ("idempotency_keys", "key", "char_length(key) >= 1 AND char_length(key) <= 255"),
        ("idempotency_keys", "body_digest", f"body_digest ~ '{_SHA256}'"),
    ):
        op.create_check_constraint(op.f(f"{table}_{column}_fits_check"), table, rule)
    seconds = [f"(policy #>> '{{deadlines,{name}}}')::float8" for name in _DEADLINES]
    durations = " AND ".join(f"coalesce({each} > 0 AND {each} <= 7776000, true)" for each in seconds)
    for table, name, rule in (
        ("environments", "durations", durations),
        ("environments", "position_counts", "position >= 0"),
        ("deployments", "ends_after_start", "started_at <= finished_at"),
    ):
        op.create_check_constraint(op.f(f"{table}_{name}_check"), table, rule)
