"""Releases: pushed, listed, shown. What is pushed is checked whole before anything is kept."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from api.access import Caller, Pusher, Viewer
from api.audit import done
from api.paging import PageOf, PageQuery, cursor_of, time_and_names
from api.services import Hands, Services
from api.views.fleet import ReleaseView
from bundles.archive import Limits, inspect
from bundles.signature import Signer, verify
from bundles.trust import TrustStore
from domain.audit import AuditCategory, AuditNote
from domain.errors import BundleTooLarge, InvalidInput, NotFound
from domain.manifest import Manifest
from domain.names import ModuleName
from domain.release import ReleaseRef
from store import audit, releases, tenants

router = APIRouter(prefix="/modules", tags=["modules"])

PATH: Final = "/modules"
MAX_SIGNATURE_BYTES: Final = 48 * 1024  # 64 KiB in base64, as the agents' wire has it
FORM_OVERHEAD: Final = 64 * 1024  # boundaries and headers of the two parts
_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["bundle", "signature"],
                    "additionalProperties": False,
                    "properties": {
                        "bundle": {"type": "string", "format": "binary", "description": "The bundle."},
                        "signature": {
                            "type": "string",
                            "format": "binary",
                            "description": "Detached CMS signature over the bundle (DER).",
                        },
                    },
                }
            }
        },
    }
}


class ReleaseQuery(PageQuery):
    """Which releases to list."""

    module: ModuleName | None = None


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    openapi_extra=_FORM,
    responses={HTTPStatus.OK: {"model": ReleaseView, "description": "It was there already."}},
)
async def push(request: Request, caller: Pusher, hands: Hands, response: Response) -> ReleaseView:
    """Keep a signed bundle. The same bytes again are fine; other bytes under a known version are not."""
    upload = hands.bundles.scratch()
    try:
        async with _parts(request) as (bundle, signature):
            signed = await _signature(signature)
            size = await asyncio.to_thread(_save, bundle, upload)
        async with hands.database.transaction(caller.tenant) as session:
            roots = await tenants.trust_of(session, caller.tenant)
        manifest, ref, signer = await asyncio.to_thread(_check, hands, upload, signed, roots)
        await _refuse_other_bytes(hands, caller, ref)
        digest = await asyncio.to_thread(hands.bundles.seal, upload)
        async with hands.database.transaction(caller.tenant) as session:
            fresh = await releases.insert(
                session,
                caller.tenant,
                ref=ref,
                kind=manifest.kind,
                manifest=manifest,
                signature=signed,
                signer=signer.subject,
                size=size,
                pushed_by=caller.username,
            )
            stored = await releases.get(session, caller.tenant, ref.module, ref.version)
            if fresh:
                audit.note(session, _pushed(caller, ref, signer, size))
            # Within the transaction: what the quota refuses leaves no file behind.
            await asyncio.to_thread(hands.bundles.keep, upload, digest)
    finally:
        await asyncio.to_thread(upload.unlink, missing_ok=True)
    if not fresh:
        response.status_code = HTTPStatus.OK
    return ReleaseView.of(stored)


def _pushed(caller: Caller, ref: ReleaseRef, signer: Signer, size: int) -> AuditNote:
    after = {"digest": ref.digest, "signer": signer.subject, "size": size}
    name = f"{ref.module}@{ref.version}"
    return done(caller, "release.pushed", AuditCategory.RELEASE, "release", name, after=after)


@asynccontextmanager
async def _parts(request: Request) -> AsyncIterator[tuple[UploadFile, UploadFile]]:
    """The two parts of the form, as files on disk once they are large.

    Raises:
        BundleTooLarge: the body is over the limit; nothing more of it is read.
        InvalidInput: a part is missing, unknown, or not a file.
    """
    try:
        form = await request.form(max_files=2, max_fields=0)
    except HTTPException as error:
        if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise BundleTooLarge(f"the bundle is too large: {error.detail}", field="bundle") from error
        raise InvalidInput(
            f"not a form with a bundle and a signature: {error.detail}", field="bundle"
        ) from error
    try:
        yield _file(form, "bundle"), _file(form, "signature")
    finally:
        await form.close()


def _file(form: FormData, name: str) -> UploadFile:
    for key in form:
        if key not in ("bundle", "signature"):
            raise InvalidInput(f"unknown part {key!r}", field=key)
    part = form.get(name)
    if not isinstance(part, UploadFile):
        raise InvalidInput(f"the part {name!r} must be there, as a file", field=name)
    return part


async def _signature(part: UploadFile) -> bytes:
    content = await part.read(MAX_SIGNATURE_BYTES + 1)
    if not 0 < len(content) <= MAX_SIGNATURE_BYTES:
        raise InvalidInput(f"a signature has 1 to {MAX_SIGNATURE_BYTES} bytes", field="signature")
    return content


def _save(part: UploadFile, path: Path) -> int:
    source: BinaryIO = part.file
    source.seek(0)
    with path.open("xb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        return target.tell()


def _check(
    hands: Services, bundle: Path, signature: bytes, roots: str | None
) -> tuple[Manifest, ReleaseRef, Signer]:
    """First the signature, so that nothing of an unknown origin is unpacked even in thought.

    The roots are read each time: one that was added or taken away counts from the next push on.
    """
    settings = hands.settings
    trust = TrustStore.parse(roots.encode(), "trust") if roots else TrustStore.load(settings.trust_directory)
    signer = verify(bundle, signature, trust, at=datetime.now(UTC))
    manifest, ref = inspect(bundle, Limits(max_bundle_bytes=settings.max_bundle_bytes))
    return manifest, ref, signer


async def _refuse_other_bytes(hands: Services, caller: Caller, ref: ReleaseRef) -> None:
    async with hands.database.transaction(caller.tenant) as session:
        await releases.refuse_other_bytes(session, caller.tenant, ref)


@router.get("")
async def list_releases(
    query: Annotated[ReleaseQuery, Query()], caller: Viewer, hands: Hands
) -> PageOf[ReleaseView]:
    """Releases, latest push first."""
    return await _page(hands, caller, query, query.module)


@router.get("/{module}")
async def list_of_module(
    module: str, query: Annotated[PageQuery, Query()], caller: Viewer, hands: Hands
) -> PageOf[ReleaseView]:
    """The releases of one module, latest push first."""
    page = await _page(hands, caller, query, module)
    if not page.items and query.cursor is None:
        raise NotFound(f"no module {module!r}")
    return page


@router.get("/{module}/{version}")
async def get_release(module: str, version: str, caller: Viewer, hands: Hands) -> ReleaseView:
    """One release."""
    async with hands.database.transaction(caller.tenant) as session:
        return ReleaseView.of(await releases.get(session, caller.tenant, module, version))


async def _page(hands: Services, caller: Caller, query: PageQuery, module: str | None) -> PageOf[ReleaseView]:
    async with hands.database.transaction(caller.tenant) as session:
        page = await releases.list_page(
            session,
            caller.tenant,
            module=module,
            before=time_and_names(query.cursor, 2),
            limit=query.limit,
        )
    last = page.items[-1] if page.more else None
    return PageOf(
        items=[ReleaseView.of(each) for each in page.items],
        next_cursor=cursor_of(last.pushed_at, last.ref.module, last.ref.version) if last else None,
    )
