"""A job's events cross from a worker's thread to the event loop, in order, and end once."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from edge_runtime.errors import ModelOutputError
from edge_runtime.serving.completion import CompletionRequest, TextPrompt
from edge_runtime.serving.completion_job import CompletionJob
from edge_runtime.serving.engine import GREEDY
from edge_runtime.serving.events import CallStarted, Event, Finished, TextPiece

REQUEST = CompletionRequest(TextPrompt("hi"), GREEDY, 10)


async def test_events_come_over_in_order_from_another_thread() -> None:
    job = CompletionJob(REQUEST, 0)
    sent: list[Event] = [TextPiece("a"), TextPiece("b"), Finished("stop", 2)]

    def work() -> None:
        for event in sent:
            job.put(event)
        job.end()

    worker = threading.Thread(target=work)
    worker.start()
    assert [event async for event in job.events()] == sent
    worker.join()


@pytest.mark.parametrize(("is_streamed", "wakes"), [(True, 5), (False, 3)])
async def test_pieces_of_a_whole_answer_wake_the_loop_once_for_all(
    monkeypatch: pytest.MonkeyPatch, is_streamed: bool, wakes: int
) -> None:
    """All but the first one, which tells how long it took."""
    loop, woken = asyncio.get_running_loop(), []
    wake = loop.call_soon_threadsafe

    def call_soon_threadsafe(callback: Callable[..., object], *args: object) -> asyncio.Handle:
        woken.append(args)
        return wake(callback, *args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", call_soon_threadsafe)
    job = CompletionJob(REQUEST, 0, is_streamed)
    sent: list[Event] = [TextPiece("a"), TextPiece("b"), CallStarted("f"), Finished("stop", 2)]
    for event in sent:
        job.put(event)
    job.end()
    assert [event async for event in job.events()] == sent
    assert len(woken) == wakes


@pytest.mark.parametrize("is_streamed", [True, False])
async def test_error_is_raised_after_what_came_before_it(is_streamed: bool) -> None:
    job = CompletionJob(REQUEST, 0, is_streamed)
    job.put(TextPiece("a"))
    job.put(TextPiece("b"))
    job.end(ModelOutputError("not finite"))
    events = aiter(job.events())
    assert [await anext(events), await anext(events)] == [TextPiece("a"), TextPiece("b")]
    with pytest.raises(ModelOutputError):
        await anext(events)


async def test_job_that_was_abandoned_says_so_and_counts_all_its_answers() -> None:
    job = CompletionJob(replace(REQUEST, answers=3), 0)
    assert job.answers == 3
    assert not job.is_cancelled()
    job.cancel()
    assert job.is_cancelled()


def test_job_whose_loop_is_closed_is_abandoned() -> None:
    async def make() -> CompletionJob:
        return CompletionJob(REQUEST, 0)

    job = asyncio.run(make())
    job.put(TextPiece("a"))
    assert job.is_cancelled()
