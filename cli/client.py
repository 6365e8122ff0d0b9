"""The API as this command line uses it: sign-in, requests, problem documents turned into one-line errors."""

import hashlib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from cli.context import Target
from cli.errors import CommandFailed, NotSignedIn, Refused, Unreachable
from cli.sse import ServerEvent, read_events
from runtime import files

API = "/api/v1"
ANSWER_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
# The API sends a comment every 15 s on a silent stream; a longer silence is a dead connection.
STREAM_TIMEOUT = httpx.Timeout(5.0, read=40.0)
PASSING = frozenset((429, 502, 503, 504))


class ApiClient:
    """A synchronous client of one control plane, as one user."""

    def __init__(self, target: Target, *, cache: Path) -> None:
        """Prepare; nothing is sent yet.

        Args:
            target: where to go and as whom.
            cache: directory for tokens that were got with a password, so that not every command signs in.
        """
        self.target = target
        chosen = {"X-Tenant-ID": target.tenant} if target.tenant else {}
        self._http = httpx.Client(base_url=target.url + API, timeout=ANSWER_TIMEOUT, headers=chosen)
        identity = hashlib.sha256(f"{target.url}\n{target.username}".encode()).hexdigest()
        self._cached_token = cache / f"{identity[:32]}.token"
        self._token = target.token
        self._streaming: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def get(self, path: str, **query: str | int | None) -> Any:
        """The decoded answer to a GET; query parameters that are None are left out."""
        return self._ask(
            "GET", path, params={key: value for key, value in query.items() if value is not None}
        )

    def items(self, path: str, **query: str | int | None) -> Iterator[dict[str, Any]]:
        """All entries of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, **query)
            yield from page["items"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, key: str | None = None) -> Any:
        """The decoded answer to a POST; `key` makes a repeat of a lost request safe (Idempotency-Key)."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._ask("POST", path, json=body, headers=headers)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """The decoded answer to a PUT."""
        return self._ask("PUT", path, json=body)

    def delete(self, path: str, **query: str | int | None) -> Any:
        """The decoded answer to a DELETE."""
        chosen = {name: value for name, value in query.items() if value is not None}
        return self._ask("DELETE", path, params=chosen)

    def upload(self, path: str, parts: Mapping[str, tuple[str, bytes]]) -> Any:
        """The decoded answer to a POST of files (multipart/form-data)."""
        return self._ask("POST", path, files=parts)

    def download(self, path: str, target: Path, **query: str) -> int:
        """Write the answer to a GET into a file as it comes; its size in bytes."""
        try:
            with self._http.stream("GET", path, headers=self._authorization(), params=query) as answer:
                if answer.is_error:
                    answer.read()
                    self._decoded(answer)
                with target.open("wb") as file:
                    return sum(file.write(part) for part in answer.iter_bytes())
        except httpx.TransportError as error:
            raise Unreachable(f"{self.target.url} broke off: {error or type(error).__name__}") from error

    def sign_in(self, username: str, password: str) -> str:
        """A bearer token for this user."""
        return str(self.open_session(username, password)["access_token"])

    def open_session(self, username: str, password: str, *, tenant: str | None = None) -> dict[str, Any]:
        """The answer to a sign-in: the token, and whether the password must be changed first."""
        who = {"username": username, "password": password, **({"tenant": tenant} if tenant else {})}
        answer: dict[str, Any] = self._decoded(self._send("POST", "/auth/token", json=who))
        return answer

    def change_password(self, token: str, current: str, new: str) -> dict[str, Any]:
        """The answer to a change of one's own password: a new token; the earlier ones count no more."""
        body, headers = {"current": current, "new": new}, {"Authorization": f"Bearer {token}"}
        answer: dict[str, Any] = self._decoded(
            self._send("POST", "/auth/password", json=body, headers=headers)
        )
        return answer

    @contextmanager
    def events(self, path: str, *, after: str | None) -> Iterator[Iterator[ServerEvent]]:
        """A live stream of server-sent events, going on after the event with id `after`.

        Raises:
            Unreachable: at the start, or later when the connection breaks.
            Refused: the API says no.
        """
        headers = {**self._authorization(), "Accept": "text/event-stream", "Cache-Control": "no-store"}
        if after is not None:
            headers["Last-Event-ID"] = after
        try:
            with self._http.stream("GET", path, headers=headers, timeout=STREAM_TIMEOUT) as answer:
                if answer.is_error:
                    answer.read()
                    self._decoded(answer)
                self._streaming = answer.extensions["network_stream"].get_extra_info("socket")
                yield read_events(answer.iter_lines())
        except httpx.TransportError as error:
            raise Unreachable(
                f"{self.target.url} broke the event stream off: {error or type(error).__name__}"
            ) from error

    def interrupt(self) -> None:
        """End the live stream that another thread reads: its read returns at once."""
        if self._streaming is not None:
            with suppress(OSError):
                self._streaming.shutdown(socket.SHUT_RDWR)

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        """One request as the user; a token that is no longer taken is replaced once."""
        headers = arguments.pop("headers", {})
        answer = self._send(method, path, headers={**headers, **self._authorization()}, **arguments)
        if answer.status_code == httpx.codes.UNAUTHORIZED and self._forget_token():
            answer = self._send(method, path, headers={**headers, **self._authorization()}, **arguments)
        return self._decoded(answer)

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise Unreachable(
                f"{self.target.url} does not answer: {error or type(error).__name__}"
            ) from error
        except httpx.InvalidURL as error:
            raise CommandFailed(f"{self.target.url!r} is not a URL: {error}", field="url") from error

    def _authorization(self) -> dict[str, str]:
        if self._token is None:
            self._token = self._token_by_password()
        return {"Authorization": f"Bearer {self._token}"}

    def _token_by_password(self) -> str:
        if self._cached_token.exists():
            return self._cached_token.read_text(encoding="utf-8")
        if self.target.username is None or self.target.password_file is None:
            raise NotSignedIn(f"no token for {self.target.url}: set HOTSWAP_TOKEN or run 'hotswap login'")
        try:
            password = self.target.password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise CommandFailed(f"the password of {self.target.username} cannot be read: {error}") from error
        token = self.sign_in(self.target.username, password)
        files.replace(self._cached_token, token.encode())
        return token

    def _forget_token(self) -> bool:
        """Whether another sign-in may help: the refused token came from a password."""
        if self.target.token is not None or self.target.password_file is None:
            return False
        self._cached_token.unlink(missing_ok=True)
        self._token = None
        return True

    def _decoded(self, answer: httpx.Response) -> Any:
        if answer.is_success:
            return answer.json() if answer.content else None
        problem = _problem(answer)
        message = str(problem.get("detail") or problem.get("title") or answer.reason_phrase)
        if answer.status_code in PASSING:
            raise Unreachable(f"{self.target.url} cannot answer now: {message}")
        if answer.status_code == httpx.codes.UNAUTHORIZED and self.target.source.startswith("profile"):
            message += "; sign in again with 'hotswap login'"
        raise Refused(
            message,
            status=answer.status_code,
            problem=str(problem.get("code", "no-problem-document")),
            field=problem.get("field"),
            trace=problem.get("trace_id"),
        )


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
