"""Channels: publish to them, withdraw from them, read and watch them, and collect the reports of their devices.

Every change of a channel raises its version by one; nothing else does. A change is a compare-and-swap of the whole
document, repeated when another writer was faster, so concurrent publishers lose nothing. The recipe of a published
bundle, or a bundle that a user imported, is pinned: the store holds it for ever.

`loragen.contract.channel` defines the document, `watching` wakes those who watch it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass

from cloud_service.errors import (
    ConflictError,
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
)
from cloud_service.limits import MAX_REPORT_BYTES
from cloud_service.store import Store, StoredLora, StoredReport
from cloud_service.store.waiting import together
from cloud_service.watching import ChannelWatch
from loragen.contract.channel import Channel, RecipeReference, Specialization, encode_channel, parse_channel
from loragen.contract.digest import sha256_hex
from loragen.contract.errors import ContractError
from loragen.contract.names import BASE_NAME, verify_device_name, verify_name

_MAX_ATTEMPTS = 20
"""Writers of this process take turns, so only writers of other replicas can be faster."""


Condition = Callable[[str, bool], bool]
"""Whether a change may be made, given the channel's digest, and whether the channel has the name that changes."""


def _always(digest: str, name_exists: bool) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class PublishedChannel:
    """A channel and its bytes.

    Attributes:
        channel: The parsed document.
        document: Its bytes, as devices read them.
        digest: sha256 of the bytes, its entity tag.
    """

    channel: Channel
    document: bytes
    digest: str


