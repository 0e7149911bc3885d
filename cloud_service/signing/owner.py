"""What the owner of a channel does on a machine of their own: make its keys, and change them.

    CHANNEL/root.KEYID.pem      the private key of root: never leaves this folder
    CHANNEL/root.json           the newest root metadata: what a device is provisioned with
    CHANNEL/cloud/              what the cloud service gets, whole (`channel_keys`)

A rotation writes new keys first, then the new root, which makes them count, and deletes old keys last. A kill in
between leaves a folder that works.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization.json import JSONSerializer

from cloud_service.errors import InvalidRequestError
from cloud_service.signing.channel_keys import (
    MAX_ROOTS,
    ONLINE_ROLES,
    key_file,
    load_roots,
    load_signer,
    root_file,
)
from loragen.contract.atomic import write_atomic
from loragen.contract.names import verify_name

ROLES = (Root.type, *ONLINE_ROLES)

ROOT_LIFETIME = timedelta(days=5 * 365)
"""A device refuses changes once its newest root has expired, and its owner may not look after it each year."""


@dataclass(frozen=True, slots=True)
class Owned:
    """Where the keys of a channel are.

    Attributes:
        root: The newest root metadata, for devices.
        cloud: The folder for the cloud service.
        version: Of root.
    """

    root: Path
    cloud: Path
    version: int


def init_channel(directory: Path, channel: str, now: datetime | None = None) -> Owned:
    """Make keys for a channel and its first root.

    Raises:
        InvalidRequestError: There are some already.
        ContractError: The name is not valid.
        OSError: They cannot be written.
    """
    home = directory / verify_name(channel)
    if (home / "cloud" / root_file(1)).exists():
        raise InvalidRequestError(
            f"{home}: there are keys of channel {channel!r} already", "loragen channels rotate changes them"
        )
    (home / "cloud").mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    root = Root(version=1, expires=_expiry(now), consistent_snapshot=True)
    signers = {role: CryptoSigner.generate_ed25519() for role in ROLES}
    for role, signer in signers.items():
        root.add_key(signer.public_key, role)
    return _store(home, Metadata(root), signers, [signers[Root.type]])


def rotate_keys(directory: Path, channel: str, roles: Collection[str], now: datetime | None = None) -> Owned:
    """Make a new version of root, in which these roles have new keys and their old ones are revoked.

    Args:
        directory: Where `init_channel` made the keys.
        channel: Name of the channel.
        roles: Of `ROLES`; none only renews the time until root expires.
        now: By default the machine's time.

    Raises:
        SigningError: The folder is damaged.
        InvalidRequestError: Another role, or root was changed too often.
        ContractError: The name is not valid.
        OSError: The new ones cannot be written.
    """
    home = directory / verify_name(channel)
    if unknown := sorted(set(roles) - set(ROLES)):
        raise InvalidRequestError(f"expected roles {', '.join(ROLES)}, found {', '.join(unknown)}")
    root = load_roots(home / "cloud")[-1]
    if root.signed.version + 1 >= MAX_ROOTS:
        raise InvalidRequestError(f"root had {root.signed.version} versions, the most that there can be")
    old = load_signer(home, root.signed, Root.type)
    signers = {role: CryptoSigner.generate_ed25519() for role in ROLES if role in roles}
    for role, signer in signers.items():
        for keyid in list(root.signed.roles[role].keyids):
            root.signed.revoke_key(keyid, role)
        root.signed.add_key(signer.public_key, role)
    root.signed.version += 1
    root.signed.expires = _expiry(now)
    root.signatures.clear()
    # Signed by the old key, so that devices follow, and by the new one, which is to prove itself.
    return _store(home, root, signers, [old, *(signers[role] for role in signers if role == Root.type)])


def _store(
    home: Path, root: Metadata[Root], new: Mapping[str, CryptoSigner], signers: Collection[CryptoSigner]
) -> Owned:
    for signer in signers:
        root.sign(signer, append=True)
    data = root.to_bytes(JSONSerializer(compact=True))
    for role, signer in new.items():
        _write_private(_folder(home, role) / key_file(role, signer.public_key), signer.private_bytes)
    write_atomic(home / "cloud" / root_file(root.signed.version), data)
    write_atomic(home / "root.json", data)
    for role in ROLES:
        named = {key_file(role, root.signed.keys[keyid]) for keyid in root.signed.roles[role].keyids}
        for path in _folder(home, role).glob(f"{role}.*.pem"):
            if path.name not in named:
                path.unlink()
    return Owned(home / "root.json", home / "cloud", root.signed.version)


def _folder(home: Path, role: str) -> Path:
    return home if role == Root.type else home / "cloud"


def _write_private(path: Path, key: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())


def _expiry(now: datetime | None) -> datetime:
    return ((now or datetime.now(UTC)) + ROOT_LIFETIME).replace(microsecond=0)
