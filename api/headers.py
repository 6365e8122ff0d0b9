"""What every answer tells browsers, and whose word about the client's address is believed.

No cookie is accepted anywhere, so a foreign page cannot use the API with a browser's credentials (CSRF);
these headers keep its answers from being framed, sniffed, or run.
"""

from typing import Final

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.links import PREFIX
from runtime.settings import ApiSettings

DOCS: Final = f"{PREFIX}/docs"
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), camera=(), microphone=(), payment=(), usb=()",
}
# The development profile's page loads Swagger UI from its usual place and starts it with a line of script.
_DOCS_POLICY: Final = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data: https://fastapi.tiangolo.com; "
    "script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src https://cdn.jsdelivr.net; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_TRANSPORT: Final = "max-age=31536000; includeSubDomains"
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_ALLOWED: Final = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "Last-Event-ID")


class SecurityHeaders:
    """Adds the headers to every answer; Strict-Transport-Security when the client came over TLS."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"] == DOCS:
                    headers["Content-Security-Policy"] = _DOCS_POLICY
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = _TRANSPORT
            await send(message)

        await self._app(scope, receive, send_secured)


def outermost(app: FastAPI, settings: ApiSettings) -> None:
    """Add what stands around all else. The last one added is the first that a request meets."""
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=_METHODS,
            allow_headers=_ALLOWED,
            expose_headers=("X-Trace-Id", "Retry-After", "Location", "ETag"),
            allow_credentials=False,
        )
    app.add_middleware(SecurityHeaders)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=settings.trusted_proxies)
