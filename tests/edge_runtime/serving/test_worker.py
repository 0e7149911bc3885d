"""One thread in front of one engine."""

import asyncio

import pytest

from edge_runtime.errors import BusyError, InvalidRequestError, ModelOutputError
from edge_runtime.serving.completion import CompletionRequest, TextPrompt
from edge_runtime.serving.engine import GREEDY, Engine
from edge_runtime.serving.events import Event, Finished
from edge_runtime.serving.worker import Job, Worker
from tests.edge_runtime.fakes import FakeEngine, FakeLoader, eventually

REQUEST = CompletionRequest(TextPrompt("hi"), GREEDY, 10)


def make(answer: list[bytes], max_queue: int = 3) -> tuple[Worker, FakeEngine, FakeLoader]:
    loader = FakeLoader()
    engine = FakeEngine(answer, loader)
    return Worker(engine, max_queue, "test"), engine, loader


async def read(job: Job) -> list[Event]:
    return [event async for event in job.events()]


async def test_jobs_are_answered_in_turn() -> None:
    worker, engine, _ = make([b"a", b"b"])
    jobs = [worker.submit(REQUEST) for _ in range(3)]
    for job in jobs:
        assert (await read(job))[-1] == Finished("stop", 2)
    assert len(engine.prefilled) == 3
    await asyncio.to_thread(worker.close)
    assert engine.closed


async def test_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    worker, _, loader = make([b"a"])
    loader.hold.clear()
    jobs = [worker.submit(REQUEST) for _ in range(3)]
    with pytest.raises(BusyError) as caught:
        worker.submit(REQUEST)
    assert caught.value.retry_after_seconds >= 1
    assert worker.queue_depth == 3
    loader.hold.set()
    for job in jobs:
        await read(job)
    assert (await read(worker.submit(REQUEST)))[-1] == Finished("stop", 1)
    await asyncio.to_thread(worker.close)


async def test_cancelled_job_ends_and_the_next_is_answered() -> None:
    worker, _, loader = make([b"a"] * 1000)
    loader.step.clear()
    first, second = worker.submit(REQUEST), worker.submit(CompletionRequest(TextPrompt("x"), GREEDY, 1))
    first.cancel()
    loader.step.set()
    assert (await read(second))[-1] == Finished("length", 1)
    await asyncio.to_thread(worker.close)


async def test_cancelled_jobs_give_their_places_in_the_queue_back() -> None:
    """Behind one long answer, clients that come and go do not fill it; and what they sent is not kept."""
    worker, engine, loader = make([b"a"])
    loader.hold.clear()
    running = worker.submit(REQUEST)
    await eventually(lambda: engine.prefilled)
    for _ in range(10):
        gone = worker.submit(REQUEST)
        gone.cancel()
        assert worker.queue_depth == 1
        assert await read(gone) == []
    waiting = [worker.submit(REQUEST) for _ in range(2)]
    with pytest.raises(BusyError, match="3 requests are waiting"):
        worker.submit(REQUEST)
    loader.hold.set()
    for job in (running, *waiting):
        assert (await read(job))[-1] == Finished("stop", 1)
    assert len(engine.prefilled) == 3
    await asyncio.to_thread(worker.close)


async def test_closing_ends_the_running_job_and_refuses_the_waiting_ones() -> None:
    worker, engine, loader = make([b"a"] * 1000)
    loader.hold.clear()
    running, waiting = worker.submit(REQUEST), worker.submit(REQUEST)
    closing = asyncio.create_task(asyncio.to_thread(worker.close))
    await eventually(lambda: worker.is_closing)
    loader.hold.set()
    await closing
    for job in (running, waiting):
        with pytest.raises(BusyError, match="shutting down"):
            await read(job)
    assert engine.closed
    with pytest.raises(BusyError):
        worker.submit(REQUEST)


async def test_failure_of_one_job_is_not_the_next_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """A refused answer and even a bug end their own request only; the client sees no inner detail of a bug."""
    worker, engine, _ = make([b"NaN"])
    with pytest.raises(ModelOutputError, match="not finite"):
        await read(worker.submit(REQUEST))
    engine.words = [b"bug"]
    with pytest.raises(ModelOutputError, match="the device's log") as caught:
        await read(worker.submit(REQUEST))
    assert "a bug" not in str(caught.value)
    logged = capsys.readouterr().out
    assert "RuntimeError at" in logged
    assert "a bug" not in logged, "its message may quote the prompt"
    engine.words = [b"fine"]
    assert (await read(worker.submit(REQUEST)))[-1] == Finished("stop", 1)
    await asyncio.to_thread(worker.close)


async def test_engine_is_called_in_turn_and_its_failure_is_the_callers() -> None:
    worker, engine, _ = make([b"a"])
    job = worker.submit(REQUEST)
    assert await worker.call(lambda engine: engine.tokenize("hi")) == engine.tokenize("hi")
    assert (await read(job))[-1] == Finished("stop", 1)

    def fail(engine: Engine) -> None:
        raise InvalidRequestError("no")

    with pytest.raises(InvalidRequestError):
        await worker.call(fail)
    await asyncio.to_thread(worker.close)
    with pytest.raises(BusyError):
        await worker.call(fail)
