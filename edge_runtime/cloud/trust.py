"""Adapter: a channel that its owner signs, over python-tuf's client. It gives out only documents that are signed now.

Rules:
- The owner's root.json is the one thing that is trusted from the start. Newer roots follow from it, by signature.
- Nothing of a document is read before its digest stands in signed, current metadata.
- Metadata are verified when the document changed, and every ten minutes besides, so that a cloud that holds something
  back is found out. In between, an unchanged document costs one request.
- The files are small, and one time limit holds for all of them together: a cloud that drips holds up nothing else.
- A document is refused without loss: what was accepted before stays in force, and the poller asks again. Which document
  that is, the poller says: it may refuse one that is signed.
- The memory of what was seen, against older metadata, is forgotten with the newest version of the channel: when the
  owner accepts an older one, or the state is lost.
- Versions of the document count from zero again once a new root has revoked the keys of targets that signed them: who
  stole them may have made one that no honest one passes. What was signed before the rotation is refused all the same.

Bytes move through `cloud.fetcher`, on the event loop; TUF itself works on a thread. What a document may ask for is
decided as for any other channel: bundles, recipes and banks are named in it by their digests.
"""

import asyncio
import concurrent.futures
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
)
from tuf.api.metadata import Metadata, Root, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from edge_runtime.clock import Clock
from edge_runtime.cloud.fetcher import ChannelAnswer
from edge_runtime.cloud.poller import ChannelSource
from edge_runtime.errors import (
    ChannelRefusedError,
    CloudStatusError,
    CloudUnreachableError,
    UpdateError,
    describe_error,
)
from loragen.contract.atomic import write_atomic
from loragen.contract.errors import ContractError
from loragen.contract.signed_channel import MAX_METADATA_BYTES, RUNTIME_FIELD, is_runtime_old, target_path
from loragen.device_answers import ChannelTrust
from loragen.version import UNKNOWN_VERSION, package_version
from loragen.web.errors import ConfigurationError

VERIFY_SECONDS = 600.0
"""Between two verifications of a document that did not change."""

REFRESH_SECONDS = 60.0
"""For all metadata files of one verification together."""

_MEMORY = ("timestamp.json", "snapshot.json", "targets.json")
_KEYS = "version_keys.json"
"""Has the ids of the keys of targets under which versions of the document are counted."""
_ABSENT = (403, 404)

_CONFIG = UpdaterConfig(
    max_delegations=0,
    root_max_length=MAX_METADATA_BYTES,
    timestamp_max_length=MAX_METADATA_BYTES,
    snapshot_max_length=MAX_METADATA_BYTES,
    targets_max_length=MAX_METADATA_BYTES,
)


class SignedSource(ChannelSource, Protocol):
    """Where documents and metadata come from."""

    async def fetch_metadata(self, url: str, max_bytes: int) -> bytes:
        """A file of metadata, unverified.

        Raises:
            UpdateError: It could not be had.
        """
        ...


def read_root(path: Path) -> bytes:
    """The root metadata that a device is provisioned with.

    Raises:
        ConfigurationError: The file cannot be read, or is no root metadata signed by itself.
    """
    hint = "loragen channels init makes root.json; give it to the device as it is"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_METADATA_BYTES + 1)
        if len(data) > MAX_METADATA_BYTES:
            raise RepositoryError(f"found more than {MAX_METADATA_BYTES} bytes")
        root = Metadata[Root].from_bytes(data)
        if root.signed.type != Root.type:
            raise RepositoryError(f"found metadata of {root.signed.type}")
        root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
    except OSError as error:
        raise ConfigurationError(f"LORAGEN_EDGE_TRUSTED_ROOT: {path}: {error.strerror or error}", hint) from error
    except (RepositoryError, ValueError) as error:
        raise ConfigurationError(
            f"LORAGEN_EDGE_TRUSTED_ROOT: {path}: expected root metadata of TUF: {error}", hint
        ) from error
    return data


