"""Rules: the signed metadata of a channel. No I/O, no clock.

They are a function of the documents, the keys and the hour: every replica makes the same bytes, and nothing has to be
stored, led or renewed by one of them. That needs three things:
- The version follows from what is signed: it grows with the revision of the channel, with root, and with the hour, in
  this order of weight. Targets, snapshot and timestamp share it.
- Metadata are signed anew for each hour, and are valid for a day from its beginning.
- Keys are Ed25519, whose signatures are deterministic.

A store that goes back to an older version of the channel so goes back in its signatures, which devices refuse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from cloud_service.signing.channel_keys import MAX_ROOTS, ChannelKeys
from loragen.contract.signed_channel import MINIMUM_RUNTIME_VERSION, RUNTIME_FIELD, target_path

_T = TypeVar("_T", Targets, Snapshot, Timestamp)

HOUR_SECONDS = 3_600

LIFETIME = timedelta(days=1)
"""After so long a device notices that newer metadata are held back from it."""

_HOURS = 10**6
"""Above the hours since 1970 until the year 2084."""


@dataclass(frozen=True, slots=True)
class SignedMetadata:
    """The files of one version, each as it is sent."""

    version: int
    timestamp: bytes
    snapshot: bytes
    targets: bytes


def metadata_version(revision: int, root_version: int, hour: int) -> int:
    """The version of all three files.

    Args:
        revision: Grows with every change of what is signed.
        root_version: Below `MAX_ROOTS`.
        hour: Hours since 1970.
    """
    return (revision * MAX_ROOTS + root_version) * _HOURS + hour


def sign_documents(documents: Sequence[bytes], revision: int, keys: ChannelKeys, hour: int) -> SignedMetadata:
    """Sign the documents that devices may follow.

    Args:
        documents: Each of them.
        revision: Grows with every change of them.
        keys: What signs.
        hour: Hours since 1970.
    """
    version = metadata_version(revision, keys.root.version, hour)
    expires = datetime.fromtimestamp(hour * HOUR_SECONDS, UTC) + LIFETIME
    listed = {target_path(document): _target(document) for document in documents}
    targets = _signed(Targets(version, expires=expires, targets=listed), keys)
    snapshot = _signed(Snapshot(version, expires=expires, meta={"targets.json": _entry(version, targets)}), keys)
    timestamp = _signed(Timestamp(version, expires=expires, snapshot_meta=_entry(version, snapshot)), keys)
    return SignedMetadata(version, timestamp, snapshot, targets)


def _target(document: bytes) -> TargetFile:
    target = TargetFile.from_data(target_path(document), document, ["sha256"])
    target.unrecognized_fields["custom"] = {RUNTIME_FIELD: MINIMUM_RUNTIME_VERSION}
    return target


def _entry(version: int, data: bytes) -> MetaFile:
    return MetaFile.from_data(version, data, ["sha256"])


def _signed(content: _T, keys: ChannelKeys) -> bytes:
    metadata = Metadata(content)
    metadata.sign(keys.signers[content.type])
    return metadata.to_bytes(JSONSerializer(compact=True))
