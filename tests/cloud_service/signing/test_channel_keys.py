"""The folder of keys: what is missing, damaged or of another root is named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cloud_service.errors import SigningError
from cloud_service.signing.channel_keys import load_keys, newest_root
from cloud_service.signing.owner import init_channel, rotate_keys


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    init_channel(tmp_path, "kitchen")
    return rotate_keys(tmp_path, "kitchen", ["timestamp"]).cloud


def _key(folder: Path, role: str) -> Path:
    return next(folder.glob(f"{role}.*.pem"))


def test_newest_root_decides(folder: Path) -> None:
    keys = load_keys(folder)
    assert keys.root.version == 2
    assert keys.signers["timestamp"].public_key.keyid in keys.root.roles["timestamp"].keyids


def test_names_of_roots_are_read_strictly() -> None:
    assert newest_root(["1.root.json", "10.root.json", "9.root.json"]) == 10
    assert newest_root(["01.root.json", "x.root.json", "3.root.json.bak", "99999.root.json", "root.json"]) == 0


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no root": lambda folder: [path.unlink() for path in folder.glob("*.root.json")],
    "a gap": lambda folder: (folder / "1.root.json").unlink(),
    "half a root": lambda folder: (folder / "2.root.json").write_bytes((folder / "2.root.json").read_bytes()[:99]),
    "a changed root": lambda folder: (folder / "2.root.json").write_bytes(
        (folder / "2.root.json").read_bytes().replace(b'"threshold":1', b'"threshold":2', 1)
    ),
    "the old root again": lambda folder: (folder / "2.root.json").write_bytes((folder / "1.root.json").read_bytes()),
    "a root that is too long": lambda folder: (folder / "2.root.json").write_bytes(b" " * 100_000),
    "no key": lambda folder: _key(folder, "targets").unlink(),
    "half a key": lambda folder: _key(folder, "targets").write_bytes(_key(folder, "targets").read_bytes()[:50]),
    "another key": lambda folder: _key(folder, "targets").write_bytes(_key(folder, "snapshot").read_bytes()),
    "an empty key": lambda folder: _key(folder, "snapshot").write_bytes(b""),
    "a folder for a key": lambda folder: (_key(folder, "snapshot").unlink(), _key_folder(folder)),
}


def _key_folder(folder: Path) -> None:
    keyid = load_roots_keyid(folder)
    (folder / f"snapshot.{keyid[:16]}.pem").mkdir()


def load_roots_keyid(folder: Path) -> str:
    from cloud_service.signing.channel_keys import load_roots

    return load_roots(folder)[-1].signed.roles["snapshot"].keyids[0]


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_folder_is_refused_with_the_place(folder: Path, name: str) -> None:
    DAMAGE[name](folder)
    with pytest.raises(SigningError, match=str(folder)) as caught:
        load_keys(folder)
    assert caught.value.hint


def test_key_of_the_root_before_no_longer_counts(folder: Path, tmp_path: Path) -> None:
    """A revoked key that somebody left in the folder signs nothing."""
    before = {path.name for path in folder.iterdir()}
    old = _key(folder, "timestamp")
    content = old.read_bytes()
    rotate_keys(tmp_path, "kitchen", ["timestamp"])
    old.write_bytes(content)
    assert old.name in before
    assert load_keys(folder).signers["timestamp"].public_key.keyid[:16] not in old.name