class ChannelService:
    """Publishes to channels, and wakes the devices that watch them.

    Args:
        store: Where channels live.
        watch_interval_seconds: How often a watched channel is looked up for changes by other replicas.
    """

    def __init__(self, store: Store, *, watch_interval_seconds: float) -> None:
        self._store = store
        self._watch = ChannelWatch(store, watch_interval_seconds)
        self._turn = asyncio.Lock()

    async def load(self, channel: str) -> PublishedChannel:
        """A channel as it is now.

        Raises:
            InvalidRequestError: The name is not valid.
            NotFoundError: Nothing was ever published there.
            StoreUnavailableError: The store does not answer.
        """
        _verify(channel)
        document = await self._store.load_channel(channel)
        if document is None:
            raise _unknown(channel)
        return _published(document)

    async def load_digest(self, channel: str) -> str:
        """Only the digest of a channel, which is cheap however long the channel is.

        Raises:
            InvalidRequestError, NotFoundError, StoreUnavailableError: As for `load`.
        """
        _verify(channel)
        digest = await self._store.load_channel_digest(channel)
        if digest is None:
            raise _unknown(channel)
        return digest

    async def publish(
        self, channel: str, name: str, bundle_id: str, condition: Condition = _always
    ) -> PublishedChannel:
        """Let `name` mean this bundle in the channel, which is created if necessary. Publishing twice changes nothing.

        Args:
            channel: Name of the channel.
            name: Name of the specialization.
            bundle_id: A bundle that was generated here, or imported.
            condition: By default this publishes over anything.

        Raises:
            InvalidRequestError: A name is not valid or belongs to the base model, or the channel is full.
            NotFoundError: The bundle is not known.
            PreconditionError: The condition does not hold.
            ConflictError: Other writers were always faster.
            StoreUnavailableError: The store does not answer.
        """
        _verify(channel)
        _verify(name)
        with together():
            specialization = await self._pinned(name, bundle_id)
            if specialization is None:
                raise NotFoundError(
                    f"no bundle {bundle_id}", "generate or import it, then publish it", code="bundle_not_found"
                )

            def put(entries: dict[str, Specialization]) -> None:
                entries[name] = specialization

            return await self._change(channel, name, put, condition)

    async def withdraw(self, channel: str, name: str, condition: Condition = _always) -> PublishedChannel:
        """Take a name out of the channel; devices go back to their base model.

        Raises:
            InvalidRequestError: A name is not valid.
            NotFoundError: The channel does not exist, or has no such name.
            PreconditionError, ConflictError, StoreUnavailableError: As for `publish`.
        """
        _verify(channel)
        _verify(name)

        def remove(entries: dict[str, Specialization]) -> None:
            if entries.pop(name, None) is None:
                raise NotFoundError(f"no specialization {name!r} in channel {channel!r}")

        with together():
            return await self._change(channel, name, remove, condition)

    def watch(self, channel: str, known_version: int) -> AsyncIterator[int]:
        """Versions of a channel: the current one unless it is `known_version`, then each new one.

        Raises:
            InvalidRequestError: The name is not valid.
            OverloadedError: Too many watches are open.
        """
        _verify(channel)
        return self._watch.versions(channel, known_version)

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return self._watch.listeners

    async def report(self, channel: str, device_id: str, report: bytes) -> None:
        """Store the report of a device.

        Raises:
            InvalidRequestError: The name of the channel or of the device is not valid, or the report is too long.
            StoreUnavailableError: The store does not answer.
        """
        _verify(channel)
        _verify(device_id, verify_device_name)
        if len(report) > MAX_REPORT_BYTES:
            raise InvalidRequestError(
                f"expected a report of at most {MAX_REPORT_BYTES} bytes as JSON, found {len(report)}",
                "report fewer specializations, or shorter messages",
                code="report_too_large",
            )
        await self._store.store_device(channel, device_id, report)

    async def devices(self, channel: str, limit: int, before: int | None = None) -> list[StoredReport]:
        """The last reports of the devices that follow a channel, the most recent first.

        Args:
            channel: Name of the channel.
            limit: Most reports.
            before: Leaves out those that came at this time or later, in microseconds since 1970.

        Raises:
            InvalidRequestError: The name is not valid.
            StoreUnavailableError: The store does not answer.
        """
        _verify(channel)
        return await self._store.load_devices(channel, limit, before)

    def drain(self) -> None:
        """End all watches, so that they do not delay the shutdown."""
        self._watch.drain()

    async def _pinned(self, name: str, bundle_id: str) -> Specialization | None:
        if (lora := await self._store.load_lora(bundle_id)) is not None:
            specialization, pin = _specialization(name, lora), self._store.pin
        elif (imported := await self._store.find_imported(bundle_id)) is not None:
            verify_not_reserved(name, imported.edge_model_id)
            specialization, pin = Specialization(name=name, **asdict(imported), recipe=None), self._store.pin_imported
        else:
            return None
        return specialization if await pin(bundle_id) else None

    async def _change(
        self, name: str, entry: str, change: Callable[[dict[str, Specialization]], None], condition: Condition
    ) -> PublishedChannel:
        async with self._turn:
            for attempt in range(_MAX_ATTEMPTS):
                document = await self._store.load_channel(name)
                current = _published(document) if document is not None else _unwritten(name)
                entries = {each.name: each for each in current.channel.specializations}
                if not condition(current.digest, entry in entries):
                    found = f"digest {current.digest}" if document is not None else "none of this name"
                    raise PreconditionError(
                        f"expected channel {name!r} as the request names it, found {found}", "read the channel again"
                    )
                change(entries)
                specializations = tuple(entries[key] for key in sorted(entries))
                if document is not None and specializations == current.channel.specializations:
                    return current
                version = current.channel.version + 1
                changed = _encode(name, version, specializations)
                if await self._store.swap_channel(name, current.channel.version, version, changed.document):
                    self._watch.announce(name, version)
                    return changed
                await asyncio.sleep(random.uniform(0, 0.005 * 2 ** min(attempt, 5)))
        raise ConflictError(f"channel {name!r} changed {_MAX_ATTEMPTS} times while this change was tried", "try again")


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


def _verify(name: str, rule: Callable[[str], str] = verify_name) -> None:
    try:
        rule(name)
    except ContractError as e:
        raise InvalidRequestError(str(e), e.hint, code="invalid_name") from e


def _unknown(channel: str) -> NotFoundError:
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


def _published(document: bytes) -> PublishedChannel:
    try:
        return PublishedChannel(parse_channel(document), document, sha256_hex(document))
    except ContractError as e:
        raise IntegrityError(f"a stored channel is damaged: {e}", "restore the store from a backup") from e


def _unwritten(name: str) -> PublishedChannel:
    return PublishedChannel(Channel(name, 0, ()), b"", "")


def _encode(name: str, version: int, specializations: tuple[Specialization, ...]) -> PublishedChannel:
    try:
        channel = Channel(name, version, specializations)
    except ContractError as e:
        raise InvalidRequestError(
            f"channel {name!r} is full: {e}", "withdraw what no device needs", code="channel_full"
        ) from e
    document = encode_channel(channel)
    return PublishedChannel(channel, document, sha256_hex(document))
