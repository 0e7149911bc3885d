"""Loading, swapping, draining and unloading, with engines that hold still when told to."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.errors import BusyError, ModelLoadError, UnknownModelError
from edge_runtime.serving.completion import CompletionRequest, TextPrompt
from edge_runtime.serving.engine import GREEDY
from edge_runtime.serving.events import TextPiece
from edge_runtime.serving.slots import Revision, Slot, SlotTable
from tests.edge_runtime.contracts import DESKS, SPELLED
from tests.edge_runtime.fakes import FakeEngine, FakeLoader, eventually


@pytest.fixture
def loader() -> FakeLoader:
    return FakeLoader()


@pytest.fixture
async def slots(loader: FakeLoader) -> AsyncIterator[SlotTable]:
    table = SlotTable(loader, max_resident=2, max_queue=4, room_wait_seconds=0.05)
    yield table
    loader.hold.set()
    await table.close()
    assert loader.open == 0


def revision(directory: Path, name: str, text: str) -> Revision:
    """A revision whose engine answers with `text`."""
    path = directory / f"{name}-{text.replace(' ', '-')}.gguf"
    path.write_text(text)
    return Revision(name, "f" * 64, "merged", path)


async def answer(slot: Slot) -> str:
    job = slot.worker.submit(CompletionRequest(TextPrompt("hi"), GREEDY, 10))
    return "".join([event.text async for event in job.events() if isinstance(event, TextPiece)])


async def ask(slots: SlotTable, name: str) -> str:
    async with slots.lease(name) as slot:
        return await answer(slot)


async def test_unknown_name_says_what_is_served(slots: SlotTable, tmp_path: Path) -> None:
    slots.register(revision(tmp_path, "router", "one"))
    with pytest.raises(UnknownModelError) as caught:
        await ask(slots, "nobody")
    assert "router" in caught.value.hint


async def test_registered_slot_is_loaded_by_the_first_request(
    slots: SlotTable, loader: FakeLoader, tmp_path: Path
) -> None:
    slots.register(revision(tmp_path, "router", "one"))
    assert not loader.engines
    assert await asyncio.gather(*(ask(slots, "router") for _ in range(3))) == ["one "] * 3
    assert len(loader.engines) == 1


async def test_request_in_flight_finishes_on_the_slot_it_started_on(
    slots: SlotTable, loader: FakeLoader, tmp_path: Path
) -> None:
    """The swap waits for nobody, the old engine closes when its last request ends, and not before."""
    slots.activate(await slots.prepare(revision(tmp_path, "router", "old words")))
    loader.hold.clear()
    running = asyncio.create_task(ask(slots, "router"))
    await eventually(lambda: loader.engines[0].prefilled)
    candidate = await slots.prepare(revision(tmp_path, "router", "new words"))
    slots.activate(candidate)
    assert slots.revisions()["router"] is candidate.revision
    assert not loader.engines[0].closed
    loader.hold.set()
    assert await ask(slots, "router") == "new words "
    assert await running == "old words "
    await slots.drained()
    assert loader.engines[0].closed
    assert not loader.engines[1].closed


async def test_removed_slot_drains(slots: SlotTable, loader: FakeLoader, tmp_path: Path) -> None:
    slots.activate(await slots.prepare(revision(tmp_path, "router", "one two")))
    async with slots.lease("router") as slot:
        slots.remove("router")
        with pytest.raises(UnknownModelError):
            await ask(slots, "router")
        assert await answer(slot) == "one two "
        assert slots.paths_in_use() == {slot.revision.model}
    await slots.drained()
    assert slots.paths_in_use() == set()


async def test_least_recently_used_slot_makes_room(slots: SlotTable, loader: FakeLoader, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        slots.register(revision(tmp_path, name, name))
    for name in ("a", "b", "a", "c"):
        assert await ask(slots, name) == f"{name} "
    assert [slots.is_resident(name) for name in "abc"] == [True, False, True]
    assert await ask(slots, "b") == "b "
    assert loader.most_open == 2


async def test_candidate_may_be_loaded_beside_a_full_table(
    slots: SlotTable, loader: FakeLoader, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        slots.activate(await slots.prepare(revision(tmp_path, name, name)))
    candidate = await slots.prepare(revision(tmp_path, "c", "c"))
    assert loader.open == 3
    slots.activate(candidate)
    await slots.drained()
    assert loader.open == 2
    assert not slots.is_resident("a")


async def test_request_waits_for_room_and_is_then_refused(slots: SlotTable, loader: FakeLoader, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        slots.register(revision(tmp_path, name, name))
    async with slots.lease("a"):
        async with slots.lease("b"):
            with pytest.raises(BusyError, match="all 2 loaded models are busy"):
                await ask(slots, "c")
            slots._room_wait_seconds = 30.0
            waiting = asyncio.create_task(ask(slots, "c"))
            await asyncio.sleep(0.01)
        assert await waiting == "c "
    assert loader.most_open == 2


async def test_swap_while_a_slot_is_being_loaded_answers_with_the_new_one(
    slots: SlotTable, loader: FakeLoader, tmp_path: Path
) -> None:
    """What was loaded for a request is out of date by the time it is there, and is not used."""
    old, new = revision(tmp_path, "router", "old"), revision(tmp_path, "router", "new")
    slots.register(old)
    request = asyncio.create_task(ask(slots, "router"))
    await asyncio.sleep(0)
    slots.register(new)
    assert await request == "new "


async def test_request_that_waits_for_room_is_answered_by_what_serves_by_then(slots: SlotTable, tmp_path: Path) -> None:
    """The revision that served when it came may be gone from the disk when there is room."""
    slots._room_wait_seconds = 30.0
    old, new = revision(tmp_path, "router", "old"), revision(tmp_path, "router", "new")
    for name in ("a", "b"):
        slots.register(revision(tmp_path, name, name))
    slots.register(old)
    async with slots.lease("a"):
        async with slots.lease("b"):
            requests = [asyncio.create_task(ask(slots, "router")) for _ in range(4)]
            await asyncio.sleep(0.01)
            slots.activate(await slots.prepare(new))
            assert old.model not in slots.paths_in_use()
            old.model.unlink()
        assert await asyncio.gather(*requests) == ["new "] * 4
    assert slots.take_broken() == []


class WaitingLoader(FakeLoader):
    """Opens a file only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Path] = []
        self.go, self.go_late = threading.Event(), threading.Event()
        self.late: Path | None = None  # this file waits for the second event

    def load(self, model: Path, adapter: Path | None) -> FakeEngine:
        self.asked.append(model)
        (self.go_late if model == self.late else self.go).wait(10)
        return super().load(model, adapter)


