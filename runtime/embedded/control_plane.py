"""The API as the stack's own first client: sign in as the admin, register the nodes."""

from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Self

import httpx

from domain.errors import HotswapError

_API = "/api/v1"
_TIMEOUT = 30.0


class RegistrationFailed(HotswapError):
    """The API did not take the admin's word; the message has its answer."""

    code = "registration-failed"


class ControlPlane:
    """A session with the API, as one user. An async context manager."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url + _API, timeout=_TIMEOUT, trust_env=False)

    async def __aenter__(self) -> Self:
        """Open the session."""
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self._http.__aexit__(kind, error, trace)

    async def sign_in(self, username: str, password: str) -> bool:
        """All that follows is done as this user; false when there is no such user with this password."""
        answer = await self._post("/auth/token", {"username": username, "password": password})
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            return False
        self._http.headers["Authorization"] = f"Bearer {_content(answer)['access_token']}"
        return True

    async def register(self, node: str, environment: str, address: str, labels: Mapping[str, str]) -> str:
        """Make a node known, or known anew at another address; its token for heartbeats."""
        body = {"name": node, "environment": environment, "address": address, "labels": dict(labels)}
        return str(_content(await self._post("/nodes", body))["token"])

    async def _post(self, path: str, body: Mapping[str, object]) -> httpx.Response:
        try:
            return await self._http.post(path, json=body)
        except httpx.TransportError as error:
            raise RegistrationFailed(f"POST {path}: {error or type(error).__name__}") from error


def _content(answer: httpx.Response) -> dict[str, object]:
    if not answer.is_success:
        raise RegistrationFailed(f"POST {answer.url.path}: {answer.status_code} {answer.text}")
    content: dict[str, object] = answer.json()
    return content
