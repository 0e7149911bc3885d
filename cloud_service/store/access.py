"""The ports of `cloud_service.access`: API keys, the audit log, whose bundles are, and counters.

Every adapter keeps these rules, and the contract test proves them for each:
- A key changes by compare-and-swap, so a rotation and a revocation at the same time are both carried out. The last one
  is never taken away: that there are keys is what makes the service ask for them.
- Of a tenant's keys those that have ended make room for new ones, the one that ended first before the others.
- An entry of the audit log is never changed, and is taken away only by its age, or when more are there of what its
  tenant, or the operator, did than are kept. Numbers grow.
- Whose a bundle is is known as long as the bundle's recipe, or the bundle that a user imported, is stored.
- What a tenant takes is counted in the step that takes it, so tenants that do much at once go over no limit. What was
  deleted is free at once, what expired within some time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

FORGOTTEN_AT_ONCE = 500
"""Most entries of the audit log that are taken away in one step."""


@dataclass(frozen=True, slots=True)
class Share:
    """How much of one kind a tenant has in the store.

    Attributes:
        used: Bytes, or how many.
        most: What it may have; 0 for no limit.
    """

    used: int
    most: int

    def lacks(self, more: int) -> bool:
        """Whether there is no room for so much more."""
        return 0 < self.most < self.used + more


class KeyStore(Protocol):
    """API keys by their ids."""

    async def load_key(self, key_id: str) -> bytes | None:
        """A key; None when there is none of this id."""
        ...

    async def load_keys(self, key_ids: Sequence[str]) -> list[bytes | None]:
        """Several keys, in the order of their ids here."""
        ...

    async def swap_key(
        self, key_id: str, expected: bytes | None, record: bytes, tenant: str = "", ends_at: int | None = None
    ) -> bool:
        """Write a key of a tenant if it is still `expected`, None for one that is new; False when it is not.

        False, too, for a new one when the tenant has as many as it may have, and none of them has ended. A key ends at
        a time in Unix seconds, None for never.
        """
        ...

    async def forget_key(self, key_id: str, expected: bytes, tenant: str = "") -> bool:
        """Take away a key of a tenant; False when it is not `expected` any more, or is the only one."""
        ...

    async def list_keys(self, limit: int, after: str = "", tenant: str = "") -> list[bytes]:
        """Keys by id, those behind `after`, and of one tenant, if given."""
        ...

    async def key_share(self, tenant: str) -> Share:
        """The keys that a tenant has, those that have ended among them."""
        ...

    async def has_keys(self) -> bool:
        """Whether a key was ever made; keys that were revoked count."""
        ...


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry of the audit log with its number."""

    number: int
    entry: bytes


class AuditStore(Protocol):
    """The audit log."""

    async def append_entry(self, tenant: str, at: float, entry: bytes) -> list[bytes]:
        """Add an entry of a time, in Unix seconds.

        Returns:
            The tenant's oldest entries, which made room for it and are gone.
        """
        ...

    async def forget_entries(self, before: float) -> None:
        """Take away the entries of before a time."""
        ...

    async def list_entries(self, limit: int, before: int | None = None, tenant: str = "") -> list[StoredEntry]:
        """Entries, the newest first; those before a number, and of one tenant, if given."""
        ...


class OwnerStore(Protocol):
    """Which tenants a recipe or a bundle belongs to; several, when equal requests made it.

    Recipes and imported bundles count with all their bytes for each of them. Generated bundles do not: they have a
    budget of their own, from which they may be evicted.
    """

    async def own(self, tenant: str, artifact_id: str) -> bool:
        """A stored recipe, or a bundle that the store knows of, belongs to a tenant too; False when it has no room."""
        ...

    async def share(self, tenant: str) -> Share:
        """The bytes that a tenant has."""
        ...

    async def owns(self, tenant: str, artifact_id: str) -> bool:
        """Whether it does."""
        ...


class CounterStore(Protocol):
    """Counters that all replicas share."""

    async def count(self, name: str, amount: int, ttl_seconds: int) -> int:
        """Add to a counter and give its value; it is forgotten so long after it was begun."""
        ...


class AccessStore(KeyStore, AuditStore, OwnerStore, CounterStore, Protocol):
    """Everything that `cloud_service.access` keeps."""
