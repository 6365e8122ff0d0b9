"""From our errors to Temporal's: which are final, and which a retry may cure."""

from typing import Any, Final

from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from domain.errors import (
    BundleInvalid,
    Conflict,
    Forbidden,
    HotswapError,
    InvalidInput,
    NotFound,
    SignatureRefused,
    Unauthenticated,
    WrongTenant,
)
from domain.tenancy import QuotaExceeded

# Trying again with the same input gives the same answer.
FINAL: Final = (
    BundleInvalid,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    SignatureRefused,
    Unauthenticated,
    WrongTenant,
)


def _is_final(error: HotswapError) -> bool:
    """A quota is a conflict that ends by itself, when something makes room."""
    return isinstance(error, FINAL) and not isinstance(error, QuotaExceeded)


class _Translate(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's name
        try:
            return await super().execute_activity(input)
        except HotswapError as error:
            raise ApplicationError(error.message, type=error.code, non_retryable=_is_final(error)) from error


class ErrorInterceptor(Interceptor):
    """Gives every HotswapError that leaves an activity its code as type, and says whether it is final."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap the activity."""
        return _Translate(next)
