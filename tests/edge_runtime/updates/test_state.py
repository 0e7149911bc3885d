"""The state file: round trips, refusals, and writes that are whole or not at all."""

import contextlib
import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import StateError
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.updates.state import (
    MAX_STATE_BYTES,
    DeviceState,
    Entry,
    Failure,
    Installed,
    MergeSummary,
    StateFile,
    encode_state,
    parse_state,
)
from tests.full_disk import read_only_disk

STATE = DeviceState(
    edge_model_digest="a" * 64,
    channel="default",
    channel_version=3,
    entries={
        "router": Entry(
            Installed(
                "b" * 64, "merged", 120, 1_700_000_000, MergeSummary(Quantization.Q4_K, "requested", 0.5, 0.98, 0.99)
            ),
            previous=Installed("c" * 64, "adapter", 120, 1_600_000_000, message="kept", merge_refused=True),
            rolled_back_from="d" * 64,
            pinned=True,
        )
    },
    failures={"other": Failure("e" * 64, "mismatch", "another base", 2, True)},
)


def test_state_comes_back_as_it_was() -> None:
    assert parse_state(encode_state(STATE)) == STATE


def changed(path: str, value: object) -> bytes:
    """The state's JSON with one value replaced."""
    document = json.loads(encode_state(STATE))
    *way, last = path.split("/")
    place = document
    for step in way:
        place = place[step]
    place[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 2),
        ("state/unknown", 1),
        ("state/channel", "../x"),
        ("state/entries/router/active/bundle_id", "../../etc/passwd"),
        ("state/entries/router/previous/bundle_id", "x"),
        ("state/entries/router/rolled_back_from", ""),
        ("state/entries/router/active/state", "running"),
        ("state/entries/router/active/tokens_saved_per_call", "120"),
        ("state/entries/router/active/merge/quantization", "../../x"),
        ("state/entries/..", {"active": None}),
        ("state/failures/other/permanent", 1),
        ("state/entries/router/pinned", 1),
    ],
)
def test_state_that_we_did_not_write_is_refused(path: str, value: object) -> None:
    with pytest.raises(StateError):
        parse_state(changed(path, value))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(StateError):
        parse_state(data)


@given(st.integers(0, len(encode_state(STATE)) - 1), st.integers(0, 255))
def test_one_changed_byte_raises_nothing_else(position: int, byte: int) -> None:
    data = bytearray(encode_state(STATE))
    data[position] = byte
    with contextlib.suppress(StateError):
        parse_state(bytes(data))


def test_state_before_the_last_write_is_kept(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json")
    first = DeviceState(None, "default")
    file.store(first)
    file.store(STATE)
    assert file.load() == (STATE, "")
    (tmp_path / "state.json").write_bytes(b"\0" * 10)
    assert file.peek()[0] == first
    state, problem = file.load()
    assert state == first
    assert "moved aside" in problem


def test_state_is_stored_where_files_cannot_have_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT, exFAT and some mounts of containers have no hard links."""

    def cannot(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", cannot)
    file = StateFile(tmp_path / "state.json")
    first = DeviceState(None, "default")
    file.store(first)
    file.store(STATE)
    assert file.load() == (STATE, "")
    (tmp_path / "state.json").unlink()
    assert file.load() == (first, "")


def test_crash_between_the_two_renames_leaves_a_whole_state(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json")
    file.store(STATE)
    file.store(STATE)
    (tmp_path / "state.json").unlink()
    assert file.load() == (STATE, "")


def test_corrupt_files_are_moved_aside_and_never_deleted(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json")
    (tmp_path / "state.json").write_bytes(b"first")
    (tmp_path / "state.json.bak").write_bytes(b"second")
    state, problem = file.load()
    assert state is None
    assert problem.count("moved aside") == 2
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"first", b"second"]


def test_state_that_a_disk_could_not_read_for_a_moment_is_used_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device without a cloud knows nothing else of what served."""
    file = StateFile(tmp_path / "state.json")
    file.store(DeviceState("a" * 64, "older"))
    file.store(STATE)

    def fail(_path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", fail)
        state, problem = file.load()
    assert state is None
    assert problem.count("Input/output error") == 2
    (tmp_path / "state.json.corrupt-1").write_bytes(b"of long ago")
    assert file.load() == (STATE, "")


def test_corrupt_file_on_a_read_only_disk_is_passed_over(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json")
    file.store(STATE)
    file.store(STATE)
    (tmp_path / "state.json").write_bytes(b"garbage")
    with read_only_disk():
        state, problem = file.load()
    assert state == STATE
    assert "cannot be moved aside: Read-only file system" in problem


def test_state_of_another_edge_model_is_kept_until_that_model_is_back(tmp_path: Path) -> None:
    """The newest of it, with the states of other models before and after it, and over a second wrong start."""
    file = StateFile(tmp_path / "state.json")
    file.store(DeviceState("a" * 64, "older"))
    file.store(STATE)
    state, problem = file.load_of("f" * 64)
    assert state is None
    assert f"moved aside to state.json.of-{'a' * 64}" in problem
    assert file.load_of("f" * 64) == (None, "")
    assert file.has_remains()
    other = DeviceState(None, "default")
    file.store(other)
    assert file.load_of("a" * 64)[0] == STATE
    assert file.load_of("a" * 64) == (STATE, "")
    assert file.load_of(None)[0] == other


def test_state_of_another_edge_model_stays_where_it_is_on_a_read_only_disk(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json")
    file.store(STATE)
    with read_only_disk():
        state, problem = file.load_of(None)
    assert state is None
    assert "cannot be moved aside" in problem
    assert file.load() == (STATE, "")


def test_missing_state_is_no_error(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json")
    assert file.load() == file.load_of(None) == (None, "")
    assert not file.has_remains()


def test_state_that_could_not_be_loaded_again_is_not_stored(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json")
    file.store(STATE)
    failure = Failure("e" * 64, "x", "x" * MAX_STATE_BYTES, 1, True)
    with pytest.raises(OSError, match="at most"):
        file.store(STATE.with_failure("other", failure))
    assert file.load() == (STATE, "")


def test_failed_write_leaves_the_state_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StateFile(tmp_path / "state.json")
    file.store(STATE)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge_runtime.updates.state.write_atomic", fail)
    with pytest.raises(OSError, match="No space"):
        file.store(DeviceState(None, "default"))
    assert file.load() == (STATE, "")


def test_damage_between_two_writes_does_not_become_the_state_before(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json")
    first = DeviceState(None, "default")
    file.store(first)
    (tmp_path / "state.json").write_bytes(b"\0" * 10)
    file.store(STATE)
    (tmp_path / "state.json").write_bytes(b"\0" * 10)
    assert file.load()[0] == first
