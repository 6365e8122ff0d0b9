"""The agent's HTTP API, as `domain.wire` describes it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, TypeAdapter, ValidationError

from agent.desk import Desk
from agent.drivers.base import Host
from agent.faults import fault_of
from agent.identity import require_control_plane, require_tenant
from agent.telemetry import traced
from domain.errors import (
    BundleTooLarge,
    Conflict,
    Fenced,
    Forbidden,
    HotswapError,
    InvalidInput,
    NotFound,
    NotStaged,
    Unauthenticated,
    WrongTenant,
)
from domain.names import ModuleName, Sha256
from domain.wire import Fault, ModuleReport, ModuleState, NodeReport, Operation, Samples

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# The first that fits; anything else of ours is 500.
_STATUS: Final[tuple[tuple[type[HotswapError], int], ...]] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (WrongTenant, 421),
    (Fenced, 409),
    (NotStaged, 409),
    (Conflict, 409),
    (BundleTooLarge, 413),
    (InvalidInput, 422),
)
_CHUNK = 256 * 1024
_DIGEST: TypeAdapter[str] = TypeAdapter(Sha256)
_MODULE: TypeAdapter[str] = TypeAdapter(ModuleName)


class Api:
    """Routes and their handlers."""

    def __init__(self, host: Host, desk: Desk, report: Callable[[], Awaitable[NodeReport]]) -> None:
        self._host = host
        self._desk = desk
        self._report = report

    def application(self) -> web.Application:
        """The aiohttp application."""
        application = web.Application(middlewares=[traced, refusals, self._own_tenant])
        application.add_routes(
            [
                web.head("/v1/bundles/{digest}", self._has_bundle),
                web.put("/v1/bundles/{digest}", self._put_bundle),
                web.post("/v1/operations", self._operate),
                web.get("/v1/report", self._node_report),
                web.get("/v1/modules/{module}", self._module_report),
                web.get("/v1/modules/{module}/samples", self._samples),
                web.get("/v1/journal", self._journal),
                web.get("/healthz", self._alive),
                web.get("/metrics", self._metrics),
            ]
        )
        return application

    @web.middleware
    async def _own_tenant(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/v1/"):
            require_tenant(request, self._host.config.tenant)
        return await handler(request)

    async def _has_bundle(self, request: web.Request) -> web.StreamResponse:
        require_control_plane(request)
        path = self._host.bundles.path(_checked(_DIGEST, request.match_info["digest"], "digest"))
        return web.Response(status=204 if await self._host.pool.run(path.exists) else 404)

    async def _put_bundle(self, request: web.Request) -> web.StreamResponse:
        require_control_plane(request)
        digest = _checked(_DIGEST, request.match_info["digest"], "digest")
        size = await self._host.bundles.receive(digest, _chunks(request))
        self._host.metrics.staged_bytes.inc(size)
        return web.Response(status=204)

    async def _operate(self, request: web.Request) -> web.StreamResponse:
        require_control_plane(request)
        operation = _parsed(await request.read())
        return _json(await self._desk.submit(operation))

    async def _node_report(self, _: web.Request) -> web.StreamResponse:
        return _json(await self._report())

    async def _module_report(self, request: web.Request) -> web.StreamResponse:
        name = _checked(_MODULE, request.match_info["module"], "module")
        found = await self._desk.reports([name])
        return _json(found[0] if found else ModuleReport(module=name, state=ModuleState.ABSENT))

    async def _samples(self, request: web.Request) -> web.StreamResponse:
        name = _checked(_MODULE, request.match_info["module"], "module")
        since = _checked(TypeAdapter(float), request.query.get("since", "0"), "since")
        module = self._desk.module(name)
        return _json(
            Samples(
                node=self._host.config.node,
                module=name,
                now=time.time(),
                samples=module.samples(since) if module is not None else (),
            )
        )

    async def _journal(self, request: web.Request) -> web.StreamResponse:
        module = request.query.get("module")
        name = _checked(_MODULE, module, "module") if module is not None else None
        entries = [entry.model_dump(mode="json") for entry in self._host.journal.entries(name)]
        return web.json_response(entries)

    async def _alive(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.StreamResponse:
        gauge = self._host.metrics.module_up
        gauge.clear()
        for module, version, up in await self._desk.up():
            gauge.labels(module, version).set(up)
        body = await self._host.pool.run(self._host.metrics.exposition)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST})


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer our own errors as a `Fault`, with the status of their kind."""
    try:
        return await handler(request)
    except HotswapError as error:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        return _json(Fault(code=error.code, message=error.message), status=status)
    except OSError as error:
        return _json(fault_of(error), status=500)


def _json(model: BaseModel, status: int = 200) -> web.Response:
    return web.Response(body=model.model_dump_json(), status=status, content_type="application/json")


def _parsed(body: bytes) -> Operation:
    try:
        return Operation.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from error


def _checked(adapter: TypeAdapter[T], value: object, field: str) -> T:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise InvalidInput(f"{field}: {error.errors()[0]['msg']}", field=field) from error


def _invalid(error: ValidationError) -> InvalidInput:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return InvalidInput(f"{field}: {first['msg']}", field=field)


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_chunked(_CHUNK):
        yield chunk
