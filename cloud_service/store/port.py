"""The port `Store`: where the service keeps recipes, bundles, leases, and (`fleet`) channels and reports of devices.

Every adapter keeps these rules, and the contract test proves them for each:
- Whatever a call returned is still there after a restart.
- A recipe expires when no generation request led to it for the configured time, unless it is pinned because a channel
  names it; downloads do not renew it. Bundles live under a byte budget and may be evicted at any moment: the service
  rebuilds them.
- A bundle that a user imported cannot be rebuilt, so it is never evicted: it expires like a recipe, and when the budget
  of its kind is used up, no other is taken.
- A lease ends by itself. It saves work, and but for imports to a bucket (`bundles_apart`) nothing relies on it for
  correctness.
- Every failure is a `StoreUnavailableError`, whose cause is in the log and not in its message, which clients read.
- No call, and no request with all its calls, waits longer than the limit (`waiting`).
"""

from dataclasses import dataclass
from typing import Protocol

from cloud_service.errors import IntegrityError
from cloud_service.limits import JOB_SECONDS_KEPT, MAX_JOBS_KEPT
from cloud_service.store.access import AccessStore
from cloud_service.store.fleet import ChannelStore, DeviceStore, PinStore
from cloud_service.store.imports import ImportStore
from cloud_service.store.jobs import JobStore
from cloud_service.store.sessions import SessionStore
from loragen.contract.errors import ContractError
from loragen.contract.recipe import Recipe, parse_recipe

NOBODYS_SECONDS = 600.0
"""How long a generated recipe is kept that belongs to nobody any more, so that no share counts it: for requests of
others that have just found it. Whoever it belongs to next has it as long as any."""


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """What a store keeps, and how long it may take.

    Attributes:
        bundle_budget_bytes: Largest sum of the lengths of all generated bundles.
        import_budget_bytes: Largest sum of the lengths of all bundles that users imported.
        recipe_ttl_seconds: How long an unpublished recipe outlives the last generation request for it.
        device_ttl_seconds: How long a silent device stays listed.
        devices_per_channel: Most reports kept of one channel; the oldest make room.
        versions_per_channel: Most versions kept of one channel.
        events_per_channel: Most events kept of one channel.
        timeout_seconds: Longest wait for one answer, with a connection or another process's lock.
        job_seconds: How long a job is kept after its last change.
        jobs_kept: Most jobs kept; the oldest that are over make room.
        bytes_per_tenant: Most bytes of recipes and imported bundles of one tenant, and as many again of versions of its
            channels; 0 for any number, here and below.
        channels_per_tenant: Most channels of one tenant.
        events_per_tenant: Most events kept of all channels of one tenant, deleted ones among them.
        devices_per_tenant: Most devices of one tenant.
        keys_per_tenant: Most API keys of one tenant.
        audit_entries: Most entries of the audit log about what one tenant, or the operator, did.
    """

    bundle_budget_bytes: int
    import_budget_bytes: int
    recipe_ttl_seconds: float
    device_ttl_seconds: float
    devices_per_channel: int
    versions_per_channel: int
    events_per_channel: int
    timeout_seconds: float
    job_seconds: float = JOB_SECONDS_KEPT
    jobs_kept: int = MAX_JOBS_KEPT
    bytes_per_tenant: int = 0
    channels_per_tenant: int = 0
    events_per_tenant: int = 0
    devices_per_tenant: int = 0
    keys_per_tenant: int = 0
    audit_entries: int = 0


@dataclass(frozen=True, slots=True)
class StoredRecipe:
    """What is left of a generation when its bundle is evicted, or was never made.

    Attributes:
        recipe_id: sha256 of the recipe's bytes.
        recipe: The recipe (`loragen.contract.recipe`).
        bundle_bytes: Length of the bundle that it makes.
    """

    recipe_id: str
    recipe: bytes
    bundle_bytes: int

    def parse_recipe(self) -> Recipe:
        """The recipe as a value.

        Raises:
            IntegrityError: The stored bytes are no recipe.
        """
        try:
            return parse_recipe(self.recipe)
        except ContractError as e:
            raise IntegrityError(f"the stored recipe {self.recipe_id} is damaged: {e}", "generate it again") from e


