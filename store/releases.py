"""Releases as they were pushed. A version is immutable: a second push means the same bytes, or is refused."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.errors import Conflict, NotFound
from domain.manifest import Manifest
from domain.release import Kind, ReleaseRef
from store.records import Page, StoredRelease
from store.rows import ref_of
from store.tables import ReleaseRow


async def get(session: AsyncSession, tenant: str, module: str, version: str) -> StoredRelease:
    """One release.

    Raises:
        NotFound: the tenant has no such release.
    """
    row = await session.get(ReleaseRow, (tenant, module, version))
    if row is None:
        raise NotFound(f"no release {module}@{version}")
    return _release(row)


async def by_ref(session: AsyncSession, tenant: str, ref: ReleaseRef) -> StoredRelease:
    """The release that a node reported or a plan names, with the very bytes.

    Raises:
        NotFound: the tenant has no such release, or one of other bytes under its name.
    """
    stored = await get(session, tenant, ref.module, ref.version)
    if stored.ref != ref:
        raise NotFound(f"{ref} is stored with other bytes than {ref.digest[:12]}…")
    return stored


async def insert(
    session: AsyncSession,
    tenant: str,
    *,
    ref: ReleaseRef,
    kind: Kind,
    manifest: Manifest,
    signature: bytes,
    signer: str,
    size: int,
    pushed_by: str,
) -> bool:
    """Keep a release; False when the same bytes are there already.

    Raises:
        Conflict: the version is there with other bytes.
    """
    statement = (
        upsert(ReleaseRow)
        .values(
            tenant=tenant,
            **ref.model_dump(),
            kind=kind,
            manifest=manifest.model_dump(mode="json"),
            signature=signature,
            signer=signer,
            size=size,
            pushed_by=pushed_by,
        )
        .on_conflict_do_nothing()
        .returning(ReleaseRow.version)
    )
    if await session.scalar(statement) is not None:
        return True
    stored = await get(session, tenant, ref.module, ref.version)
    if stored.ref.digest != ref.digest:
        raise Conflict(f"{ref} was pushed before with other bytes: versions are immutable", field="version")
    return False


async def modules(
    session: AsyncSession, tenant: str, *, after: str | None = None, limit: int = 20
) -> Page[StoredRelease]:
    """The latest push of each module, by module name; `after` is the last name seen."""
    statement = select(ReleaseRow).where(ReleaseRow.tenant == tenant).distinct(ReleaseRow.module)
    if after is not None:
        statement = statement.where(ReleaseRow.module > after)
    ordered = statement.order_by(ReleaseRow.module, ReleaseRow.pushed_at.desc(), ReleaseRow.version)
    return _page((await session.scalars(ordered.limit(limit + 1))).all(), limit)


async def of_module(
    session: AsyncSession, tenant: str, module: str, *, skip: int = 0, limit: int = 20
) -> Page[StoredRelease]:
    """The releases of one module, latest push first."""
    rows = await session.scalars(
        select(ReleaseRow)
        .where(ReleaseRow.tenant == tenant, ReleaseRow.module == module)
        .order_by(ReleaseRow.pushed_at.desc(), ReleaseRow.version)
        .offset(skip)
        .limit(limit + 1)
    )
    return _page(rows.all(), limit)


async def count(session: AsyncSession, tenant: str, module: str) -> int:
    """How many releases a module has."""
    statement = select(func.count()).where(ReleaseRow.tenant == tenant, ReleaseRow.module == module)
    return await session.scalar(statement) or 0


def _page(rows: Sequence[ReleaseRow], limit: int) -> Page[StoredRelease]:
    return Page(items=tuple(_release(row) for row in rows[:limit]), more=len(rows) > limit)


def _release(row: ReleaseRow) -> StoredRelease:
    return StoredRelease(
        ref=ref_of(row),
        kind=Kind(row.kind),
        manifest=Manifest.model_validate(row.manifest),
        signature=row.signature,
        signer=row.signer,
        size=row.size,
        pushed_by=row.pushed_by,
        pushed_at=row.pushed_at,
    )
