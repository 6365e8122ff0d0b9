"""Releases as they were pushed. A version is immutable: a second push means the same bytes, or is refused."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.errors import Conflict, NotFound
from domain.manifest import Manifest
from domain.release import Kind, ReleaseRef
from store import quotas
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
    return of_row(row)


async def by_ref(session: AsyncSession, tenant: str, ref: ReleaseRef) -> StoredRelease:
    """The release that a node reported or a plan names, with the very bytes.

    Raises:
        NotFound: the tenant has no such release, or one of other bytes under its name.
    """
    stored = await get(session, tenant, ref.module, ref.version)
    if stored.ref != ref:
        raise NotFound(f"{ref} is stored with other bytes than {ref.digest[:12]}…")
    return stored


async def needs_of(
    session: AsyncSession, tenant: str, wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, str]]:
    """What releases (module, version) need of other modules; those that are not stored are left out."""
    rows = await session.execute(
        select(ReleaseRow.module, ReleaseRow.version, ReleaseRow.manifest["dependencies"]).where(
            ReleaseRow.tenant == tenant,
            tuple_(ReleaseRow.module, ReleaseRow.version).in_(sorted(wanted)),
        )
    )
    return {(module, version): dict(needs or {}) for module, version, needs in rows}


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
        QuotaExceeded: the tenant has no room for it.
    """
    if await session.get(ReleaseRow, (tenant, ref.module, ref.version)) is None:
        await quotas.admit_storage(session, tenant, size)
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
    await refuse_other_bytes(session, tenant, ref)
    return False


async def refuse_other_bytes(session: AsyncSession, tenant: str, ref: ReleaseRef) -> None:
    """See that a version is either new or the very same.

    Raises:
        Conflict: the version is there with other bytes.
    """
    row = await session.get(ReleaseRow, (tenant, ref.module, ref.version))
    if row is not None and row.digest != ref.digest:
        raise Conflict(f"{ref} was pushed before with other bytes: versions are immutable", field="version")


async def list_page(
    session: AsyncSession,
    tenant: str,
    *,
    module: str | None = None,
    before: tuple[datetime, str, str] | None = None,
    limit: int = 20,
) -> Page[StoredRelease]:
    """Releases, latest push first; `before` is (pushed_at, module, version) of the last one seen."""
    order = (ReleaseRow.pushed_at, ReleaseRow.module, ReleaseRow.version)
    statement = select(ReleaseRow).where(ReleaseRow.tenant == tenant)
    if module is not None:
        statement = statement.where(ReleaseRow.module == module)
    if before is not None:
        statement = statement.where(tuple_(*order) < tuple_(*before))
    ordered = statement.order_by(*(column.desc() for column in order)).limit(limit + 1)
    found = [of_row(row) for row in await session.scalars(ordered)]
    return Page(items=tuple(found[:limit]), more=len(found) > limit)


def of_row(row: ReleaseRow) -> StoredRelease:
    """The release that a row describes, as it was pushed."""
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
