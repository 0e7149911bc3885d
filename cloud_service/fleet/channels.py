"""Channels: publish to them, withdraw from them, read and watch them, and go back to what they were.

Every change of a channel raises its version by one; nothing else does. Going back makes a new version with the content
of an old one, because devices take a version that goes back for a fault. The recipe of a published bundle, or a bundle
that a user imported, is pinned: the store holds it as long as a channel or one of its kept versions names it
(`retention`).

`loragen.contract.channel` defines the document, `channel_writer` writes it, `rollouts` brings it to some devices first.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict, replace
from typing import Protocol

from cloud_service.access.audit import AuditLog
from cloud_service.access.caller import current_caller, verify_channel
from cloud_service.artifacts import unknown_bundle
from cloud_service.errors import InvalidRequestError, NotFoundError, UsageLimitError
from cloud_service.fleet.channel_writer import (
    Change,
    ChannelWriter,
    Condition,
    PublishedChannel,
    always,
    content_of,
    encode,
    published,
    verify_condition,
    verify_free,
)
from cloud_service.fleet.watching import ChannelWatch
from cloud_service.limits import STORAGE_AGAIN_SECONDS
from cloud_service.single_flight import SharedLookups
from cloud_service.store import (
    ChannelEntry,
    ChannelRow,
    Store,
    StoredEvent,
    StoredImport,
    StoredLora,
    StoredVersion,
)
from cloud_service.store.access import Share
from loragen.contract.channel import RecipeReference, Specialization
from loragen.contract.errors import ContractError
from loragen.contract.names import BASE_NAME, verify_name

Entries = dict[str, Specialization]


class Bundles(Protocol):
    """Where bundles are found."""

    async def find_bundle(self, either_id: str) -> StoredLora | StoredImport:
        """A bundle by its id, or by that of the recipe that makes it; it is made now if need be.

        Raises:
            NotFoundError: The caller has none of this id.
            CloudError: It cannot be made.
        """
        ...


class ChannelService:
    """Publishes to channels, and wakes the devices that watch them.

    Args:
        store: Where channels live.
        bundles: Where what is published is found.
        watch_interval_seconds: How often a watched channel is looked up for changes by other replicas.
        changed: Called with the action of each change, a rollout's too: a hook for whoever counts them.
    """

    def __init__(
        self,
        store: Store,
        bundles: Bundles,
        *,
        watch_interval_seconds: float,
        changed: Callable[[str], None] = lambda action: None,
    ) -> None:
        self._store = store
        self._bundles = bundles
        self._watch = ChannelWatch(store.channels, watch_interval_seconds)
        self.writer = ChannelWriter(store.channels, self._watch, changed, AuditLog(store.access))
        self._digests = SharedLookups(store.channels.load_digest)

    async def load(self, channel: str) -> PublishedChannel:
        """A channel as it is now.

        Raises:
            InvalidRequestError: The name is not valid.
            NotFoundError: Nothing was ever published there.
            StoreUnavailableError: The store does not answer.
        """
        verify(channel)
        document = await self._store.channels.load(channel)
        if document is None:
            raise unknown(channel)
        return published(document)

    async def load_digest(self, channel: str) -> str:
        """Only the digest of a channel, which is cheap however long the channel is.

        Raises:
            InvalidRequestError, NotFoundError, StoreUnavailableError: As for `load`.
        """
        verify(channel)
        digest = await self._digests.find(channel)
        if digest is None:
            raise unknown(channel)
        return digest

    async def publish(self, channel: str, name: str, bundle_id: str, condition: Condition = always) -> PublishedChannel:
        """Let `name` mean this bundle in the channel, which is created if necessary. Publishing twice changes nothing.

        Args:
            channel: Name of the channel.
            name: Name of the specialization.
            bundle_id: A bundle that was generated here, or imported; or the recipe that makes one.
            condition: By default this publishes over anything.

        Raises:
            InvalidRequestError: A name is not valid or belongs to the base model, or the channel is full.
            NotFoundError: The bundle is not known.
            PreconditionError: The condition does not hold.
            UsageLimitError: As for `verify_may_have`.
            ConflictError: Other writers were always faster, or a rollout goes on.
            StoreUnavailableError: The store does not answer.
        """
        verify(channel)
        verify_channel(channel)
        await self.verify_may_have(channel)
        specialization = await self.pin(channel, name, bundle_id)

        def put(entries: Entries) -> None:
            entries[name] = specialization

        event = ("publish", f"{name} is {specialization.bundle_id}")
        return await self._change(channel, name, put, condition, event, creates=True)

    async def verify_may_have(self, channel: str) -> None:
        """Return when there is such a channel, or the caller's tenant may have another.

        Raises:
            UsageLimitError: The tenant has as many as it may have.
            StoreUnavailableError: The store does not answer.
        """
        share = await self.share()
        if share is not None and share.lacks(1) and await self._store.channels.load_version(channel) is None:
            raise UsageLimitError(
                f"expected at most {share.most} channels of one tenant, found one more",
                "delete one that no device follows, or let the operator raise LORAGEN_CLOUD_CHANNELS_PER_TENANT",
                code="too_many_channels",
                retry_after_seconds=STORAGE_AGAIN_SECONDS,
            )

    async def share(self) -> Share | None:
        """How many channels the caller's tenant has; None for the operator.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        tenant = current_caller().tenant
        return await self._store.channels.share(tenant) if tenant else None

    async def withdraw(self, channel: str, name: str, condition: Condition = always) -> PublishedChannel:
        """Take a name out of the channel; devices go back to their base model.

        Raises:
            InvalidRequestError: A name is not valid.
            NotFoundError: The channel does not exist, or has no such name.
            PreconditionError, ConflictError, StoreUnavailableError: As for `publish`.
        """
        verify(channel)
        verify(name)

        def remove(entries: Entries) -> None:
            if entries.pop(name, None) is None:
                raise NotFoundError(f"no specialization {name!r} in channel {channel!r}")

        return await self._change(channel, name, remove, condition, ("withdraw", name))

    async def roll_back(self, channel: str, version: int, condition: Condition = always) -> PublishedChannel:
        """Give a channel the content that it had at a version, as a new version.

        Raises:
            InvalidRequestError: The name is not valid.
            NotFoundError: The channel does not exist, or the version is not kept.
            PreconditionError, ConflictError, StoreUnavailableError: As for `publish`.
        """
        old = await self.load_version(channel, version)
        for each in old.channel.specializations:
            await self.pin(channel, each.name, each.bundle_id)

        def restore(entries: Entries) -> None:
            entries.clear()
            entries.update({each.name: each for each in old.channel.specializations})

        return await self._change(channel, None, restore, condition, ("rollback", f"to version {version}"))

    async def delete(self, channel: str, condition: Condition = always) -> None:
        """Delete a channel with its versions. Devices keep what they have.

        A new channel of the name counts on, until this one is forgotten (`retention`).

        Raises:
            InvalidRequestError: The name is not valid.
            NotFoundError: The channel does not exist.
            PreconditionError, ConflictError, StoreUnavailableError: As for `publish`.
        """
        verify(channel)

        def decide(row: ChannelRow) -> Change:
            if not row.document:
                raise unknown(channel)
            verify_free(channel, row)
            verify_condition(channel, content_of(channel, row), True, condition)
            return Change(ChannelRow(version=row.version), StoredEvent("delete", "", row.version))

        await self.writer.change(channel, decide)

    async def list_channels(self, limit: int, after: str = "") -> list[ChannelEntry]:
        """Channels of the caller by name, those behind `after`.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        caller = current_caller()
        listed = await self._store.channels.list_channels(limit, caller.first_channel(after))
        return [each for each in listed if caller.sees(each.name)]

    async def list_versions(self, channel: str) -> list[StoredVersion]:
        """The versions of a channel that are kept, the newest first.

        Raises:
            InvalidRequestError, NotFoundError, StoreUnavailableError: As for `load`.
        """
        verify(channel)
        versions = await self._store.channels.list_versions(channel)
        if not versions:
            raise unknown(channel)
        return versions

    async def load_version(self, channel: str, version: int) -> PublishedChannel:
        """A channel as it was at a version.

        Raises:
            InvalidRequestError: The name is not valid.
            NotFoundError: The channel does not exist, or the version is not kept.
            StoreUnavailableError: The store does not answer.
        """
        verify(channel)
        document = await self._store.channels.load_kept(channel, version)
        if document is None:
            raise NotFoundError(
                f"version {version} of channel {channel!r} is not kept",
                "list the versions that are",
                code="version_not_found",
            )
        return published(document)

    async def list_events(self, channel: str) -> list[StoredEvent]:
        """What was done to a channel, the newest first; it outlives the channel for a while (`retention`).

        Raises:
            InvalidRequestError: The name is not valid.
            StoreUnavailableError: The store does not answer.
        """
        verify(channel)
        return await self._store.channels.list_events(channel)

    def watch(self, channel: str, known_version: int) -> AsyncGenerator[int, None]:
        """Versions of a channel: the current one if it is above `known_version`, then each new one.

        Raises:
            InvalidRequestError: The name is not valid.
            OverloadedError: Too many watches are open.
        """
        verify(channel)
        return self._watch.versions(channel, known_version)

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return self._watch.listeners

    def drain(self) -> None:
        """End all watches, so that they do not delay the shutdown."""
        self._watch.drain()

    async def pin(self, channel: str, name: str, bundle_id: str) -> Specialization:
        """A bundle under a name, as a channel lists it; the store holds it from now on.

        Raises:
            InvalidRequestError: A name is not valid, or belongs to the base model.
            NotFoundError: The bundle is not known.
            StoreUnavailableError: The store does not answer.
        """
        verify(channel)
        verify(name)
        verify_channel(channel)
        found = await self._bundles.find_bundle(bundle_id)
        if isinstance(found, StoredImport):
            verify_not_reserved(name, found.edge_model_id)
            specialization, pin = Specialization(name=name, **asdict(found), recipe=None), self._store.pin_imported
        else:
            specialization, pin = _specialization(name, found), self._store.pin
        if not await pin(found.bundle_id, current_caller().tenant):  # it has expired, or was deleted, since
            raise unknown_bundle(bundle_id)
        return specialization

    async def _change(
        self,
        name: str,
        entry: str | None,
        change: Callable[[Entries], None],
        condition: Condition,
        event: tuple[str, str],
        *,
        creates: bool = False,
    ) -> PublishedChannel:
        def decide(row: ChannelRow) -> Change | None:
            current = content_of(name, row)
            entries = {each.name: each for each in current.channel.specializations}
            verify_condition(name, current, entry is None or entry in entries, condition)
            if not row.document and not creates:
                raise unknown(name)
            change(entries)
            specializations = tuple(entries[key] for key in sorted(entries))
            if row.document and specializations == current.channel.specializations:
                return None
            verify_free(name, row)
            changed = encode(name, row.version + 1, specializations)
            event_of = StoredEvent(*event, row.version + 1)
            return Change(replace(row, version=row.version + 1, document=changed.document), event_of)

        return content_of(name, await self.writer.change(name, decide, self.verify_may_have))


def verify_not_reserved(name: str, edge_model_id: str, field: str = "name") -> None:
    """Return when a specialization for this edge model may have this name.

    Raises:
        InvalidRequestError: Devices serve the base model under this name.
    """
    if name in (BASE_NAME, edge_model_id):
        raise InvalidRequestError(
            f"{field}: {name!r} belongs to the base model on every device",
            "publish it under another name",
            code="reserved_name",
        )


def verify(name: str, rule: Callable[[str], str] = verify_name) -> None:
    """Check a name by a rule of the contract.

    Raises:
        InvalidRequestError: The name is not valid.
    """
    try:
        rule(name)
    except ContractError as e:
        raise InvalidRequestError(str(e), e.hint, code="invalid_name") from e


def unknown(channel: str) -> NotFoundError:
    """The error for a channel that does not exist."""
    return NotFoundError(f"no channel {channel!r}", "it appears when something is published to it")


def _specialization(name: str, lora: StoredLora) -> Specialization:
    recipe = lora.parse_recipe()
    verify_not_reserved(name, recipe.edge_model_id)
    return Specialization(
        name=name,
        bundle_id=lora.bundle_id,
        bundle_bytes=lora.bundle_bytes,
        edge_model_id=recipe.edge_model_id,
        edge_model_digest=recipe.edge_model_digest,
        recipe=RecipeReference(
            lora.recipe_id, len(lora.recipe), recipe.generator_id, recipe.generator_digest, recipe.bank_digest
        ),
    )
