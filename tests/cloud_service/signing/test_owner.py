"""Keys on the owner's machine: made once, rotated, and never half."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import UnsignedMetadataError

from cloud_service.errors import InvalidRequestError, SigningError
from cloud_service.signing import owner
from cloud_service.signing.channel_keys import ONLINE_ROLES, load_keys, load_roots
from cloud_service.signing.owner import ROOT_LIFETIME, init_channel, rotate_keys
from loragen.contract.errors import FormatError

NOW = datetime(2026, 11, 29, 12, 0, 0, 5, UTC)


def test_root_key_stays_out_of_the_folder_for_the_cloud(tmp_path: Path) -> None:
    owned = init_channel(tmp_path, "kitchen", NOW)
    names = {path.name.split(".")[0] for path in owned.cloud.iterdir()}
    assert names == {"1", *ONLINE_ROLES}
    assert owned.root.read_bytes() == (owned.cloud / "1.root.json").read_bytes()
    assert len(list(owned.root.parent.glob("root.*.pem"))) == 1
    root = load_keys(owned.cloud).root
    assert root.expires == NOW.replace(microsecond=0) + ROOT_LIFETIME
    assert len({keyid for role in root.roles.values() for keyid in role.keyids}) == 4


def test_private_keys_are_for_their_owner_alone_and_in_no_text(tmp_path: Path) -> None:
    owned = init_channel(tmp_path, "kitchen")
    keys = [*owned.cloud.glob("*.pem"), *owned.root.parent.glob("*.pem")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in keys] == [0o600] * 4
    secret = keys[0].read_text().splitlines()[1]
    assert secret not in repr(load_keys(owned.cloud)) + owned.root.read_text()


def test_keys_that_are_there_are_not_replaced(tmp_path: Path) -> None:
    owned = init_channel(tmp_path, "kitchen")
    before = {path.name: path.read_bytes() for path in owned.cloud.iterdir()}
    with pytest.raises(InvalidRequestError, match="already"):
        init_channel(tmp_path, "kitchen")
    assert {path.name: path.read_bytes() for path in owned.cloud.iterdir()} == before


@pytest.mark.parametrize("name", ["../kitchen", "", "Kitchen", "a/b"])
def test_name_that_is_none_makes_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatError):
        init_channel(tmp_path / "keys", name)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("roles", [[], ["timestamp"], ["targets", "snapshot"], ["root"], list(owner.ROLES)])
def test_rotation_replaces_these_keys_and_no_others(tmp_path: Path, roles: list[str]) -> None:
    """Every version of root is signed by itself and by the one before: `load_roots` verifies it."""
    before = load_keys(init_channel(tmp_path, "kitchen", NOW).cloud).root
    owned = rotate_keys(tmp_path, "kitchen", roles, NOW + timedelta(days=30))
    after = load_keys(owned.cloud).root
    changed = [role for role in owner.ROLES if after.roles[role].keyids != before.roles[role].keyids]
    assert changed == [role for role in owner.ROLES if role in roles]
    assert (after.version, after.expires - before.expires) == (2, timedelta(days=30))
    assert owned.root.read_bytes() == (owned.cloud / "2.root.json").read_bytes()
    assert len(list(owned.cloud.glob("*.pem"))) == 3
    assert len(list(owned.root.parent.glob("root.*.pem"))) == 1
    rotate_keys(tmp_path, "kitchen", roles)
    assert len(load_roots(owned.cloud)) == 3


def test_rotation_without_the_root_key_is_refused(tmp_path: Path) -> None:
    owned = init_channel(tmp_path, "kitchen")
    next(owned.root.parent.glob("root.*.pem")).unlink()
    with pytest.raises(SigningError, match="the key of root"):
        rotate_keys(tmp_path, "kitchen", ["timestamp"])
    assert load_keys(owned.cloud).root.version == 1


def test_another_owners_root_is_no_successor(tmp_path: Path) -> None:
    mine, other = init_channel(tmp_path / "a", "kitchen"), init_channel(tmp_path / "b", "kitchen")
    rotate_keys(tmp_path / "b", "kitchen", ["root"])
    (mine.cloud / "2.root.json").write_bytes((other.cloud / "2.root.json").read_bytes())
    with pytest.raises(SigningError) as caught:
        load_roots(mine.cloud)
    assert isinstance(caught.value.__cause__, UnsignedMetadataError)


@pytest.mark.parametrize("survives", range(5))
def test_kill_during_a_rotation_leaves_a_folder_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    """Killed before each write in turn, and rotated again afterwards."""
    owned = init_channel(tmp_path, "kitchen")
    steps = 0

    def killed(write):  # type: ignore[no-untyped-def]
        def step(*arguments):  # type: ignore[no-untyped-def]
            nonlocal steps
            steps += 1
            if steps > survives:
                raise KeyboardInterrupt
            write(*arguments)

        return step

    with monkeypatch.context() as patched:
        patched.setattr(owner, "_write_private", killed(owner._write_private))
        patched.setattr(owner, "write_atomic", killed(owner.write_atomic))
        with pytest.raises(KeyboardInterrupt):
            rotate_keys(tmp_path, "kitchen", owner.ROLES)
    load_keys(owned.cloud)
    rotate_keys(tmp_path, "kitchen", owner.ROLES)
    assert len(list(owned.cloud.glob("*.pem"))) == 3


def test_unknown_role_and_unknown_channel_are_refused(tmp_path: Path) -> None:
    init_channel(tmp_path, "kitchen")
    with pytest.raises(InvalidRequestError, match="mirrors"):
        rotate_keys(tmp_path, "kitchen", ["mirrors"])
    with pytest.raises(SigningError):
        rotate_keys(tmp_path, "cellar", [])
