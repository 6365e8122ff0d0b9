"""A real HTTP server that hooks are pointed at: it keeps what it got, and answers as a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

Answer = Callable[[int], Awaitable[web.Response]]


@dataclass
class Got:
    headers: dict[str, str]
    body: bytes
    path: str


@dataclass
class Receiver:
    """`answer` is called with the number of the request, from 1."""

    answer: Answer
    url: str = ""
    got: list[Got] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append(Got(dict(request.headers), await request.read(), request.path))
        return await self.answer(len(self.got))


def answers(*given: int | str | float) -> Answer:
    """A status, a body with 200, or seconds to be silent; the last one for ever."""

    async def answer(number: int) -> web.Response:
        now = given[min(number, len(given)) - 1]
        if isinstance(now, float):
            await asyncio.sleep(now)
            return web.Response()
        if isinstance(now, str):
            return web.Response(text=now, content_type="application/json")
        place = {"Location": "/elsewhere"} if 300 <= now < 400 else {}
        return web.Response(status=now, headers=place)

    return answer


@asynccontextmanager
async def receiving(answer: Answer) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
