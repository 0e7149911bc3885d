"""Coordinator: the metadata files of signed channels, made when they are asked for.

Rules:
- A channel is signed when the folder of keys has a folder of its name with something in it; the others have no
  metadata.
- What is signed is the channel as it is in the store, with the candidate of a rollout. Publishing, withdrawing and
  rolling back need no step of their own.
- Keys and roots are read anew for every answer that is signed, so a rotation needs no restart.
- A file of the hour before is still made, and what was sent before a change is remembered for a while: a device reads
  timestamp, snapshot and targets one after another, perhaps from several replicas.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from cloud_service.errors import NotFoundError, SigningError
from cloud_service.fleet.rollout import parse_rollout
from cloud_service.signing.channel_keys import load_keys, newest_root, root_file
from cloud_service.signing.metadata import HOUR_SECONDS, SignedMetadata, metadata_version, sign_documents
from cloud_service.store import ChannelRow
from loragen.contract.digest import sha256_hex
from loragen.contract.errors import ContractError
from loragen.contract.names import verify_name
from loragen.contract.signed_channel import MAX_METADATA_BYTES
from loragen.web.errors import ConfigurationError

_FILE = re.compile(r"(?:(\d+)\.)?(\w+)\.json", re.ASCII)
_REMEMBERED = 64
_EXPIRES_SOON_SECONDS = 60 * 86_400

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Made:
    """Metadata, and what they were made of: files of keys by name and time of change, and digests of documents."""

    files: Mapping[str, int]
    digests: tuple[str, ...]
    signed: SignedMetadata


class SignerEvents(Protocol):
    """A hook for watching over roots."""

    def root_read(self, channel: str, expires_at: float) -> None:
        """The root of a channel was read; it expires then, in Unix seconds."""
        ...


class ChannelSigner:
    """Signs channels.

    Args:
        directory: Has a folder of keys (`channel_keys`) for each signed channel, by its name.
        load_row: Channels as they are stored.
        events: Called at the start, and whenever a channel is signed anew, which is each hour.
        now: Unix seconds.

    Raises:
        ConfigurationError: A folder in it will not do.
    """

    def __init__(
        self,
        directory: Path,
        load_row: Callable[[str], Awaitable[ChannelRow]],
        events: SignerEvents,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._load_row = load_row
        self._events = events
        self._now = now
        self._made: dict[tuple[str, int], _Made] = {}
        roots = _verify(directory)
        for channel, expires_at in roots.items():
            events.root_read(channel, expires_at)
        _log.info("channels_signed", channels=list(roots))

    async def load(self, channel: str, name: str) -> bytes:
        try:
            return await self._load(channel, name)
        except SigningError as e:
            # What it says of folders and files is the operator's business.
            _log.error("channel_not_signed", channel=channel, reason=str(e), hint=e.hint)
            raise SigningError(
                f"channel {channel!r} cannot be signed now", "the operator finds the cause in the log"
            ) from e

    async def _load(self, channel: str, name: str) -> bytes:
        folder = self._directory / channel
        if not await asyncio.to_thread(_is_signed, folder):
            raise NotFoundError(
                f"channel {channel!r} is not signed",
                "its owner makes keys with loragen channels init, for LORAGEN_CLOUD_SIGNING_DIR",
                code="channel_not_signed",
            )
        match = _FILE.fullmatch(name)
        assert match is not None
        number, role = match.groups()
        if role == "root":
            return await asyncio.to_thread(_read_root, folder, int(number))
        hour = int(self._now()) // HOUR_SECONDS
        if number is None:
            return (await self._sign(channel, folder, hour)).timestamp
        version = int(number)
        if (channel, version) not in self._made:
            for each in (hour, hour - 1):
                await self._sign(channel, folder, each)
        if (made := self._made.get((channel, version))) is None:
            raise NotFoundError(f"no {name} of channel {channel!r}", "begin with timestamp.json")
        return made.signed.snapshot if role == "snapshot" else made.signed.targets

    async def _sign(self, channel: str, folder: Path, hour: int) -> SignedMetadata:
        row = await self._load_row(channel)
        documents = _documents(channel, row)
        files = await asyncio.to_thread(_stamp, folder)
        digests = tuple(sha256_hex(document) for document in documents)
        key = (channel, metadata_version(row.revision, newest_root(files), hour))
        made = self._made.get(key)
        if made is None or (made.files, made.digests) != (files, digests):
            self._made.pop(key, None)
            signed = await asyncio.to_thread(self._make, folder, documents, row.revision, hour)
            made = _Made(files, digests, signed)
            self._made[key] = made
            while len(self._made) > _REMEMBERED:
                del self._made[next(iter(self._made))]
        return made.signed

    def _make(self, folder: Path, documents: Sequence[bytes], revision: int, hour: int) -> SignedMetadata:
        keys = load_keys(folder)
        self._events.root_read(folder.name, keys.root.expires.timestamp())
        if keys.root.expires.timestamp() - self._now() < _EXPIRES_SOON_SECONDS:
            _log.warning("root_expires_soon", channel=folder.name, expires=keys.root.expires.isoformat())
        return sign_documents(documents, revision, keys, hour)


def _documents(channel: str, row: ChannelRow) -> Sequence[bytes]:
    """What devices may follow: the channel's document, and the candidate of a rollout that goes on."""
    if not row.document:
        raise NotFoundError(f"no channel {channel!r}", "it appears when something is published to it")
    return (row.document, parse_rollout(row.rollout).document) if row.rolling else (row.document,)


def _verify(directory: Path) -> Mapping[str, float]:
    """The signed channels, and when the root of each expires."""
    try:
        names = sorted(path.name for path in directory.iterdir() if _is_signed(path))
        return {name: load_keys(directory / verify_name(name)).root.expires.timestamp() for name in names}
    except (OSError, SigningError, ContractError) as e:
        hint = getattr(e, "hint", "") or "expected a folder with a folder of keys for each signed channel"
        raise ConfigurationError(f"LORAGEN_CLOUD_SIGNING_DIR: {e}", hint) from e


def _is_signed(folder: Path) -> bool:
    # Names with a dot in front are how Kubernetes mounts; an empty folder is a volume that was not filled.
    visible = not folder.name.startswith(".") and folder.is_dir()
    return visible and any(not path.name.startswith(".") for path in folder.iterdir())


def _stamp(folder: Path) -> Mapping[str, int]:
    try:
        return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    except OSError as e:
        raise SigningError(f"{folder}: {e.strerror or e}", "the operator finds the cause on the service's disk") from e


def _read_root(folder: Path, version: int) -> bytes:
    try:
        with (folder / root_file(version)).open("rb") as file:
            return file.read(MAX_METADATA_BYTES)
    except OSError as e:
        raise NotFoundError(f"no version {version} of root", "the one before is the newest") from e
