"""The domain's rules as CHECK constraints: what a type of the domain refuses, the database refuses too.

The constraints are made from the types themselves; the migrations have them as they were, and a test
compares the two. Empty columns are the business of NOT NULL.
"""

from typing import Annotated, Any, Final, get_args

from pydantic import StringConstraints
from sqlalchemy import CheckConstraint, MetaData

from domain.names import (
    EnvironmentName,
    GroupName,
    ModuleName,
    NodeName,
    Sha256,
    TenantId,
    Username,
    Version,
)
from domain.node import Address
from domain.permissions import Permission

LONGEST_DURATION: Final = 90 * 86400  # seconds, as domain.policy has it
_Key = Annotated[str, StringConstraints(min_length=1, max_length=255)]
_Words = Annotated[str, StringConstraints(max_length=1000)]
_Reason = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
_Title = Annotated[str, StringConstraints(max_length=200)]

# Table, column, and the type that the column's values must fit.
RULES: Final[tuple[tuple[str, str, Any], ...]] = (
    ("tenants", "id", TenantId),
    ("tenants", "first_admin", Username),
    ("tenants", "name", _Title),
    ("tenants", "reason", _Words),
    ("users", "username", Username),
    ("sessions", "refresh_hash", Sha256),
    ("sessions", "previous_hash", Sha256),
    ("group_members", "name", GroupName),
    ("environments", "name", EnvironmentName),
    ("nodes", "name", NodeName),
    ("nodes", "address", Address),
    ("releases", "module", ModuleName),
    ("releases", "version", Version),
    ("releases", "pushed_by", Username),
    ("deployments", "requester", Username),
    ("deployments", "description", _Words),
    ("deployments", "hotfix", _Reason),
    ("deployments", "override", _Reason),
    ("deployments", "plan_digest", Sha256),
    ("deployment_nodes", "node", NodeName),
    ("amendments", "reason", _Words),
    ("promotions", "requester", Username),
    ("promotions", "description", _Words),
    ("idempotency_keys", "username", Username),
    ("idempotency_keys", "key", _Key),
    ("idempotency_keys", "body_digest", Sha256),
)
# Table, name, and a rule about numbers or several columns.
_OTHERS: Final = (
    ("environments", "position_counts", "position >= 0"),
    ("deployments", "ends_after_start", "started_at <= finished_at"),
    ("deployments", "step_counts", "step >= 0"),
    ("deployments", "wave_counts", "wave >= 1"),
    ("deployments", "sequence_counts", "sequence >= 1"),
    ("promotions", "position_counts", "position >= 1"),
    ("promotion_stages", "soak_fits", f"soak >= 0 AND soak <= {LONGEST_DURATION}"),
    ("analyses", "counts", "wave >= 0 AND look >= 1"),
)
# Durations within an environment's policy, in seconds.
_DURATIONS: Final = (
    ("deadlines", "node"),
    ("deadlines", "wave"),
    ("deadlines", "deployment"),
)


def fits(column: str, rule: Any) -> str:
    """The rule as SQL. PostgreSQL reads the patterns of the domain as they are."""
    said = get_args(rule)[1]
    parts = []
    if said.pattern is not None:
        parts.append(f"{column} ~ '{said.pattern}'")
    if said.min_length is not None:
        parts.append(f"char_length({column}) >= {said.min_length}")
    if said.max_length is not None:
        parts.append(f"char_length({column}) <= {said.max_length}")
    return " AND ".join(parts)


def durations() -> str:
    """Each duration of a policy that says one is above 0 and not too long."""
    found = [f"(policy #>> '{{{','.join(path)}}}')::float8" for path in _DURATIONS]
    return " AND ".join(f"coalesce({each} > 0 AND {each} <= {LONGEST_DURATION}, true)" for each in found)


def scopes() -> str:
    """Each scope of a key is a permission."""
    listed = ", ".join(f"'{permission}'" for permission in Permission)
    return f"scopes <@ ARRAY[{listed}]::text[]"


def attach(metadata: MetaData) -> None:
    """Give each table its constraints."""
    for table, column, rule in RULES:
        check = CheckConstraint(fits(column, rule), name=f"{column}_fits")
        metadata.tables[table].append_constraint(check)
    metadata.tables["environments"].append_constraint(CheckConstraint(durations(), name="durations"))
    metadata.tables["api_keys"].append_constraint(CheckConstraint(scopes(), name="scopes_known"))
    for table, name, rule in _OTHERS:
        metadata.tables[table].append_constraint(CheckConstraint(rule, name=name))
