"""The audit trail: searched, exported, verified."""

import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.access import Auditor
from api.paging import PageOf, PageQuery, cursor_of, number_after
from api.services import Hands, Services
from domain.audit import AuditCategory, AuditLink, AuditOutcome, ChainBroken, ChainHead, Origin
from domain.errors import InvalidInput
from domain.names import Sha256
from store import audit
from store.audit import AuditFilter

router = APIRouter(prefix="/audit", tags=["audit"])

_Word = Annotated[str, Field(min_length=1, max_length=256)]
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


class AuditSearch(BaseModel):
    """Which entries: all that is given has to match; from `since` on, before `until`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    actor: _Word | None = None
    action: _Word | None = None
    category: AuditCategory | None = None
    outcome: AuditOutcome | None = None
    subject: _Word | None = None
    subject_id: _Word | None = None
    trace: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    def filter(self) -> AuditFilter:
        """As the store asks.

        Raises:
            InvalidInput: the time is over before it begins.
        """
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise InvalidInput("it must be before until", field="since")
        return AuditFilter(**{name: getattr(self, name) for name in AuditFilter.model_fields})


class AuditQuery(AuditSearch, PageQuery):
    """Which entries to list."""


class ExportFormat(StrEnum):
    """How an export is written."""

    JSON = "json"
    CSV = "csv"


class ExportQuery(AuditSearch):
    """Which entries to export, and how."""

    format: ExportFormat = ExportFormat.JSON


class AuditView(BaseModel):
    """One entry. `hash` covers `content`, which says the same as the fields from `actor` to `origin`."""

    sequence: int
    at: datetime
    actor: str
    action: str
    category: AuditCategory
    outcome: AuditOutcome
    subject: str
    subject_id: str
    reason: str
    before: Any
    after: Any
    origin: Origin
    content: str
    previous: str
    hash: str

    @classmethod
    def of(cls, link: AuditLink) -> "AuditView":
        """The entry as others see it."""
        kept = link.model_dump(exclude={"tenant"})
        return cls.model_validate({**json.loads(link.content), **kept})


class ChainReport(BaseModel):
    """Whether the tenant's trail is whole; `fault` names the first entry that is missing or was changed."""

    intact: bool
    entries: int | None
    hash: str | None
    fault: str | None


class KnownEnd(BaseModel):
    """What an earlier report said: so many `entries`, the last with this `hash`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entries: Annotated[int, Field(ge=1, le=2**62)] | None = None
    hash: Sha256 | None = None

    def head(self) -> ChainHead | None:
        """As the chain has it.

        Raises:
            InvalidInput: only one of the two was given.
        """
        if (self.entries is None) != (self.hash is None):
            raise InvalidInput("entries and hash go together", field="hash")
        if self.entries is None or self.hash is None:
            return None
        return ChainHead(sequence=self.entries, hash=self.hash)


@router.get("")
async def list_entries(
    query: Annotated[AuditQuery, Query()], caller: Auditor, hands: Hands
) -> PageOf[AuditView]:
    """Entries, latest first."""
    async with hands.database.transaction(caller.tenant) as session:
        page = await audit.list_page(
            session, caller.tenant, query.filter(), before=number_after(query.cursor), limit=query.limit
        )
    following = cursor_of(str(page.items[-1].sequence)) if page.more else None
    return PageOf(items=[AuditView.of(link) for link in page.items], next_cursor=following)


@router.get("/verify")
async def verify(query: Annotated[KnownEnd, Query()], caller: Auditor, hands: Hands) -> ChainReport:
    """Check every entry's hash from the first that is kept to the last, and against an earlier report."""
    async with hands.database.transaction(caller.tenant) as session:
        try:
            head = await audit.verify(session, caller.tenant, known=query.head())
        except ChainBroken as error:
            return ChainReport(intact=False, entries=None, hash=None, fault=error.message)
    return ChainReport(intact=True, entries=head.sequence, hash=head.hash, fault=None)


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={
        HTTPStatus.OK: {
            "description": "All matching entries, oldest first, as a file.",
            "content": {
                "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
                "text/csv": {"schema": {"type": "string"}},
            },
        }
    },
)
async def export(query: Annotated[ExportQuery, Query()], caller: Auditor, hands: Hands) -> StreamingResponse:
    """Everything that matches, as one file, however long."""
    written, media = _WRITERS[query.format]
    links = _walk(hands, caller.tenant, query.filter())
    name = f"attachment; filename=audit-{caller.tenant}.{query.format}"
    headers = {"Content-Disposition": name, "Cache-Control": "no-store"}
    return StreamingResponse(written(links), media_type=media, headers=headers)


async def _walk(hands: Services, tenant: str, wanted: AuditFilter) -> AsyncIterator[AuditView]:
    after = 0
    while True:
        async with hands.database.transaction(tenant) as session:
            links = await audit.batch(session, tenant, wanted, after=after)
        for link in links:
            yield AuditView.of(link)
            after = link.sequence
        if len(links) < audit.BATCH:
            return


async def _json(entries: AsyncIterator[AuditView]) -> AsyncIterator[str]:
    before = "[\n"
    async for entry in entries:
        yield before + entry.model_dump_json()
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


async def _csv(entries: AsyncIterator[AuditView]) -> AsyncIterator[str]:
    yield _line(list(AuditView.model_fields))
    async for entry in entries:
        yield _line([_cell(value) for value in entry.model_dump(mode="json").values()])


def _cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()


_Writer = Callable[[AsyncIterator[AuditView]], AsyncIterator[str]]
_WRITERS: Final[dict[ExportFormat, tuple[_Writer, str]]] = {
    ExportFormat.JSON: (_json, "application/json"),
    ExportFormat.CSV: (_csv, "text/csv; charset=utf-8"),
}
