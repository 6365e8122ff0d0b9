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

LONGEST_DURATION: Final = 90 * 86400  # seconds, as domain.policy has it
_Key = Annotated[str, StringConstraints(min_length=1, max_length=255)]
_Description = Annotated[str, StringConstraints(max_length=1000)]

# Table, column, and the type that the column's values must fit.
RULES: Final[tuple[tuple[str, str, Any], ...]] = (
    ("tenants", "id", TenantId),
    ("tenants", "first_admin", Username),
    ("users", "username", Username),
    ("group_members", "name", GroupName),
    ("environments", "name", EnvironmentName),
    ("nodes", "name", NodeName),
    ("nodes", "address", Address),
    ("releases", "module", ModuleName),
    ("releases", "version", Version),
    ("deployments", "description", _Description),
    ("deployments", "plan_digest", Sha256),
    ("deployment_nodes", "node", NodeName),
    ("idempotency_keys", "key", _Key),
    ("idempotency_keys", "body_digest", Sha256),
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


def attach(metadata: MetaData) -> None:
    """Give each table its constraints."""
    for table, column, rule in RULES:
        check = CheckConstraint(fits(column, rule), name=f"{column}_fits")
        metadata.tables[table].append_constraint(check)
    metadata.tables["environments"].append_constraint(CheckConstraint(durations(), name="durations"))
    metadata.tables["environments"].append_constraint(
        CheckConstraint("position >= 0", name="position_counts")
    )
    metadata.tables["deployments"].append_constraint(
        CheckConstraint("started_at <= finished_at", name="ends_after_start")
    )
