"""Calling hooks: a signed POST, or a program of the worker's settings with the JSON on its input.

Signatures follow the Standard Webhooks specification 1.0: HMAC-SHA256 over "id.timestamp.body".
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, Self

import httpx

from clients.outbound import checked
from domain.errors import HookRefused, HookUnreachable
from domain.hook_settings import HookSettings
from domain.hooks import CommandCall, HookOrder, HookOutcome, HookResult, HttpCall, pause_before, read_answer

LARGEST_ANSWER: Final = 64 * 1024  # bytes
_LATER: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TZ")

Told = Callable[[HookOutcome], Awaitable[None]]


def signature(secret: str, identity: str, timestamp: int, body: bytes) -> str:
    """The value of the header webhook-signature."""
    signed = f"{identity}.{timestamp}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class HookCaller:
    """Calls hooks. An async context manager."""

    def __init__(self, settings: HookSettings) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(follow_redirects=False, trust_env=False)

    async def __aenter__(self) -> Self:
        """Nothing is opened before it is needed."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def run(self, order: HookOrder, *, since: float, told: Told) -> HookOutcome:
        """Call the hook to its end. Failing is an outcome, never an error.

        Args:
            order: what to call, and what to say.
            since: when the asking began, seconds since the epoch: a restarted worker gives no more time.
            told: is awaited with each WAIT that a polled hook answers.
        """
        rule = order.rule
        while True:
            outcome = await self._call(order)
            if outcome.result is not HookResult.WAITS:
                return outcome
            await told(outcome)
            if time.time() - since >= rule.give_up_after:
                words = f"still waits after {rule.give_up_after:g} s: {outcome.message}"
                return outcome.model_copy(update={"result": HookResult.FAILED, "message": words})
            await asyncio.sleep(rule.poll_every)

    async def _call(self, order: HookOrder) -> HookOutcome:
        """One call, tried again as long as the failure may be passing."""
        attempt = 0
        while True:
            attempt += 1
            await asyncio.sleep(pause_before(attempt))
            try:
                async with asyncio.timeout(order.rule.timeout):
                    body = await self._once(order)
            except TimeoutError:
                problem, final = f"no answer within {order.rule.timeout:g} s", False
            except HookUnreachable as error:
                problem, final = error.message, False
            except HookRefused as error:
                problem, final = error.message, True
            else:
                return _outcome(order, body, attempt)
            if final or attempt >= order.rule.attempts:
                return HookOutcome(result=HookResult.FAILED, message=problem, attempts=attempt)

    async def _once(self, order: HookOrder) -> bytes:
        body = json.dumps(order.payload(), ensure_ascii=False).encode()
        match order.rule.call:
            case HttpCall() as call:
                return await self._post(call, order.id, body)
            case CommandCall() as call:
                return await self._execute(call, body)

    async def _post(self, call: HttpCall, identity: str, body: bytes) -> bytes:
        url, headers, extensions = await checked(call.url, self._settings)
        headers |= {"Content-Type": "application/json", "webhook-id": identity}
        if call.secret is not None:
            now = int(time.time())
            key = self._settings.secret(call.secret)
            headers |= {
                "webhook-timestamp": str(now),
                "webhook-signature": signature(key, identity, now, body),
            }
        sent: dict[str, Any] = {"headers": headers, "extensions": extensions, "timeout": None}
        try:
            async with self._client.stream("POST", url, content=body, **sent) as answer:
                said = await _read(answer)
        except httpx.HTTPError as error:
            raise HookUnreachable(f"{call.url}: {error or type(error).__name__}") from error
        if answer.is_server_error or answer.status_code in _LATER:
            raise HookUnreachable(f"{call.url} answered {answer.status_code}")
        if not answer.is_success:
            raise HookRefused(f"{call.url} answered {answer.status_code}")
        return said

    async def _execute(self, call: CommandCall, body: bytes) -> bytes:
        program = self._settings.command(call.command)
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                *program.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={**environment, **program.environment},
                start_new_session=True,
            )
        except OSError as error:
            raise HookRefused(f"command {call.command!r}: {error.strerror}") from error
        try:
            output, _ = await process.communicate(body)
        finally:
            with suppress(ProcessLookupError):  # whatever it started and left behind, when time is up too
                os.killpg(process.pid, signal.SIGKILL)
        if process.returncode != 0:
            raise HookUnreachable(f"command {call.command!r} ended with {process.returncode}")
        return output[:LARGEST_ANSWER]


def _outcome(order: HookOrder, body: bytes, attempts: int) -> HookOutcome:
    if not order.rule.polled:
        return HookOutcome(result=HookResult.DONE, message="answered", attempts=attempts)
    answer = read_answer(body)
    if answer is None:
        words = "answered neither CONTINUE, WAIT nor ABORT"
        return HookOutcome(result=HookResult.FAILED, message=words, attempts=attempts)
    results = {"CONTINUE": HookResult.DONE, "WAIT": HookResult.WAITS, "ABORT": HookResult.ABORTED}
    words = answer.explanation or answer.status.lower()
    return HookOutcome(result=results[answer.status], message=words, link=answer.link, attempts=attempts)


async def _read(answer: httpx.Response) -> bytes:
    parts, length = [], 0
    async for part in answer.aiter_bytes():
        length += len(part)
        if length > LARGEST_ANSWER:
            raise HookRefused(f"the answer is longer than {LARGEST_ANSWER} bytes")
        parts.append(part)
    return b"".join(parts)
