"""Helper: keys, an audit log and counters in memory."""

from collections import Counter
from collections.abc import Sequence

from cloud_service.access.usage import UsageLimits, UsageMeter
from cloud_service.errors import StoreUnavailableError
from cloud_service.store.access import Share, StoredEntry


class MemoryStore:
    """`KeyStore` and `AuditStore`, which can be away."""

    def __init__(self, most_keys: int = 0, most_entries: int = 0) -> None:
        self.keys: dict[str, bytes] = {}
        self.tenants: dict[str, str] = {}
        self.most_keys, self.most_entries = most_keys, most_entries
        self.entries: list[tuple[str, bytes]] = []
        self.forgotten_before: list[float] = []
        self.loads = 0
        self.away = False

    async def load_key(self, key_id: str) -> bytes | None:
        self._answer()
        self.loads += 1
        return self.keys.get(key_id)

    async def load_keys(self, key_ids: Sequence[str]) -> list[bytes | None]:
        self._answer()
        return [self.keys.get(key_id) for key_id in key_ids]

    async def swap_key(
        self, key_id: str, expected: bytes | None, record: bytes, tenant: str = "", ends_at: int | None = None
    ) -> bool:
        self._answer()
        if self.keys.get(key_id) != expected:
            return False
        if expected is None and tenant and (await self.key_share(tenant)).lacks(1):
            return False
        self.keys[key_id], self.tenants[key_id] = record, tenant
        return True

    async def forget_key(self, key_id: str, expected: bytes, tenant: str = "") -> bool:
        self._answer()
        if self.keys.get(key_id) != expected or len(self.keys) == 1:
            return False
        del self.keys[key_id]
        return True

    async def list_keys(self, limit: int, after: str = "", tenant: str = "") -> list[bytes]:
        self._answer()
        ids = [key_id for key_id in sorted(self.keys) if tenant in ("", self.tenants[key_id])]
        return [self.keys[key_id] for key_id in ids if key_id > after][:limit]

    async def key_share(self, tenant: str) -> Share:
        return Share(sum(self.tenants[key_id] == tenant for key_id in self.keys), self.most_keys)

    async def has_keys(self) -> bool:
        self._answer()
        return bool(self.keys)

    async def append_entry(self, tenant: str, at: float, entry: bytes) -> list[bytes]:
        self._answer()
        self.entries.append((tenant, entry))
        return [self.entries.pop(0)[1]] if 0 < self.most_entries < len(self.entries) else []

    async def forget_entries(self, before: float) -> None:
        self.forgotten_before.append(before)

    async def list_entries(self, limit: int, before: int | None = None, tenant: str = "") -> list[StoredEntry]:
        self._answer()
        numbered = [StoredEntry(n, e) for n, (t, e) in enumerate(self.entries, 1) if tenant in ("", t)]
        return [each for each in reversed(numbered) if before is None or each.number < before][:limit]

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailableError("the store is not available")


class Counters:
    """`CounterStore`."""

    def __init__(self) -> None:
        self.values: Counter[str] = Counter()
        self.calls = 0

    async def count(self, name: str, amount: int, ttl_seconds: int) -> int:
        self.calls += 1
        self.values[name] += amount
        return self.values[name]


def usage_within(**limits: int) -> UsageMeter:
    """What counts with counters of its own; without limits it refuses nothing."""
    return UsageMeter(Counters(), UsageLimits(**limits))
