"""From what Temporal raises to a Cause that people understand."""

from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    TerminatedError,
    is_cancelled_exception,
)
from temporalio.exceptions import TimeoutError as TemporalTimeout

from domain.deployment import Cause, CauseKind


def cause_of(error: BaseException) -> Cause:
    """Why a workflow ended, from the error that its parent or its own coroutine saw."""
    if is_cancelled_exception(error):
        return Cause(kind=CauseKind.ABORTED, message="cancelled from the Temporal console")
    inner = error.cause if isinstance(error, (ActivityError, ChildWorkflowError)) else None
    if isinstance(inner, TerminatedError):
        return Cause(kind=CauseKind.TERMINATED, message="terminated from the Temporal console")
    if isinstance(inner, TemporalTimeout):
        return Cause(kind=CauseKind.DEADLINE, message=f"ran out of time: {inner.message}")
    if isinstance(inner, ApplicationError):
        return Cause(kind=CauseKind.PLAN, message=inner.message)
    return Cause(kind=CauseKind.INTERNAL, message=str(inner or error))


def code_of(error: ActivityError) -> str | None:
    """The stable code of the error that an activity failed with; None when it failed otherwise."""
    return error.cause.type if isinstance(error.cause, ApplicationError) else None
