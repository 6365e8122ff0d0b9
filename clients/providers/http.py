"""HTTP requests to allowed addresses: no redirects, a limit on the answer, errors that say whose they are."""

from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import httpx

from domain.errors import ProviderDown, ProviderRefused
from domain.provider_settings import ProviderSettings

LARGEST_ANSWER = 4 * 1024 * 1024  # bytes
_LATER = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


class ProviderHttp:
    """One connection pool for all providers. An async context manager."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(follow_redirects=False, trust_env=False)

    async def __aenter__(self) -> Self:
        """Nothing is opened before it is needed."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ask(
        self,
        method: str,
        url: str,
        *,
        timeout: float,  # noqa: ASYNC109 - httpx's own time-out, per phase of the request
        headers: Mapping[str, str] | None = None,
        **content: Any,
    ) -> bytes:
        """The body of a good answer.

        Raises:
            ProviderDown: no answer, or one that says to try later (5xx, 408, 429).
            ProviderRefused: not an allowed address, another status, or too long an answer.
        """
        path = unquote(urlsplit(url).path)
        if "/.." in path or "\\" in path:
            raise ProviderRefused(f"{url}: a path upwards")
        sent = {**(headers or {}), **self._settings.headers_for(url)}
        try:
            async with self._client.stream(method, url, headers=sent, timeout=timeout, **content) as answer:
                body = await _read(answer)
        except httpx.InvalidURL as error:
            raise ProviderRefused(f"{url}: {error}") from error
        except httpx.HTTPError as error:
            raise ProviderDown(f"{url}: {error or type(error).__name__}") from error
        if answer.is_server_error or answer.status_code in _LATER:
            raise ProviderDown(f"{url} answered {answer.status_code}")
        if not answer.is_success:
            raise ProviderRefused(f"{url} answered {answer.status_code}: {_words(body)}")
        return body


async def _read(answer: httpx.Response) -> bytes:
    parts, length = [], 0
    async for part in answer.aiter_bytes():
        length += len(part)
        if length > LARGEST_ANSWER:
            raise ProviderRefused(f"{answer.url}: the answer is longer than {LARGEST_ANSWER} bytes")
        parts.append(part)
    return b"".join(parts)


def _words(body: bytes) -> str:
    return body[:200].decode(errors="replace").strip()
