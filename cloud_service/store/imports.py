"""The port `ImportStore`: bundles that users imported.

Such a bundle cannot be built again, so it is never evicted: it expires like a recipe, and when the budget of its kind
is used up, no other is taken. Every adapter keeps this, and the contract test proves it for each.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredImport:
    """What the store knows of a bundle that a user imported.

    Attributes:
        bundle_id: sha256 of its bytes.
        bundle_bytes: Its length.
        edge_model_id: The edge model that it is for.
        edge_model_digest: Its digest.
    """

    bundle_id: str
    bundle_bytes: int
    edge_model_id: str
    edge_model_digest: str


class ImportStore(Protocol):
    """Bundles that users imported."""

    async def store_imported(self, imported: StoredImport, bundle: bytes | None, tenant: str = "") -> bool:
        """Store one of a tenant or of the operator, or renew its time to live.

        False when the budget has no room, or the tenant's share (`OwnerStore.share`).

        Without the bundle, somebody else keeps the bytes; they count in the budget all the same.
        """
        ...

    async def find_imported(self, bundle_id: str) -> StoredImport | None:
        """What is known of one."""
        ...

    async def load_imported(self, bundle_id: str) -> bytes | None:
        """The bytes of one, if they are here."""
        ...

    async def pin_imported(self, bundle_id: str, tenant: str = "") -> bool:
        """Store one for ever, because a tenant's channel names it; False when it is not there, or not the tenant's."""
        ...
