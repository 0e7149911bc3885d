"""What is remembered over a restart, and what is better forgotten."""

from pathlib import Path

import pytest

from edge_runtime.errors import UpdateError
from edge_runtime.updates.state import DeviceState, Entry, Failure, Installed, StateFile
from edge_runtime.updates.state_store import MAX_MESSAGE_CHARS, StateStore, describe
from tests.edge_runtime.fakes import FakeClock


async def test_restart_forgets_refusals_and_nothing_else(tmp_path: Path) -> None:
    """The type, the base GGUF or the program may be others now: what was refused may be taken."""
    refused = Installed("a" * 64, "adapter", 1, 1, message="kept as run-time adapter: x", merge_refused=True)
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


@pytest.mark.parametrize("error", [UpdateError("\0" * 90_000, "ask again"), ValueError("\0" * 90_000)])
def test_message_of_any_length_is_cut(error: Exception) -> None:
    """It quotes foreign bytes: a few dozen long ones made the state too large to be loaded again."""
    assert describe(error) == describe(error)[: MAX_MESSAGE_CHARS - 1] + "…"
    assert describe(UpdateError("short", "ask again")) == "short; hint: ask again"
