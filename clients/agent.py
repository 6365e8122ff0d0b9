"""The control plane's side of an agent's API: mutual TLS, one session, typed errors, deadlines."""

import asyncio
import copy
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, TypeVar

import aiohttp
from opentelemetry import propagate
from pydantic import TypeAdapter, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from domain import errors
from domain.errors import (
    AddressRefused,
    AnswerUnreadable,
    HotswapError,
    NodeError,
    NodeUnreachable,
    NodeUntrusted,
)
from domain.names import ModuleName, TenantId
from domain.networks import AgentNetworks
from domain.wire import (
    TENANT_HEADER,
    Fault,
    JournalEntry,
    ModuleReport,
    NodeReport,
    Operation,
    OperationResult,
    Samples,
)

T = TypeVar("T")

DEADLINE = 30.0  # seconds for a call without a deadline of its own
CONNECT_TIMEOUT = 10.0
LARGEST_ANSWER = 32 * 1024 * 1024  # bytes
FIRST_PAUSE = 0.1  # seconds; doubles, jittered, up to
LONGEST_PAUSE = 2.0
_BY_CODE: Final = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, HotswapError)
}
_BY_STATUS: Final = {
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    421: errors.WrongTenant,
}
_JOURNAL: TypeAdapter[tuple[JournalEntry, ...]] = TypeAdapter(tuple[JournalEntry, ...])


class _NotAllowed(OSError):
    """Where a connection would lead, no agent may be."""


class AgentClient:
    """Talks to any number of agents. An async context manager; close it when the process ends.

    Calls are made for a tenant: `agents.of(tenant).report(…)`.

    Each call takes a deadline in seconds. Within it, what could be a lost connection or an agent that is just
    restarting is tried again, which is safe: operations are applied once per id. All calls raise

    - NodeUnreachable: no answer within the deadline; with TLS 1.3 also when the agent refuses our
      certificate, for it can say so only by hanging up;
    - NodeUntrusted: its certificate is not of our CA, or not for that address;
    - AddressRefused: no agent may be where it leads;
    - AnswerUnreadable: what answers is no agent, or one that has gone wrong;
    - WrongTenant: the agent belongs to another tenant;
    - the error of `domain.errors` whose code the agent answered; NodeError where we do not know the code.

    Args:
        ca: PEM file of the CA that the agents' certificates are under.
        certificate: PEM file of our client certificate.
        key: PEM file of its key.
        networks: where agents may be. The very address that is connected to is held against it, so that a
            name that answers with another one a moment later gains nothing.
    """

    def __init__(self, *, ca: Path, certificate: Path, key: Path, networks: AgentNetworks) -> None:
        self._tls = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca))
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._tls.load_cert_chain(certificate, key)
        self._networks = networks
        self._session: aiohttp.ClientSession | None = None
        self._tenant: TenantId | None = None

    async def __aenter__(self) -> Self:
        """Open the session."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0, socket_factory=self._socket),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _socket(self, found: aiohttp.AddrInfoType) -> socket.socket:
        """A socket for an address that a name has resolved to, if an agent may be there."""
        family, kind, protocol, _, address = found
        if not self._networks.allow(str(address[0])):
            raise _NotAllowed(errno.EACCES, f"no agent may be at {address[0]}")
        return socket.socket(family, kind, protocol)

    def of(self, tenant: TenantId) -> Self:
        """The same connections, for one tenant's calls; for use while this one is open."""
        bound = copy.copy(self)
        bound._tenant = tenant
        return bound

    async def stage(
        self, address: str, operation: Operation, bundle: Path, *, deadline: float = DEADLINE
    ) -> OperationResult:
        """Send the bundle, unless the node has it, and stage it.

        Args:
            address: the agent's URL.
            operation: a stage operation.
            bundle: the bundle's file, streamed from the disk.
            deadline: seconds for all of it.
        """
        digest = operation.release.digest if operation.release is not None else ""

        async def attempt() -> OperationResult:
            if not await self._has_bundle(address, digest):
                with await asyncio.to_thread(bundle.open, "rb") as file:
                    await self._ask("PUT", f"{address}/v1/bundles/{digest}", data=file)
            return await self._order(address, operation)

        return await _patiently(address, deadline, attempt)

    async def operate(
        self, address: str, operation: Operation, *, deadline: float = DEADLINE
    ) -> OperationResult:
        """Order an operation; the result that comes back is of one that succeeded.

        Raises:
            HotswapError: the operation was refused or has failed on the node; see the class.
        """

        async def attempt() -> OperationResult:
            return await self._order(address, operation)

        return await _patiently(address, deadline, attempt)

    async def report(self, address: str, *, deadline: float = DEADLINE) -> NodeReport:
        """Read the whole node back."""
        return _read(NodeReport.model_validate_json, await self._get(address, "report", deadline))

    async def module(self, address: str, module: ModuleName, *, deadline: float = DEADLINE) -> ModuleReport:
        """Read one module back; one that the node does not know is absent."""
        body = await self._get(address, f"modules/{module}", deadline)
        return _read(ModuleReport.model_validate_json, body)

    async def samples(
        self, address: str, module: ModuleName, since: float, *, deadline: float = DEADLINE
    ) -> Samples:
        """The samples newer than `since` (seconds since the epoch, on the node's clock)."""
        body = await self._get(address, f"modules/{module}/samples", deadline, since=repr(since))
        return _read(Samples.model_validate_json, body)

    async def journal(
        self, address: str, module: ModuleName | None = None, *, deadline: float = DEADLINE
    ) -> tuple[JournalEntry, ...]:
        """The operations that the node remembers to have applied, oldest first."""
        query = {"module": module} if module is not None else {}
        return _read(_JOURNAL.validate_json, await self._get(address, "journal", deadline, **query))

    async def _get(self, address: str, path: str, deadline: float, **query: str) -> bytes:
        async def attempt() -> bytes:
            return await self._ask("GET", f"{address}/v1/{path}", query=query)

        return await _patiently(address, deadline, attempt)

    async def _order(self, address: str, operation: Operation) -> OperationResult:
        body = operation.model_dump_json().encode()
        answer = await self._ask("POST", f"{address}/v1/operations", data=body)
        result = _read(OperationResult.model_validate_json, answer)
        if result.fault is not None:
            raise error_of(result.fault)
        return result

    async def _has_bundle(self, address: str, digest: str) -> bool:
        try:
            await self._ask("HEAD", f"{address}/v1/bundles/{digest}")
        except errors.NotFound:
            return False
        return True

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        data: bytes | BinaryIO | None = None,
        query: dict[str, str] | None = None,
    ) -> bytes:
        """One request; everything that is not a good answer is an error of ours."""
        if self._session is None:
            raise RuntimeError("AgentClient is an async context manager: enter it first")
        if self._tenant is None:
            raise RuntimeError("calls are made for a tenant: AgentClient.of")
        try:
            async with self._session.request(
                method,
                url,
                data=data,
                params=query,
                headers={TENANT_HEADER: self._tenant, **_trace()},
                allow_redirects=False,
            ) as answer:
                body = await _all_of(answer)
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
                raise NodeUntrusted(f"{url}: {error}") from error
            if isinstance(error.__cause__, _NotAllowed):
                raise AddressRefused(f"{url}: {error.__cause__.strerror}") from error
            raise NodeUnreachable(f"{url}: {error or type(error).__name__}") from error
        if 300 <= answer.status < 400:  # followed, it would lead wherever a node's owner likes
            raise AnswerUnreadable(f"{url} points elsewhere, as no agent does")
        if answer.ok:
            return body
        raise _refusal(answer.status, body)


