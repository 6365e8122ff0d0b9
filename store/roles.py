"""The database roles. Names only: whoever runs the cluster makes them (docs/operations.md).

| role | signs in | may |
|---|---|---|
| owner (any name) | for migrations | owns the tables; row-level security is forced on it too |
| application (any name) | API and workers | what APPLICATION may; owns nothing, bound by row-level security |
| APPLICATION | never | read and write the rows of one tenant, the one that the transaction names |
| SYSTEM | never | the few columns of all tenants that SYSTEM_READS lists, and drop old keys and sessions |

The application is a member of APPLICATION, and of SYSTEM without inheriting it: what works across
tenants has to say so, for one transaction (`Database.system`).
"""

from typing import Final

APPLICATION: Final = "hotswap_application"
SYSTEM: Final = "hotswap_system"
TENANT_SETTING: Final = "hotswap.tenant"

# What is read across tenants: lanes and promotions with work, numbers for monitoring, whether anybody exists.
SYSTEM_READS: Final = {
    "tenants": (
        *("id", "name", "state", "state_since", "reason", "tier", "quota"),
        *("first_admin", "created_at"),
    ),
    "users": ("tenant", "username"),
    "environments": ("tenant", "name", "frozen"),
    "nodes": ("tenant", "name", "environment", "last_seen", "due_since"),
    "deployments": ("tenant", "id", "environment", "phase", "created_at", "finished_at"),
    "promotions": ("tenant", "id", "phase", "phase_since", "created_at"),
    "promotion_stages": ("tenant", "promotion", "deployment", "rollback"),
    "polls": ("tenant", "id", "closed_at"),
    "releases": ("tenant", "size"),
    "idempotency_keys": ("tenant", "username", "key", "created_at"),
    "sessions": ("tenant", "id", "expires_at"),
}
SYSTEM_DROPS: Final = ("idempotency_keys", "sessions")
