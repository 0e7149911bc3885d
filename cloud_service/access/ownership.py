"""Which bundles and recipes a caller may know of: a tenant those that its own requests made or imported.

Ids are digests of contents, so two tenants that ask for the same get the same ids, and each owns them. The operator
sees all of them, and what the operator makes belongs to no tenant.
"""

from cloud_service.access.caller import current_caller
from cloud_service.store.access import OwnerStore


class Ownership:
    """Whose bundles are.

    Args:
        store: Remembers it as long as the bundle's recipe, or the imported bundle, is stored.
    """

    def __init__(self, store: OwnerStore) -> None:
        self._store = store

    async def record(self, bundle_id: str) -> None:
        """Let a stored bundle be the caller's.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        if tenant := current_caller().tenant:
            await self._store.own(tenant, bundle_id)

    async def sees_bundle(self, bundle_id: str) -> bool:
        """Whether the caller may know that a bundle is there.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        tenant = current_caller().tenant
        return not tenant or await self._store.owns_bundle(tenant, bundle_id)

    async def sees_recipe(self, recipe_id: str) -> bool:
        """Whether the caller may know that a recipe is there.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        tenant = current_caller().tenant
        return not tenant or await self._store.owns_recipe(tenant, recipe_id)