async def test_files_that_are_about_to_be_loaded_are_in_use(tmp_path: Path) -> None:
    """Whether a request or an update loads them, and whatever serves meanwhile."""
    loader = WaitingLoader()
    table = SlotTable(loader, max_resident=2, max_queue=4)
    old, candidate = revision(tmp_path, "router", "old"), revision(tmp_path, "router", "new")
    table.register(old)
    loader.late = old.model  # a request that finds its file out of date wants one that serves
    request, preparing = asyncio.create_task(ask(table, "router")), asyncio.create_task(table.prepare(candidate))
    await eventually(lambda: len(loader.asked) == 2)
    table.remove("router")
    assert table.paths_in_use() == {old.model, candidate.model}
    loader.go.set()
    table.activate(await preparing)
    loader.go_late.set()
    assert await request == "new "
    await table.drained()
    assert table.paths_in_use() == {candidate.model}
    await table.close()


async def test_file_that_vanishes_while_it_is_out_of_date_breaks_nothing(tmp_path: Path) -> None:
    loader = WaitingLoader()
    table = SlotTable(loader, max_resident=2, max_queue=4)
    old, new = revision(tmp_path, "router", "old"), revision(tmp_path, "router", "new")
    table.register(old)
    request = asyncio.create_task(ask(table, "router"))
    await eventually(lambda: loader.asked)
    table.register(new)
    old.model.unlink()
    loader.go.set()
    assert await request == "new "
    assert table.take_broken() == []
    await table.close()


async def test_file_that_does_not_load_is_remembered_as_broken(slots: SlotTable, tmp_path: Path) -> None:
    broken = revision(tmp_path, "router", "damaged")
    slots.register(broken)
    calls: list[bool] = []
    slots.on_broken = lambda: calls.append(True)
    with pytest.raises(ModelLoadError, match="damaged"):
        await ask(slots, "router")
    assert slots.take_broken() == [broken]
    assert slots.take_broken() == []
    assert calls == [True]


