"""How long each kind of work may take and how often it is tried: every time-out and retry, in one place.

An activity raises its final errors as non-retryable (activities.errors.FINAL); what is left to retry is
a part of the system that is down and will come back.
"""

from datetime import timedelta
from typing import Any, Final

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType

from domain.names import CONTROL_QUEUE, HOOK_QUEUE, NODE_QUEUE

# Short reads and writes of our own database. Without an end: a rollout must not fail because the database
# restarts; it waits, visible in the console as a pending activity with its last error.
RECORD: Final[dict[str, Any]] = {
    "task_queue": CONTROL_QUEUE,
    "start_to_close_timeout": timedelta(seconds=15),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=15)
    ),
}

# Reading all nodes of the environment once, then compiling and storing the plan.
PLANNING: Final[dict[str, Any]] = {
    "task_queue": NODE_QUEUE,
    "start_to_close_timeout": timedelta(minutes=5),
    "heartbeat_timeout": timedelta(seconds=15),
    "retry_policy": RetryPolicy(maximum_interval=timedelta(seconds=15), maximum_attempts=20),
}

# One look of the judge: samples from two groups of nodes, a verdict. A look that fails is not a verdict.
LOOK: Final[dict[str, Any]] = {
    "task_queue": NODE_QUEUE,
    "start_to_close_timeout": timedelta(minutes=2),
    "heartbeat_timeout": timedelta(seconds=15),
    "retry_policy": RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=20),
}

# One measurement of a condition check. A provider that does not answer is a result, not an error: the check
# has a budget for that. What is retried here is a worker that died.
MEASUREMENT: Final[dict[str, Any]] = {
    "task_queue": NODE_QUEUE,
    "start_to_close_timeout": timedelta(minutes=2),
    "heartbeat_timeout": timedelta(seconds=15),
    "retry_policy": RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=20),
}

# Waiting for another workflow to end: as long as it takes, heartbeating.
SUPERVISION: Final[dict[str, Any]] = {
    "task_queue": CONTROL_QUEUE,
    "start_to_close_timeout": timedelta(days=60),
    "heartbeat_timeout": timedelta(seconds=15),
    "retry_policy": RetryPolicy(maximum_interval=timedelta(seconds=15)),
}

# A deployment that waits for people may live for weeks; this ends one that is stuck on a bug, and the
# lane, which sees it end, rolls it back.
DEPLOYMENT_LIFETIME: Final = timedelta(days=60)

# Batches of one wave that are under way at once.
BATCHES_AT_ONCE: Final = 16


def node_operation(wave_deadline: float) -> dict[str, Any]:
    """A batch of node operations: heartbeats tell a dead worker from slow nodes within seconds.

    The retry goes on with the nodes that the heartbeat does not name. A cancelled batch is waited for, so
    that no rollback starts beside an operation that still runs.
    """
    return {
        "task_queue": NODE_QUEUE,
        "start_to_close_timeout": timedelta(seconds=wave_deadline),
        "schedule_to_close_timeout": timedelta(seconds=wave_deadline),
        "heartbeat_timeout": timedelta(seconds=10),
        "retry_policy": RetryPolicy(maximum_interval=timedelta(seconds=10)),
        "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    }


def hook_call(longest: timedelta) -> dict[str, Any]:
    """One hook with all its attempts, or all its asking; a worker that dies is noticed by its heartbeats."""
    return {
        "task_queue": HOOK_QUEUE,
        "schedule_to_close_timeout": longest + timedelta(minutes=1),
        "heartbeat_timeout": timedelta(seconds=10),
        "retry_policy": RetryPolicy(maximum_interval=timedelta(seconds=5)),
    }