@dataclass(frozen=True, slots=True)
class StoredLora(StoredRecipe):
    """A recipe whose bundle was made, so that its id is known.

    Attributes:
        bundle_id: sha256 of the bundle's bytes.
    """

    bundle_id: str


@dataclass(frozen=True, slots=True)
class StoredGeneration:
    """What one request led to.

    Attributes:
        recipe: The recipe; other requests may have led to the same one.
        note: A few bytes that the service stores with this request, such as its confidence; may be empty.
    """

    recipe: StoredRecipe
    note: bytes = b""


class LoraStore(Protocol):
    """Recipes, which are stored for long, and bundles under a byte budget."""

    async def find_generation(self, key: str) -> StoredGeneration | None:
        """What an equal request led to; finding it renews its time to live, and that of a recipe that is anybody's."""
        ...

    async def store_generation(self, key: str, recipe: StoredRecipe, note: bytes = b"", tenant: str = "") -> bool:
        """Store what a request led to, and whose it is too, in one step; twice the same changes nothing.

        False, and nothing is stored, when the tenant's share of the store has no room.
        """
        ...

    async def name_bundle(self, recipe_id: str, bundle_id: str, tenant: str = "") -> bool:
        """Note which bundle a recipe makes, and that it is the tenant's too.

        False, and nothing happens, when the recipe is not there, or not the tenant's.
        """
        ...

    async def load_lora(self, either_id: str) -> StoredLora | None:
        """The LoRA of a bundle, evicted or not, or of a recipe whose bundle was made once."""
        ...

    async def load_recipe(self, recipe_id: str) -> bytes | None:
        """The bytes of a recipe."""
        ...

    async def load_bundle(self, bundle_id: str) -> bytes | None:
        """The bytes of a bundle; None when it was evicted or never there."""
        ...

    async def store_bundle(self, bundle_id: str, bundle: bytes) -> None:
        """Store a bundle; the least recently used bundles make room."""
        ...

    async def pin(self, bundle_id: str, tenant: str = "") -> bool:
        """Store a recipe for ever, because a tenant's channel names its bundle.

        False when it, or the note, is not there, or one of the two is not the tenant's.
        """
        ...


class DeletionStore(Protocol):
    """Takes recipes and bundles away from whom they belong to."""

    async def disown(self, tenant: str, either_id: str, settled_seconds: float) -> bool:
        """Let a recipe and the bundle that it makes, by either id, or an imported bundle, be a tenant's no more.

        Of the operator, whose name is empty, they are taken away from all tenants, and are gone. An imported bundle is
        gone when it is nobody's; generated ones expire, within `NOBODYS_SECONDS` when they are nobody's.

        Returns:
            False, and nothing changes, when one of them was pinned for the tenant within so many seconds.
        """
        ...


class LeaseStore(Protocol):
    """Short locks between replicas."""

    async def acquire_lease(self, key: str, owner: str, seconds: float) -> bool:
        """Take a free lease, or renew one's own; False when another owner has it."""
        ...

    async def release_lease(self, key: str, owner: str) -> None:
        """Give a lease back; nothing happens when another owner has it by now."""
        ...


class Store(LoraStore, ImportStore, DeletionStore, LeaseStore, PinStore, Protocol):
    """Everything that the service stores, behind one connection."""

    @property
    def channels(self) -> ChannelStore:
        """Channels, their versions and events."""
        ...

    @property
    def jobs(self) -> JobStore:
        """Work that outlives a request."""
        ...

    @property
    def devices(self) -> DeviceStore:
        """What devices reported."""
        ...

    @property
    def access(self) -> AccessStore:
        """API keys, the audit log, owners and counters."""
        ...

    @property
    def sessions(self) -> SessionStore:
        """Who is signed in to the console."""
        ...

    async def prune(self) -> None:
        """Take away what has expired, and what belonged to it: no answer depends on it, only the room that it takes."""
        ...

    async def verify_supported(self) -> None:
        """Return when it is a server that the adapter works with, or does not answer. Ask once, at the start.

        Raises:
            ConfigurationError: It is another one.
        """
        ...

    async def verify_writable(self) -> None:
        """Return when the store takes a write.

        Raises:
            StoreUnavailableError: It does not: it is away, full, locked or read-only.
        """
        ...

    async def aclose(self) -> None:
        """Close connections and files."""
        ...
