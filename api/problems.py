"""Errors as problem documents (RFC 9457), with a stable code, the field at fault and a trace id."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import exc as sql
from starlette.exceptions import HTTPException
from temporalio.service import RPCError, RPCStatusCode

from api.audit import record_refusal
from domain import errors
from domain.base import own_words
from domain.limits import TooManyRequests
from runtime.oidc import IssuerUnavailable

_log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
# The nearest class of an error's own line of descent decides.
_STATUS: Final[dict[type[errors.HotswapError], HTTPStatus]] = {
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.SignatureRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.BundleTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    errors.NodeError: HTTPStatus.BAD_GATEWAY,
    IssuerUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
_CODES: Final = {
    HTTPStatus.UNPROCESSABLE_ENTITY: errors.InvalidInput.code,
    HTTPStatus.NOT_FOUND: errors.NotFound.code,
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body-too-large",
}
_UNAVAILABLE: Final = (sql.OperationalError, sql.InterfaceError, sql.TimeoutError, RPCError)
_AWAY: Final = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
)
_RETRY_AFTER: Final = "5"  # seconds


class FieldError(BaseModel):
    """One field and what is wrong with it; `code` is pydantic's name of the rule."""

    field: str
    code: str
    message: str


class Problem(BaseModel):
    """RFC 9457, with our extensions: code, field, errors, trace_id."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    errors: list[FieldError] = []
    trace_id: str


class Unavailable(errors.HotswapError):
    """The database or Temporal does not answer; worth another try."""

    code = "unavailable"


def install(app: FastAPI) -> None:
    """Answer every error with a problem document."""
    app.add_exception_handler(errors.HotswapError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in _UNAVAILABLE:
        app.add_exception_handler(kind, _unavailable)
    app.add_exception_handler(sql.DataError, _unstorable)
    app.add_exception_handler(Exception, unexpected)


def status_of(error: errors.HotswapError) -> HTTPStatus:
    """The HTTP status of an error of ours."""
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


async def _ours(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, errors.HotswapError):
        raise error
    status = status_of(error)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return await unexpected(request, error)
    if not isinstance(error, TooManyRequests):  # whoever asks too often must not make us write as often
        await record_refusal(request, status, error.code)
    return _answer(request, status, error.code, error.message, field=error.field, headers=_headers_of(error))


def _headers_of(error: errors.HotswapError) -> dict[str, str]:
    """When to try again, or what is in the way."""
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(error.retry_after)}
    return {"Link": f'<{error.link}>; rel="related"'} if isinstance(error, errors.LaneBusy) else {}


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    found = [
        FieldError(field=_field(each["loc"]), code=each["type"], message=own_words(each["msg"]))
        for each in error.errors()
    ]
    await record_refusal(request, HTTPStatus.UNPROCESSABLE_ENTITY, errors.InvalidInput.code)
    told = "; ".join(f"{each.field}: {each.message}" for each in found)
    return _answer(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        errors.InvalidInput.code,
        told,
        field=found[0].field if found else None,
        wrong=found,
    )


async def _http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.BAD_REQUEST:  # a body that cannot be parsed is bad input like any other
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = _CODES.get(status, status.phrase.lower().replace(" ", "-"))
    return _answer(request, status, code, str(error.detail), headers=error.headers)


async def _unstorable(request: Request, error: Exception) -> JSONResponse:
    """The database cannot hold a value, such as a text with a NUL: nobody has a thing of that name."""
    _log.info("%s %s: %s", request.method, request.url.path, type(error).__name__)
    return _answer(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        errors.InvalidInput.code,
        "a name or text has a character that cannot be kept (NUL), or a number is out of range",
    )


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RPCError) and error.status not in _AWAY:
        return await unexpected(request, error)
    _log.warning("%s %s: %s", request.method, request.url.path, error)
    return _answer(
        request,
        HTTPStatus.SERVICE_UNAVAILABLE,
        Unavailable.code,
        "the database or Temporal does not answer; try again",
        headers={"Retry-After": _RETRY_AFTER},
    )


async def unexpected(request: Request, error: Exception) -> JSONResponse:
    """Say nothing of the inside; the log has it, under the trace id."""
    _log.error("trace %s: %s %s failed", _trace_id(request), request.method, request.url.path, exc_info=error)
    return _answer(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        errors.HotswapError.code,
        "an error of ours; quote the trace id when you report it",
    )


def _answer(
    request: Request,
    status: HTTPStatus,
    code: str,
    detail: str,
    *,
    field: str | None = None,
    wrong: Sequence[FieldError] = (),
    headers: Any = None,
) -> JSONResponse:
    problem = Problem(
        type=f"urn:hotswap:problem:{code}",
        title=code.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        code=code,
        field=field,
        errors=list(wrong),
        trace_id=_trace_id(request),
    )
    extra = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else {}
    return JSONResponse(
        problem.model_dump(), status, headers={**(headers or {}), **extra}, media_type=MEDIA_TYPE
    )


def _trace_id(request: Request) -> str:
    return str(getattr(request.state, "trace_id", "-"))


def _field(location: Sequence[object]) -> str:
    """The path to a field, without the part of the request that it came in."""
    inner = location[1:] if len(location) > 1 else location
    return ".".join(str(part) for part in inner)