class SignedChannel:
    """A source of channels, for one of them.

    Args:
        source: The cloud.
        root: The owner's root metadata.
        directory: Where metadata are kept that were verified.
        clock: For the pace of verifications; expiry is by the machine's own clock.
        newest_seen: The newest version of the channel that was ever followed; None takes any.
        void_versions: Lets the channel be followed from version 0 on.
    """

    def __init__(
        self,
        source: SignedSource,
        root: bytes,
        directory: Path,
        clock: Clock,
        newest_seen: Callable[[], int | None],
        void_versions: Callable[[], Awaitable[None]],
    ) -> None:
        self._source = source
        self._root = root
        self._directory = directory
        self._clock = clock
        self._newest_seen = newest_seen
        self._void_versions = void_versions
        self._verified: ChannelAnswer | None = None
        self._verify_at = -float("inf")
        # What an earlier run verified: a device that starts without the cloud has it still.
        self._trust = ChannelTrust(**_read_memory(directory))

    @property
    def trust(self) -> ChannelTrust:
        """What is known of the signatures now."""
        return self._trust

    async def fetch_channel(self, channel: str, known: ChannelAnswer | None) -> ChannelAnswer:
        """The channel as it is signed now; `known`, which the caller follows, itself when it is unchanged.

        Raises:
            ChannelRefusedError: It is not signed, or not for this device or this time.
            UpdateError: It could not be had, or metadata could not be written.
        """
        try:
            return await self._fetch(channel, known)
        except ChannelRefusedError as error:
            self._trust = replace(self._trust, last_refusal=describe_error(error), last_refusal_at=self._clock.unix())
            raise

    async def _fetch(self, channel: str, known: ChannelAnswer | None) -> ChannelAnswer:
        answer = await self._source.fetch_channel(channel, known)
        if answer is known and answer is self._verified and self._clock.monotonic() < self._verify_at:
            return answer
        try:
            await self._verify(channel, answer)
        except ChannelRefusedError:
            # It may have changed between the two requests; or the cloud says "unchanged" of one that is not signed now.
            answer = await self._source.fetch_channel(channel, None)
            await self._verify(channel, answer)
        return answer

    async def _verify(self, channel: str, answer: ChannelAnswer) -> None:
        updater = await self._refresh(channel)
        await self._count_versions(channel)
        _verify_listed(channel, updater, answer.document)
        self._verified = answer
        self._verify_at = self._clock.monotonic() + VERIFY_SECONDS

    async def _count_versions(self, channel: str) -> None:
        """Void the versions that revoked keys signed, before their successors are noted: a kill repeats it."""
        try:
            before = await asyncio.to_thread(_read_keys, self._directory / _KEYS)
            now = await asyncio.to_thread(_keys_of_targets, self._directory / "root.json")
            if before == now:
                return
            if before and before.isdisjoint(now) and self._newest_seen() is not None:
                await self._void_versions()
            data = json.dumps(sorted(now)).encode()
            await asyncio.to_thread(write_atomic, self._directory / _KEYS, data)
        except (OSError, RepositoryError, ValueError) as error:
            raise _refusal(channel, error) from error

    async def _refresh(self, channel: str) -> Updater:
        url = f"/channels/{channel}/metadata/"
        bridge = LoopFetcher(self._source.fetch_metadata)
        forget = self._newest_seen() is None
        work = asyncio.ensure_future(asyncio.to_thread(self._update, url, bridge, forget))
        try:
            async with asyncio.timeout(REFRESH_SECONDS):
                return await asyncio.shield(work)
        except TimeoutError as error:
            raise CloudUnreachableError(
                f"{url}: not complete within {REFRESH_SECONDS:g} s", "the cloud or the network is slow"
            ) from error
        except Exception as error:
            # Whatever hostile bytes make of a parser is a refusal.
            raise _refusal(channel, error) from None
        finally:
            # The thread writes files: it must be over before the next one begins.
            bridge.stop()
            await asyncio.wait({work})
            if not work.cancelled():
                work.exception()

    def _update(self, url: str, fetcher: FetcherInterface, forget: bool) -> Updater:
        if forget:
            for name in _MEMORY:
                (self._directory / name).unlink(missing_ok=True)
        try:
            return refresh(self._directory, url, self._root, fetcher)
        finally:
            # Also after a failure: a newer root may have come, or no newer timestamp.
            self._trust = replace(self._trust, **_read_memory(self._directory))


class LoopFetcher(FetcherInterface):
    """Lets TUF, on a thread, fetch through a coroutine of the event loop that makes this object.

    Args:
        fetch: Takes a URL and the most bytes of its body.
    """

    def __init__(self, fetch: Callable[[str, int], Coroutine[Any, Any, bytes]]) -> None:
        self._fetch_bytes = fetch
        self._loop = asyncio.get_running_loop()
        self._pending: concurrent.futures.Future[bytes] | None = None
        self._is_stopped = False

    def stop(self) -> None:
        """End a fetch in progress; later ones fail at once."""
        self._is_stopped = True
        if self._pending is not None:
            self._pending.cancel()

    def _fetch(self, url: str) -> Iterator[bytes]:
        self._pending = asyncio.run_coroutine_threadsafe(self._fetch_bytes(url, MAX_METADATA_BYTES), self._loop)
        if self._is_stopped:
            self._pending.cancel()
        try:
            return iter((self._pending.result(),))
        except CloudStatusError as error:
            raise DownloadHTTPError(str(error), error.status) from error


