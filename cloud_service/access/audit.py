"""The audit log: who changed which channel or key, when, from where. Entries are added, and never changed.

A change that was made is answered even when its entry cannot be stored: the entry is in the service's log then.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from cloud_service.access.caller import current_caller
from cloud_service.errors import IntegrityError, StoreUnavailableError
from cloud_service.store.access import AuditStore

_log = structlog.get_logger(__name__)


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
        now: Unix seconds.
    """

    def __init__(self, store: AuditStore, now: Callable[[], float] = time.time) -> None:
        self._store = store
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
        entry = {"at": round(self._now(), 3), "action": action, "by": by, "target": target}
        try:
            await self._store.append_entry(caller.tenant, json.dumps(entry).encode())
        except StoreUnavailableError:
            _log.error("audit_entry_not_stored", entry=entry)

    async def page(self, limit: int, before: int | None = None) -> list[AuditEntry]:
        """Entries, the newest first; a caller of a tenant sees that tenant's.

        Raises:
            StoreUnavailableError: The store does not answer.
            IntegrityError: An entry is damaged.
        """
        stored = await self._store.list_entries(limit, before, current_caller().tenant)
        try:
            return [AuditEntry(number=each.number, **json.loads(each.entry)) for each in stored]
        except (ValueError, TypeError) as e:
            raise IntegrityError("an entry of the audit log is damaged", "restore the store from a backup") from e
