"""Deletes bundles and recipes that no channel of the caller names.

A recipe and the bundle that it makes go together, by the id of either: what is left of one would bring back the other.
A tenant loses sight of them at once; what the operator deletes, every tenant loses. A request equal to the one that led
to them makes them again.

A bundle is pinned before a channel names it, and only for a tenant whose it is. So one that was pinned for the caller
within `_SETTLED_SECONDS` is left alone: a publish either comes before the deletion, which is then refused, or fails.
"""

import structlog

from cloud_service.access.audit import AuditLog
from cloud_service.access.caller import current_caller
from cloud_service.access.ownership import Ownership
from cloud_service.artifacts import unknown_bundle, unknown_recipe
from cloud_service.errors import ConflictError
from cloud_service.fleet.channels import ChannelService
from cloud_service.fleet.retention import list_named
from cloud_service.store import Store

_log = structlog.get_logger(__name__)

_SETTLED_SECONDS = 60.0
"""The channel that names a bundle is written some seconds after it is pinned; this is far longer."""

_PAGE = 500


class DeletionService:
    """Deletes bundles and recipes.

    Args:
        store: Where they are.
        channels: Those of the caller are looked through for what they name.
    """

    def __init__(self, store: Store, channels: ChannelService) -> None:
        self._store = store
        self._channels = channels
        self._ownership = Ownership(store.access)
        self._audit = AuditLog(store.access)

    async def delete_bundle(self, either_id: str) -> None:
        """Delete a bundle, imported or generated, by its id or by that of the recipe that makes it.

        Raises:
            NotFoundError: The caller has none of this id.
            ConflictError: A channel names it, or may do so in a moment.
            IntegrityError: A channel of the caller is damaged.
            StoreUnavailableError: The store does not answer.
        """
        if not await self._ownership.sees(either_id):
            raise unknown_bundle(either_id)
        lora = await self._store.load_lora(either_id)
        found = lora or await self._store.find_imported(either_id) or await self._store.load_recipe(either_id)
        if found is None:
            raise unknown_bundle(either_id)
        await self._delete("bundle", either_id, either_id if lora is None else lora.recipe_id)

    async def delete_recipe(self, recipe_id: str) -> None:
        """Delete a recipe. Raises as `delete_bundle`."""
        if not await self._ownership.sees(recipe_id) or await self._store.load_recipe(recipe_id) is None:
            raise unknown_recipe(recipe_id)
        await self._delete("recipe", recipe_id, recipe_id)

    async def _delete(self, kind: str, either_id: str, recipe_id: str) -> None:
        after = ""
        while listed := await self._channels.list_channels(_PAGE, after):
            for each in listed:
                for entry in await list_named(self._store.channels, each.name):
                    named = {entry.bundle_id, entry.recipe and entry.recipe.id}
                    if not named.isdisjoint({either_id, recipe_id}):
                        raise ConflictError(
                            f"channel {each.name!r} names {kind} {either_id}, now or in a version that is kept",
                            "delete the channel, or withdraw the bundle and wait until that version is kept no more",
                            code="bundle_in_use",
                        )
            after = listed[-1].name
        if not await self._store.disown(current_caller().tenant, either_id, _SETTLED_SECONDS):
            raise ConflictError(
                f"{kind} {either_id} was published less than {_SETTLED_SECONDS:g} s ago",
                "try again after that time",
                code="bundle_in_use",
            )
        _log.info("artifact_deleted", kind=kind, id=either_id)
        await self._audit.record(f"{kind}.delete", id=either_id)
