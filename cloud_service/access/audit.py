"""The audit log: who changed which channel or key, when, from where. Entries are added, and never changed.

They are kept for a time, and up to a number for each tenant and for the operator, which the operator sets. So no tenant
pushes out what another one did, and who pushes out what it did itself hides nothing: an entry that makes room is in the
service's log then. One that is damaged hides no other.

A change that was made is answered even when its entry cannot be stored: that is in the service's log, too.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from cloud_service.access.caller import current_caller
from cloud_service.errors import StoreUnavailableError
from cloud_service.store.access import AuditStore, StoredEntry

_log = structlog.get_logger(__name__)

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change.

    Attributes:
        number: Grows with each entry.
        at: Unix seconds.
        action: Such as `channel.publish`.
        by: The caller: `key_id`, `key_name`, `tenant`, `address`, `request_id`.
        target: What was changed.
    """

    number: int
    at: float
    action: str
    by: dict[str, str]
    target: dict[str, Any]


class Audit(Protocol):
    """Takes note of changes."""

    async def record(self, action: str, **target: str | int) -> None:
        """Note a change by the current caller."""
        ...


class AuditLog:
    """The log in a store.

    Args:
        store: Where it is.
        days: How long an entry is kept; 0 for ever.
        now: Unix seconds.
    """

    def __init__(self, store: AuditStore, days: int = 0, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._days = days
        self._now = now

    async def record(self, action: str, **target: str | int) -> None:
        caller = current_caller()
        by = {
            "key_id": caller.key_id,
            "key_name": caller.key_name,
            "tenant": caller.tenant,
            "address": caller.address,
            "request_id": caller.request_id,
        }
        at = round(self._now(), 3)
        entry = {"at": at, "action": action, "by": by, "target": target}
        try:
            gone = await self._store.append_entry(caller.tenant, at, json.dumps(entry).encode())
        except StoreUnavailableError:
            _log.error("audit_entry_not_stored", entry=entry)
            return
        for each in gone:
            _log.warning("audit_entry_made_room", entry=each.decode(errors="replace"))

    async def page(self, limit: int, before: int | None = None) -> tuple[list[AuditEntry], int | None]:
        """Entries, the newest first, and what `before` has to be for the next page, None on the last one.

        A caller of a tenant sees that tenant's.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        stored = await self._store.list_entries(limit, before, current_caller().tenant)
        entries = [entry for entry in map(_parsed, stored) if entry is not None]
        return entries, stored[-1].number if len(stored) == limit else None

    async def prune(self) -> None:
        """Forget the entries that were kept for long enough.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        if self._days:
            await self._store.forget_entries(self._now() - self._days * _DAY)


def _parsed(stored: StoredEntry) -> AuditEntry | None:
    try:
        return AuditEntry(number=stored.number, **json.loads(stored.entry))
    except (ValueError, TypeError) as e:
        _log.error("audit_entry_damaged", number=stored.number, reason=str(e))
        return None
