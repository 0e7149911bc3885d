"""Which bundles and recipes a caller may know of: a tenant those that its own requests made or imported.

Ids are digests of contents, so two tenants that ask for the same get the same ids, and each owns them. A bundle is a
tenant's only once one of its requests has had it made, though another's may have before: who finds it made would know
of the other. The operator sees all of them, and what the operator makes belongs to no tenant.
"""

from cloud_service.access.caller import current_caller
from cloud_service.errors import UsageLimitError
from cloud_service.limits import STORAGE_AGAIN_SECONDS
from cloud_service.store.access import OwnerStore, Share


class Ownership:
    """Whose bundles and recipes are.

    Args:
        store: Remembers it as long as the recipe, or the imported bundle, is stored.
    """

    def __init__(self, store: OwnerStore) -> None:
        self._store = store

    async def record(self, artifact_id: str) -> None:
        """Let a stored recipe or bundle be the caller's.

        Raises:
            UsageLimitError: Its tenant's share of the store has no room.
            StoreUnavailableError: The store does not answer.
        """
        tenant = current_caller().tenant
        if tenant and not await self._store.own(tenant, artifact_id):
            raise await self.used_up()

    async def share(self) -> Share | None:
        """The bytes that the caller's tenant has in the store; None for the operator.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        tenant = current_caller().tenant
        return await self._store.share(tenant) if tenant else None

    async def verify_room(self, size: int, artifact_id: str = "") -> None:
        """Return when the caller has this already, or may have so many bytes more. Ask before work that makes them.

        Raises:
            UsageLimitError, StoreUnavailableError: As for `record`.
        """
        share = await self.share()
        if share is not None and share.lacks(size) and not (artifact_id and await self.sees(artifact_id)):
            raise await self.used_up()

    async def used_up(self) -> UsageLimitError:
        """The refusal of what a tenant's share of the store has no room for.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        share = await self._store.share(current_caller().tenant)
        return UsageLimitError(
            f"expected at most {share.most} bytes of recipes and imported LoRAs of one tenant, "
            f"{share.used} of them in use",
            "delete bundles or recipes that no channel names, or let the operator raise LORAGEN_CLOUD_BYTES_PER_TENANT",
            code="storage_used_up",
            retry_after_seconds=STORAGE_AGAIN_SECONDS,
        )

    async def sees(self, artifact_id: str) -> bool:
        """Whether the caller may know that a recipe or a bundle is there.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        tenant = current_caller().tenant
        return not tenant or await self._store.owns(tenant, artifact_id)