async def test_discarded_candidate_is_closed(slots: SlotTable, loader: FakeLoader, tmp_path: Path) -> None:
    await slots.discard(await slots.prepare(revision(tmp_path, "router", "one")))
    assert loader.engines[0].closed
    assert slots.revisions() == {}


async def test_many_swaps_under_load_lose_no_request(slots: SlotTable, loader: FakeLoader, tmp_path: Path) -> None:
    """Every answer is whole and comes from one revision."""
    texts = [f"answer {count}" for count in range(8)]
    slots.activate(await slots.prepare(revision(tmp_path, "router", texts[0])))
    answers: list[str] = []
    done = asyncio.Event()

    async def client() -> None:
        while not done.is_set():
            try:
                answers.append(await ask(slots, "router"))
            except BusyError:
                await asyncio.sleep(0.001)

    clients = [asyncio.create_task(client()) for _ in range(3)]
    for text in texts[1:]:
        slots.activate(await slots.prepare(revision(tmp_path, "router", text)))
        await asyncio.sleep(0.01)
    done.set()
    await asyncio.gather(*clients)
    await slots.drained()
    assert len(answers) > 8
    assert {text.strip() for text in answers} <= set(texts)
    assert loader.open == 1


async def test_revision_knows_what_its_file_says(slots: SlotTable, loader: FakeLoader, tmp_path: Path) -> None:
    """Once it is loaded, or as it was registered."""
    first = revision(tmp_path, "router", "one")
    loader.answers[first.model.name] = DESKS
    loader.residual_prompts[first.model.name] = "Sort each mail."
    slots.activate(await slots.prepare(first))
    slots.register(replace(revision(tmp_path, "other", "two"), answer=SPELLED))
    found = slots.revisions()
    assert {name: each.answer for name, each in found.items()} == {"router": DESKS, "other": SPELLED}
    assert {name: each.residual_prompt for name, each in found.items()} == {"router": "Sort each mail.", "other": ""}


async def test_engine_that_was_loaded_for_a_task_that_is_gone_is_closed(tmp_path: Path) -> None:
    """Its file is in use until then, and closing the table waits for it."""
    loader = WaitingLoader()
    table = SlotTable(loader, max_resident=2, max_queue=4)
    candidate = revision(tmp_path, "router", "new")
    preparing = asyncio.create_task(table.prepare(candidate))
    await eventually(lambda: loader.asked)
    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preparing
    assert table.paths_in_use() == {candidate.model}
    closing = asyncio.create_task(table.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    loader.go.set()
    await closing
    assert [engine.closed for engine in loader.engines] == [True]
    assert table.paths_in_use() == set()


async def test_load_that_fails_for_a_task_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    loader = WaitingLoader()
    table = SlotTable(loader, max_resident=2, max_queue=4)
    preparing = asyncio.create_task(table.prepare(revision(tmp_path, "router", "damaged")))
    await eventually(lambda: loader.asked)
    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preparing
    loader.go.set()
    await table.close()
    assert loader.open == 0


async def test_table_counts_what_its_slots_answer_and_what_waits(
    slots: SlotTable, loader: FakeLoader, tmp_path: Path
) -> None:
    loader.sequences = 2
    slots.activate(await slots.prepare(revision(tmp_path, "router", "one")))
    loader.hold.clear()
    requests = [asyncio.create_task(ask(slots, "router")) for _ in range(3)]
    await eventually(lambda: slots.requests_waiting() == 1 and slots.sequences_in_use() == 2)
    assert slots.sequences() == 2
    loader.hold.set()
    assert await asyncio.gather(*requests) == ["one "] * 3
    assert (slots.requests_waiting(), slots.sequences_in_use()) == (0, 0)


async def test_idle_slot_is_unloaded_and_loaded_again_by_the_next_request(
    slots: SlotTable, loader: FakeLoader, tmp_path: Path
) -> None:
    slots.activate(await slots.prepare(revision(tmp_path, "router", "one")))
    async with slots.lease("router") as slot:
        slots.unload("router")
        assert slots.is_resident("router")
        assert await answer(slot) == "one "
    slots.unload("router")
    slots.unload("nobody")
    await slots.drained()
    assert (loader.open, slots.resident_count()) == (0, 0)
    assert await ask(slots, "router") == "one "
