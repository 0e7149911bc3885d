"""Signed metadata are a function of documents, keys and hour."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Targets, Timestamp

from cloud_service.signing.channel_keys import ChannelKeys, load_keys
from cloud_service.signing.metadata import LIFETIME, metadata_version, sign_documents
from cloud_service.signing.owner import init_channel

HOUR = 500_000


@pytest.fixture
def keys(tmp_path: Path) -> ChannelKeys:
    return load_keys(init_channel(tmp_path, "kitchen").cloud)


def test_replicas_make_the_same_bytes(keys: ChannelKeys) -> None:
    assert sign_documents([b"a", b"b"], 7, keys, HOUR) == sign_documents([b"a", b"b"], 7, keys, HOUR)


def test_later_versions_are_greater() -> None:
    """Within an hour, over hours, over a new root, and over a change of the channel: always greater, never equal."""
    history = [(1, 1, HOUR), (1, 1, HOUR + 1), (1, 2, HOUR + 1), (2, 2, HOUR + 1), (2, 2, HOUR + 9), (2, 999, HOUR + 9)]
    versions = [metadata_version(*each) for each in history]
    assert versions == sorted(set(versions))


def test_clock_that_is_set_back_does_not_undo_a_change() -> None:
    assert metadata_version(8, 1, HOUR - 1_000) > metadata_version(7, 1, HOUR)


def test_files_are_signed_by_their_role_and_name_each_other(keys: ChannelKeys) -> None:
    signed = sign_documents([b"a", b"bc"], 7, keys, HOUR)
    for role in ("timestamp", "snapshot", "targets"):
        metadata = Metadata.from_bytes(getattr(signed, role))
        keys.root.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        assert metadata.signed.version == signed.version
        assert metadata.signed.expires == datetime.fromtimestamp(HOUR * 3600, UTC) + LIFETIME
    timestamp = Metadata[Timestamp].from_bytes(signed.timestamp).signed
    timestamp.snapshot_meta.verify_length_and_hashes(signed.snapshot)
    targets = Metadata[Targets].from_bytes(signed.targets).signed
    assert sorted(target.length for target in targets.targets.values()) == [1, 2]
    assert all(target.custom == {"minimum_runtime_version": "0.1.0"} for target in targets.targets.values())
