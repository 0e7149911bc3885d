"""Helper: the metadata of a signed channel, made by TUF's library alone, by an owner who may be robbed of keys."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp

from edge_runtime.cloud.fetcher import ChannelAnswer, HttpFetcher
from edge_runtime.cloud.trust import SignedChannel
from edge_runtime.errors import ChannelRefusedError
from loragen.contract.channel import encode_channel
from loragen.contract.signed_channel import target_path
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import FakeClock

ROLES = ("root", "targets", "snapshot", "timestamp")
FOLDER = "/channels/default/metadata/"


class SignedRepository:
    """Writes metadata files into the files of a fake cloud.

    Args:
        files: By path, what the cloud serves.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.lifetime = timedelta(days=1)
        self.keys = {role: CryptoSigner.generate_ed25519() for role in ROLES}
        self.root = Root(version=1, expires=self.now + timedelta(days=365), consistent_snapshot=True)
        for role, key in self.keys.items():
            self.root.add_key(key.public_key, role)
        self.version = 0
        self.first_root = self.put(self.root, "1.root.json", self.keys["root"])

    def put(self, content: Signed, name: str, *keys: CryptoSigner) -> bytes:
        """Sign with these keys and serve under this name."""
        metadata = Metadata(content)
        for key in keys:
            metadata.sign(key, append=True)
        self.files[FOLDER + name] = metadata.to_bytes()
        return self.files[FOLDER + name]

    def publish(
        self,
        *documents: bytes,
        version: int | None = None,
        custom: Any = None,
        versions: Mapping[str, int] | None = None,
        keys: Mapping[str, CryptoSigner] | None = None,
    ) -> None:
        """List these documents under the next version, or another; `versions` and `keys` change single roles."""
        self.version = self.version + 1 if version is None else version
        of = dict.fromkeys(ROLES, self.version) | dict(versions or {})
        sign = self.keys | dict(keys or {})
        expires = self.now + self.lifetime
        listed = {}
        for document in documents:
            target = TargetFile.from_data(target_path(document), document, ["sha256"])
            if custom is not None:
                target.unrecognized_fields["custom"] = custom
            listed[target.path] = target
        targets = self.put(
            Targets(of["targets"], expires=expires, targets=listed), f"{of['targets']}.targets.json", sign["targets"]
        )
        meta = {"targets.json": MetaFile.from_data(of["targets"], targets, ["sha256"])}
        snapshot = self.put(
            Snapshot(of["snapshot"], expires=expires, meta=meta), f"{of['snapshot']}.snapshot.json", sign["snapshot"]
        )
        entry = MetaFile.from_data(of["snapshot"], snapshot, ["sha256"])
        self.put(Timestamp(of["timestamp"], expires=expires, snapshot_meta=entry), "timestamp.json", sign["timestamp"])

    def rotate(self, *roles: str) -> None:
        """A new root in which these roles have new keys, signed by the old key of root and the new one."""
        old = self.keys["root"]
        for role in roles:
            self.root.revoke_key(self.keys[role].public_key.keyid, role)
            self.keys[role] = CryptoSigner.generate_ed25519()
            self.root.add_key(self.keys[role].public_key, role)
        self.root.version += 1
        signers = [old] if self.keys["root"] is old else [old, self.keys["root"]]
        self.put(self.root, f"{self.root.version}.root.json", *signers)


class Signed:
    """A cloud, its signatures, and one device's view of them."""

    def __init__(self, cloud: FakeCloud, fetcher: HttpFetcher, directory: Path) -> None:
        self.cloud = cloud
        self.repository = SignedRepository(cloud.files)
        self.directory = directory
        self.clock = FakeClock()
        self.newest_seen: int | None = 1
        self.fetcher = fetcher
        self.known: ChannelAnswer | None = None
        self.restart()

    def restart(self) -> None:
        self.known = None
        self.channel = SignedChannel(
            self.fetcher,
            self.repository.first_root,
            self.directory,
            self.clock,
            lambda: self.newest_seen,
            self.void_versions,
        )

    async def void_versions(self) -> None:
        """As a device does it."""
        self.newest_seen = 0

    def document(self) -> bytes:
        assert self.cloud.channel is not None
        return encode_channel(self.cloud.channel)

    def publish(self, name: str, seed: int = 0) -> bytes:
        """Publish and sign."""
        self.cloud.publish(self.cloud.make(name, seed))
        self.repository.publish(self.document())
        return self.document()

    async def poll(self) -> bytes | None:
        """The document, or None when it is unchanged."""
        answer = await self.channel.fetch_channel("default", self.known)
        if answer is self.known:
            return None
        self.known = answer
        return answer.document

    async def refused(self) -> str:
        """Poll, which is refused; the code."""
        with pytest.raises(ChannelRefusedError) as caught:
            await self.channel.fetch_channel("default", self.known)
        assert caught.value.hint or caught.value.code == "channel_refused"
        return caught.value.code
