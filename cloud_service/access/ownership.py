"""Which bundles and recipes a caller may know of: a tenant those that its own requests made or imported.

Ids are digests of contents, so two tenants that ask for the same get the same ids, and each owns them. A bundle is a
tenant's only once one of its requests has had it made, though another's may have before: who finds it made would know
of the other. The operator sees all of them, and what the operator makes belongs to no tenant.
"""

from cloud_service.access.caller import current_caller
from cloud_service.store.access import OwnerStore


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
            StoreUnavailableError: The store does not answer.
        """
        if tenant := current_caller().tenant:
            await self._store.own(tenant, artifact_id)

    async def sees(self, artifact_id: str) -> bool:
        """Whether the caller may know that a recipe or a bundle is there.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        tenant = current_caller().tenant
        return not tenant or await self._store.owns(tenant, artifact_id)
