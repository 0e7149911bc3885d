"""The page of the audit log: who changed what, found by action, key and target.

A page looks at a bounded number of entries, so that one that finds little costs no more than any.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from cloud_service.access.audit import AuditEntry, AuditLog
from cloud_service.http.console.browser import CONSOLE
from cloud_service.http.console.forms import Word
from cloud_service.http.console.pages import Pages

_ENTRIES = 50
_CHUNK = 500
MOST_SCANNED = 4 * _CHUNK

_Number = Annotated[int | None, Query(ge=1, lt=2**53)]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Entries that are looked for; an empty text is for all.

    Attributes:
        action: How the action begins.
        key: Id of the key, or a part of its name.
        target: A part of what was changed.
    """

    action: str
    key: str
    target: str

    def has(self, entry: AuditEntry) -> bool:
        """Whether an entry is one of them."""
        key_id, name = entry.by.get("key_id", ""), entry.by.get("key_name", "")
        is_by = self.key in ("", key_id) or self.key.casefold() in name.casefold()
        is_about = not self.target or any(self.target in str(value) for value in entry.target.values())
        return entry.action.startswith(self.action) and is_by and is_about


def audit_pages(pages: Pages, audit: AuditLog) -> APIRouter:
    """`/console/audit`."""
    router = APIRouter(prefix=f"{CONSOLE}/audit", include_in_schema=False)

    @router.get("")
    async def index(
        request: Request, action: Word = "", key: Word = "", target: Word = "", before: _Number = None
    ) -> Response:
        wanted = _Wanted(action.strip(), key.strip(), target.strip())
        entries, more = await _find(audit, wanted, before)
        return pages.page(request, "audit.html", {"entries": entries, "wanted": wanted, "before": before, "more": more})

    return router


async def _find(audit: AuditLog, wanted: _Wanted, before: int | None) -> tuple[list[AuditEntry], int | None]:
    """A page of entries, and what `before` has to be for the next one; None on the last one."""
    found: list[AuditEntry] = []
    for _ in range(MOST_SCANNED // _CHUNK):
        listed, before = await audit.page(_CHUNK, before)
        for entry in filter(wanted.has, listed):
            found.append(entry)
            if len(found) == _ENTRIES:
                return found, entry.number
        if before is None:
            break
    return found, before
