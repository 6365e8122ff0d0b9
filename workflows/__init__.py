"""Durable control flow: decides order, waits, reacts to signals. All I/O is in activities."""

from collections.abc import Sequence

from workflows.analysis import CanaryAnalysisWorkflow
from workflows.approval import ApprovalWorkflow
from workflows.deployment import DeploymentWorkflow
from workflows.guard import GuardWorkflow
from workflows.lane import LaneWorkflow
from workflows.release import ReleaseWorkflow
from workflows.rollback import RollbackWorkflow
from workflows.tenant import TenantRemovalWorkflow, TenantWorkflow

ALL_WORKFLOWS: Sequence[type] = (
    LaneWorkflow,
    DeploymentWorkflow,
    ApprovalWorkflow,
    CanaryAnalysisWorkflow,
    RollbackWorkflow,
    TenantWorkflow,
    TenantRemovalWorkflow,
    ReleaseWorkflow,
    GuardWorkflow,
)