async def _all_of(answer: aiohttp.ClientResponse) -> bytes:
    parts, length = [], 0
    async for part in answer.content.iter_chunked(64 * 1024):
        length += len(part)
        if length > LARGEST_ANSWER:
            raise AnswerUnreadable(f"{answer.url}: the answer is longer than {LARGEST_ANSWER} bytes")
        parts.append(part)
    return b"".join(parts)


def _read(parse: Callable[[bytes], T], body: bytes) -> T:
    try:
        return parse(body)
    except ValidationError as error:
        raise AnswerUnreadable("the agent's answer is not of the form that agents answer in") from error


def _trace() -> dict[str, str]:
    """The present trace as headers (W3C Trace Context); none outside of one."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


def error_of(fault: Fault) -> HotswapError:
    """The typed error of a fault."""
    kind = _BY_CODE.get(fault.code)
    return kind(fault.message) if kind is not None else NodeError(f"{fault.code}: {fault.message}")


def _refusal(status: int, body: bytes) -> HotswapError:
    try:
        return error_of(Fault.model_validate_json(body))
    except ValidationError:  # an answer to HEAD, which has no body, or not from an agent
        return _BY_STATUS.get(status, NodeError)(f"the agent answered {status}")


async def _patiently(address: str, deadline: float, attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeat what fails for the transport's sake, until the deadline."""
    last: list[BaseException | None] = [None]

    def remember(state: RetryCallState) -> None:
        last[0] = state.outcome.exception() if state.outcome is not None else None

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(NodeUnreachable),
        wait=wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
        before_sleep=remember,
        reraise=True,
    )
    try:
        async with asyncio.timeout(deadline):
            return await retrying(attempt)
    except TimeoutError:
        why = f": {last[0]}" if last[0] is not None else ""
        raise NodeUnreachable(f"{address} did not answer within {deadline:g} s{why}") from last[0]
