"""What a new slot must do before it serves, and what is no fault of it."""

from pathlib import Path

import pytest

from edge_runtime.errors import CanaryError, CanaryUnfinishedError
from edge_runtime.serving.slots import Revision, SlotTable
from edge_runtime.updates.first_answer import verify_answers
from tests.edge_runtime.fakes import FakeLoader


async def test_slot_that_is_slow_now_is_not_refused_for_good(tmp_path: Path) -> None:
    """An answer that does not come in time, and one of NaN, are different errors."""
    loader = FakeLoader()
    slots = SlotTable(loader, max_resident=2, max_queue=4)
    path = tmp_path / "slot.gguf"
    path.write_text("one NaN")
    slot = await slots.prepare(Revision("router", "f" * 64, "merged", path))
    try:
        loader.hold.clear()
        with pytest.raises(CanaryUnfinishedError):
            await verify_answers(slot, 0.05)
        loader.hold.set()
        with pytest.raises(CanaryError):
            await verify_answers(slot)
    finally:
        loader.hold.set()
        await slots.discard(slot)