def refresh(directory: Path, url: str, root: bytes, fetcher: FetcherInterface) -> Updater:
    """Bring the metadata of a channel up to date, by TUF's client workflow.

    Args:
        directory: Where verified metadata are kept.
        url: Of the folder of metadata.
        root: The root metadata that is trusted from the start.
        fetcher: Fetches metadata.

    Raises:
        RepositoryError, DownloadError, OSError: As TUF's client.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for left in (*directory.glob("tmp*"), *directory.glob(".*.tmp")):
        # By a process that was killed while it wrote.
        left.unlink()
    updater = Updater(str(directory), url, fetcher=fetcher, config=_CONFIG, bootstrap=root)
    updater.refresh()
    return updater


def _read_memory(directory: Path) -> dict[str, Any]:
    """What the verified metadata on disk say of root and timestamp; nothing of a file that cannot be read."""
    found: dict[str, Any] = {}
    with suppress(OSError, RepositoryError, ValueError):
        found["root_version"] = Metadata[Root].from_bytes((directory / "root.json").read_bytes()).signed.version
    with suppress(OSError, RepositoryError, ValueError):
        timestamp = Metadata[Timestamp].from_bytes((directory / "timestamp.json").read_bytes())
        found["timestamp_expires_at"] = timestamp.signed.expires.timestamp()
    return found


def _keys_of_targets(path: Path) -> frozenset[str]:
    return frozenset(Metadata[Root].from_bytes(path.read_bytes()).signed.roles[Targets.type].keyids)


def _read_keys(path: Path) -> frozenset[str]:
    """Ids of keys; none of a file that is missing or damaged."""
    try:
        return frozenset(str(each) for each in json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return frozenset()


def _verify_listed(channel: str, updater: Updater, document: bytes) -> None:
    target = updater.get_targetinfo(target_path(document))
    if target is None:
        raise ChannelRefusedError(
            f"channel {channel!r}: the document that the cloud sends is not signed, or no longer",
            "somebody changed it on its way, or holds a newer one back",
        )
    try:
        target.verify_length_and_hashes(document)
        minimum = target.custom.get(RUNTIME_FIELD) if isinstance(target.custom, dict) else None
        runtime = package_version()
        is_old = minimum is not None and runtime != UNKNOWN_VERSION and is_runtime_old(runtime, str(minimum))
    except (LengthOrHashMismatchError, ContractError) as error:
        raise ChannelRefusedError(f"channel {channel!r}: {error}") from error
    if is_old:
        raise ChannelRefusedError(
            f"channel {channel!r}: expected loragen-edge {minimum} or newer, found {runtime}",
            "update this device; what serves goes on",
            code="runtime_too_old",
        )


def _refusal(channel: str, error: Exception) -> UpdateError:
    """What an error of TUF's client means to the device."""
    if isinstance(error, DownloadHTTPError) and error.status_code in _ABSENT:
        return ChannelRefusedError(
            f"channel {channel!r}: the cloud does not sign it: {error}",
            "the cloud's operator sets LORAGEN_CLOUD_SIGNING_DIR",
            code="channel_unsigned",
        )
    if isinstance(error, UpdateError):
        return error
    if isinstance(error, DownloadError) and isinstance(error.__cause__, UpdateError):
        return error.__cause__
    if isinstance(error, OSError):
        return UpdateError(
            f"verified metadata cannot be kept: {error.strerror or error}", "check the disk", code="trust_not_written"
        )
    found = f"channel {channel!r}: {str(error) or type(error).__name__}"
    if isinstance(error, ExpiredMetadataError):
        hint = "the cloud no longer signs, somebody holds newer metadata back, or this device's clock is wrong"
        return ChannelRefusedError(found, hint, code="signature_expired")
    if isinstance(error, BadVersionNumberError):
        hint = (
            "the cloud's store was restored, or somebody sends old metadata? followed again once they have passed what "
            f"was seen, or after `loragen-edge accept {channel}`"
        )
        return ChannelRefusedError(found, hint)
    return ChannelRefusedError(found, "not signed by the keys of this device's root, or damaged on its way")
