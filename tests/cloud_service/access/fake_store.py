"""Helper: keys, an audit log and counters in memory."""

from collections import Counter
from collections.abc import Sequence

from cloud_service.access.usage import UsageLimits, UsageMeter
from cloud_service.errors import StoreUnavailableError
from cloud_service.store.access import StoredEntry


class MemoryStore:
    """`KeyStore` and `AuditStore`, which can be away."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
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

    async def swap_key(self, key_id: str, expected: bytes | None, record: bytes) -> bool:
        self._answer()
        if self.keys.get(key_id) != expected:
            return False
        self.keys[key_id] = record
        return True

    async def forget_key(self, key_id: str, expected: bytes) -> bool:
        self._answer()
        if self.keys.get(key_id) != expected or len(self.keys) == 1:
            return False
        del self.keys[key_id]
        return True

    async def list_keys(self, limit: int, after: str = "") -> list[bytes]:
        self._answer()
        return [self.keys[key_id] for key_id in sorted(self.keys) if key_id > after][:limit]

    async def has_keys(self) -> bool:
        self._answer()
        return bool(self.keys)

    async def append_entry(self, tenant: str, at: float, entry: bytes) -> None:
        self._answer()
        self.entries.append((tenant, entry))

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
