"""The tables. Every row belongs to a tenant; times are the database's own.

The migrations under store/migrations make the same tables; a test compares the two.
"""

from store.tables.base import Table
from store.tables.fleet import NodeRow, ReleaseRow
from store.tables.promotions import PromotionRow, PromotionStageRow
from store.tables.rollouts import (
    AmendmentRow,
    AnalysisRow,
    DeploymentNodeRow,
    DeploymentRow,
    EventRow,
    IdempotencyKeyRow,
    PollRow,
)
from store.tables.tenants import EnvironmentRow, FreezeRow, GroupMemberRow, TenantRow, UserRow

__all__ = [
    "AmendmentRow",
    "AnalysisRow",
    "DeploymentNodeRow",
    "DeploymentRow",
    "EnvironmentRow",
    "EventRow",
    "FreezeRow",
    "GroupMemberRow",
    "IdempotencyKeyRow",
    "NodeRow",
    "PollRow",
    "PromotionRow",
    "PromotionStageRow",
    "ReleaseRow",
    "Table",
    "TenantRow",
    "UserRow",
]
