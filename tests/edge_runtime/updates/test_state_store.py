"""What is remembered over a restart, and what is better forgotten."""

from pathlib import Path

from edge_runtime.updates.state import DeviceState, Entry, Failure, Installed, StateFile
from edge_runtime.updates.state_store import StateStore
from tests.edge_runtime.fakes import FakeClock


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
