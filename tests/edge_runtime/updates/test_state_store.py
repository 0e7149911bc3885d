"""What is remembered over a restart, and what is better forgotten."""

from pathlib import Path

from edge_runtime.errors import BaseGgufError, UpdateError
from edge_runtime.updates.state import DeviceState, Entry, Failure, Installed, StateFile
from edge_runtime.updates.state_store import StateStore
from tests.edge_runtime.fakes import LONG, FakeClock
from tests.full_disk import read_only_disk


async def test_restart_forgets_refusals_and_nothing_else(tmp_path: Path) -> None:
    """The type, the base GGUF or the program may be others now: what was refused may be taken."""
    refused = Installed("a" * 64, "adapter", 1, 1, message="stays a run-time adapter: x", merge_refused=True)
    passing, permanent = (Failure("b" * 64, "x", "x", 3, is_permanent) for is_permanent in (False, True))
    file = StateFile(tmp_path / "state.json")
    file.store(
        DeviceState(
            None,
            "default",
            entries={"router": Entry(refused, previous=refused)},
            failures={"passing": passing, "permanent": permanent},
        )
    )
    state_store = StateStore(file, DeviceState(None, "default"), FakeClock(), 10.0, lambda: 0.5)
    await state_store.load()
    entry = state_store.state.entries["router"]
    assert entry.previous is not None
    assert not entry.active.merge_refused
    assert not entry.previous.merge_refused
    assert state_store.state.failures == {"passing": passing}


async def test_state_that_the_disk_refused_is_written_when_there_is_room_again(tmp_path: Path) -> None:
    """Without waiting for the next change."""
    file = StateFile(tmp_path / "state.json")
    state_store = StateStore(file, DeviceState(None, "default"), FakeClock(), 10.0, lambda: 0.5)
    with read_only_disk():
        await state_store.set_channel_version(7)
        assert "cannot be written" in state_store.problem
    assert file.load()[0] is None
    await state_store.write_again()
    assert state_store.problem == ""
    written = file.load()[0]
    assert written is not None
    assert written.channel_version == 7
    (tmp_path / "state.json").unlink()
    await state_store.write_again()
    assert not (tmp_path / "state.json").exists()


async def test_only_what_may_end_better_is_tried_again(tmp_path: Path) -> None:
    clock = FakeClock()
    state_store = StateStore(StateFile(tmp_path / "state.json"), DeviceState(None, "default"), clock, 10.0, lambda: 0.5)
    for name, error in (("passing", UpdateError("x")), ("final", BaseGgufError("x"))):
        await state_store.fail(name, "a" * 64, error)
        assert not state_store.may_try(name, "a" * 64)
    clock.advance(LONG)
    assert state_store.may_try("passing", "a" * 64)
    assert not state_store.may_try("final", "a" * 64)
    assert state_store.may_try("final", "b" * 64)
