"""The least that a FastAPI + psycopg service does: one pool, one row read or written per request."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

POOL = AsyncConnectionPool(os.environ["BARE_DATABASE"], min_size=10, max_size=20, open=False)


@asynccontextmanager
async def opened(_: FastAPI) -> AsyncIterator[None]:
    async with POOL, POOL.connection() as connection:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS bare"
            " (id bigserial PRIMARY KEY, module text, version text, at timestamptz)"
        )
        await connection.execute("INSERT INTO bare (module, version, at) VALUES ('m', '1.0.0', now())")
        await connection.commit()
        yield


app = FastAPI(lifespan=opened)


class Item(BaseModel):
    module: str
    version: str


@app.get("/item")
async def read() -> Item:
    async with POOL.connection() as connection:
        row = await (await connection.execute("SELECT module, version FROM bare WHERE id = 1")).fetchone()
    assert row is not None
    return Item(module=row[0], version=row[1])


@app.post("/item", status_code=202)
async def write(item: Item) -> Item:
    async with POOL.connection() as connection:
        await connection.execute(
            "INSERT INTO bare (module, version, at) VALUES (%s, %s, now())", (item.module, item.version)
        )
    return item
