"""Values: the folder that the owner of a channel hands to the service, and what is in it.

    N.root.json             every root metadata that there was, 1 to the newest
    ROLE.KEYID.pem          the private keys of targets, snapshot and timestamp, PKCS 8; KEYID is shortened

The newest root says which keys count, so a file that it does not name is never read. Private keys are used, and never
shown, logged or stored elsewhere. The private key of root is not here: it stays with the owner (`owner`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root

from cloud_service.errors import SigningError
from loragen.contract.signed_channel import MAX_METADATA_BYTES

ONLINE_ROLES = ("targets", "snapshot", "timestamp")
"""Roles whose keys the service has."""

MAX_ROOTS = 1_000
"""Versions of root. One a month would last for 83 years."""

_ROOT_FILE = re.compile(r"([1-9]\d{0,3})\.root\.json", re.ASCII)
_MAX_KEY_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class ChannelKeys:
    """What signs one channel.

    Attributes:
        root: The newest root metadata.
        signers: By role, what signs it.
    """

    root: Root
    signers: Mapping[str, CryptoSigner] = field(repr=False)


def root_file(version: int) -> str:
    """Name of the file with this version of root."""
    return f"{version}.root.json"


def key_file(role: str, key: Key) -> str:
    """Name of the file with a private key."""
    return f"{role}.{key.keyid[:16]}.pem"


def newest_root(names: Iterable[str]) -> int:
    """The newest version of root among names of files; 0 for none."""
    return max((int(match[1]) for name in names if (match := _ROOT_FILE.fullmatch(name))), default=0)


def load_keys(folder: Path) -> ChannelKeys:
    """The keys in a folder, which fit its newest root.

    Raises:
        SigningError: A file is missing, damaged or of another root.
    """
    root = load_roots(folder)[-1].signed
    return ChannelKeys(root, {role: load_signer(folder, root, role) for role in ONLINE_ROLES})


def load_roots(folder: Path) -> list[Metadata[Root]]:
    """Every root metadata in a folder, each signed by itself and by the one before.

    Raises:
        SigningError: There is none, one is missing in between, damaged or not signed as it must be.
    """
    try:
        newest = newest_root(path.name for path in folder.iterdir())
    except OSError as e:
        raise SigningError(f"{folder}: {e.strerror or e}", _HINT) from e
    if not 0 < newest < MAX_ROOTS:
        raise SigningError(f"{folder}: expected 1.root.json, 2.root.json and so on, found {newest} of them", _HINT)
    roots: list[Metadata[Root]] = []
    for version in range(1, newest + 1):
        root = _read_root(folder / root_file(version))
        try:
            for judge in (root, *roots[-1:]):
                judge.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
        except (RepositoryError, ValueError) as e:
            raise SigningError(f"{folder / root_file(version)}: {e}", _HINT) from e
        if root.signed.version != version:
            raise SigningError(f"{folder / root_file(version)}: expected version {version} in it", _HINT)
        roots.append(root)
    return roots


def load_signer(folder: Path, root: Root, role: str) -> CryptoSigner:
    """What signs for a role, with a private key in a folder.

    Raises:
        SigningError: No key of this role is there, or it is damaged.
    """
    keys = [root.keys[keyid] for keyid in root.roles[role].keyids]
    found = [(folder / key_file(role, key), key) for key in keys if (folder / key_file(role, key)).exists()]
    if not found:
        names = " or ".join(key_file(role, key) for key in keys)
        raise SigningError(f"{folder}: expected {names}, the key of {role} by root version {root.version}", _HINT)
    path, key = found[0]
    try:
        signer = CryptoSigner(load_pem_private_key(_read(path, _MAX_KEY_BYTES), None))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Without the cause, which might quote the file.
        raise SigningError(f"{path}: expected a private key in PEM without a password", _HINT) from None
    if signer.public_key.keyid != key.keyid:
        raise SigningError(f"{path}: expected key {key.keyid}, found {signer.public_key.keyid}", _HINT)
    return signer


def _read_root(path: Path) -> Metadata[Root]:
    try:
        root = Metadata[Root].from_bytes(_read(path, MAX_METADATA_BYTES))
    except RepositoryError as e:
        raise SigningError(f"{path}: expected root metadata of TUF: {e}", _HINT) from e
    if root.signed.type != Root.type:
        raise SigningError(f"{path}: expected root metadata, found {root.signed.type}", _HINT)
    return root


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as e:
        raise SigningError(f"{path}: {e.strerror or e}", _HINT) from e
    if len(data) > most:
        raise SigningError(f"{path}: expected at most {most} bytes, there are more", _HINT)
    return data


_HINT = "the folder is the one named `cloud` that loragen channels init made, whole"
