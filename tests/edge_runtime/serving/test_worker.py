"""One thread in front of one engine: its requests, one after another and together."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from edge_runtime.errors import BusyError, InvalidRequestError, ModelOutputError
from edge_runtime.serving.completion import CompletionRequest, TextPrompt
from edge_runtime.serving.completion_job import CompletionJob
from edge_runtime.serving.engine import GREEDY, Engine, Sampling
from edge_runtime.serving.events import Event, Finished
from edge_runtime.serving.worker import DEFAULT_LIMITS, RequestLimits, Worker
from tests.edge_runtime.fakes import FakeEngine, FakeLoader, eventually

REQUEST = CompletionRequest(TextPrompt("hi"), GREEDY, 10)


def make(
    answer: list[bytes], max_queue: int = 3, sequences: int = 1, limits: RequestLimits = DEFAULT_LIMITS
) -> tuple[Worker, FakeEngine, FakeLoader]:
    loader = FakeLoader()
    engine = FakeEngine(answer, loader, sequences=sequences)
    return Worker(engine, max_queue, "test", limits), engine, loader


async def read(job: CompletionJob) -> list[Event]:
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
    assert worker.running + worker.waiting == 3
    loader.hold.set()
    for job in jobs:
        await read(job)
    assert (await read(worker.submit(REQUEST)))[-1] == Finished("stop", 1)
    await asyncio.to_thread(worker.close)


async def test_client_that_fills_the_queue_makes_room_for_one_that_asks_little() -> None:
    worker, _, loader = make([b"a"], max_queue=4)
    loader.hold.clear()
    many = [worker.submit(REQUEST, client="much") for _ in range(4)]
    few = [worker.submit(REQUEST, client="little") for _ in range(2)]
    for client in ("little", "much"):  # they have the same now
        with pytest.raises(BusyError, match="4 requests are waiting"):
            worker.submit(REQUEST, client=client)
    for job in many[2:]:
        with pytest.raises(BusyError) as caught:
            await read(job)
        assert caught.value.retry_after_seconds >= 1
    loader.hold.set()
    for job in (*many[:2], *few):
        assert (await read(job))[-1] == Finished("stop", 1)
    await asyncio.to_thread(worker.close)


@pytest.mark.parametrize("sequences", [1, 2])
async def test_clients_take_turns_however_much_one_asks(sequences: int) -> None:
    worker, engine, loader = make([b"a"], max_queue=16, sequences=sequences)
    loader.hold.clear()
    asked = [
        f"{client} {number}" for client, count in (("much", 6), ("little", 2), ("single", 1)) for number in range(count)
    ]
    jobs = []
    for text in asked:
        jobs.append(worker.submit(CompletionRequest(TextPrompt(text), GREEDY, 10), client=text[:-2]))
        await eventually(lambda: worker.running == min(len(jobs), sequences))
    loader.hold.set()
    for job in jobs:
        await read(job)
    clients = {tuple(engine.tokenize(client)): client[:-2] for client in asked}
    order = [clients[tuple(prompt)] for prompt in engine.prefilled]
    assert order[0] == "much"  # nobody else was there
    turn = order[sequences:]  # those behind what began at once
    assert set(turn[:2]) == {"little", "single"}
    assert turn.index("little", turn.index("little") + 1) <= 3
    assert set(turn[5:]) <= {"much"}
    await asyncio.to_thread(worker.close)


async def test_client_that_stays_has_its_turn_beside_those_that_come_and_go() -> None:
    """Three ask one thing at a time, and so are gone whenever one is chosen; one has two requests waiting always."""
    worker, _, _ = make([b"a"] * 8, max_queue=16)
    answered: Counter[str] = Counter()

    async def ask(client: str) -> None:
        while answered.total() < 40:
            await read(worker.submit(REQUEST, client=client))
            answered[client] += 1

    await asyncio.gather(*(ask(client) for client in ("one", "two", "three", "stays", "stays")))
    assert min(answered.values()) >= 8, answered
    await asyncio.to_thread(worker.close)


async def test_client_whose_requests_all_run_keeps_no_other_from_making_room() -> None:
    worker, _, loader = make([b"a"], max_queue=7, sequences=4)
    loader.hold.clear()
    running = [worker.submit(REQUEST, client="runs") for _ in range(4)]
    await eventually(lambda: worker.running == 4)
    waiting = [worker.submit(REQUEST, client="waits") for _ in range(3)]
    new = worker.submit(REQUEST, client="new")
    with pytest.raises(BusyError):
        await read(waiting[-1])
    loader.hold.set()
    for job in (*running, *waiting[:2], new):
        assert (await read(job))[-1] == Finished("stop", 1)
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
        assert worker.running + worker.waiting == 1
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


async def test_closing_gives_the_engine_back_though_nobody_waits_for_a_call_any_more() -> None:
    worker, engine, loader = make([b"a"] * 1000)
    loader.hold.clear()
    worker.submit(REQUEST)
    await eventually(lambda: worker.running == 1)
    call = asyncio.create_task(worker.call(lambda engine: engine.context_tokens))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    closing = asyncio.create_task(asyncio.to_thread(worker.close))
    await eventually(lambda: worker.is_closing)
    loader.hold.set()
    await closing
    assert engine.closed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_worker_that_dies_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Worker) -> None:
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr(Worker, "_join", fail)
    worker, engine, _ = make([b"a"])
    with pytest.raises(BusyError):
        await asyncio.wait_for(read(worker.submit(REQUEST)), 5)
    await asyncio.to_thread(worker.close)  # the thread has ended: its error is this test's, not the next one's
    assert engine.closed
    with pytest.raises(BusyError):
        worker.submit(REQUEST)


async def test_requests_are_answered_together_and_join_between_steps() -> None:
    """A short one that comes behind a long one does not wait for it."""
    worker, engine, _ = make([b"a"] * 4_000, max_queue=9, sequences=3)
    long = CompletionRequest(TextPrompt("hi"), GREEDY, 4_000)
    engine.context_tokens = 5_000
    first = worker.submit(long)
    await eventually(lambda: worker.running == 1)
    assert (await read(worker.submit(REQUEST)))[-1] == Finished("length", 10)
    second, third = worker.submit(long), worker.submit(long)
    await eventually(lambda: worker.running == 3)
    waiting = worker.submit(REQUEST)
    await asyncio.sleep(0.01)
    assert (worker.running, worker.waiting, engine.open_sequences) == (3, 1, 3)
    second.cancel()
    assert (await read(waiting))[-1] == Finished("length", 10)
    assert not any(isinstance(event, Finished) for event in await read(second))
    for job in (first, third):
        job.cancel()
    await asyncio.to_thread(worker.close)
    assert engine.steps < 3_000
    assert engine.open_sequences == 0


async def test_what_all_chats_begin_with_is_computed_while_nobody_asks() -> None:
    """It holds no request up, goes on after it, and is done once."""
    loader = FakeLoader()
    loader.hold.clear()
    engine = FakeEngine([b"a"], loader, residual_prompt="Sort each mail.")
    worker = Worker(engine, 3, "test")
    beginning = engine.tokenize("<system>Sort each mail.<user>")[1:]
    await eventually(lambda: engine.prefilled)
    job = worker.submit(REQUEST)
    await eventually(lambda: len(engine.prefilled) == 2)
    loader.hold.set()
    assert (await read(job))[-1] == Finished("stop", 1)
    await eventually(lambda: len(engine.prefilled) == 3)
    assert [prompt == beginning for prompt in engine.prefilled] == [True, False, True]
    assert (await read(worker.submit(REQUEST)))[-1] == Finished("stop", 1)
    await asyncio.sleep(0.01)
    assert len(engine.prefilled) == 4
    await asyncio.to_thread(worker.close)


async def test_beginning_that_cannot_be_computed_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = FakeLoader()
    engine = FakeEngine([b"a"], loader, residual_prompt="Sort each mail.")

    def refuse(_messages: object) -> list[int]:
        raise InvalidRequestError("the template refuses")

    monkeypatch.setattr(engine, "tokenize_chat", refuse)
    worker = Worker(engine, 3, "test")
    assert (await read(worker.submit(REQUEST)))[-1] == Finished("stop", 1)
    await asyncio.to_thread(worker.close)


async def test_failed_step_ends_those_that_run_and_no_others() -> None:
    worker, engine, loader = make([b"a"], sequences=2)
    loader.hold.clear()
    jobs = [worker.submit(REQUEST) for _ in range(2)]
    await eventually(lambda: worker.running == 2)
    step, engine.step = engine.step, None  # type: ignore[assignment]
    for job in jobs:
        with pytest.raises(ModelOutputError, match="the device's log"):
            await read(job)
    engine.step = step  # type: ignore[method-assign]
    loader.hold.set()
    assert (await read(worker.submit(REQUEST)))[-1] == Finished("stop", 1)
    await asyncio.to_thread(worker.close)


async def test_request_that_has_waited_too_long_is_refused() -> None:
    worker, _, loader = make([b"a"], limits=RequestLimits(queue_seconds=0.02))
    loader.hold.clear()
    running, waiting = worker.submit(REQUEST), worker.submit(REQUEST)
    with pytest.raises(BusyError, match=r"no place within 0\.02 s") as caught:
        await read(waiting)
    assert caught.value.retry_after_seconds >= 1
    loader.hold.set()
    assert (await read(running))[-1] == Finished("stop", 1)
    await asyncio.to_thread(worker.close)


async def test_answers_have_a_longest_length() -> None:
    worker, _, _ = make([b"a"] * 60, limits=RequestLimits(answer_tokens=5, max_answer_tokens=7))
    for asked, reported in ((None, 5), (3, 3), (1_000, 7)):
        request = CompletionRequest(TextPrompt("hi"), GREEDY, asked)
        assert (await read(worker.submit(request)))[-1] == Finished("length", reported)
    await asyncio.to_thread(worker.close)


async def test_answers_to_one_request_are_bounded_in_all() -> None:
    """Eight answers to each of 128 prompts would hold a sequence for days; one answer may be as long as is set."""
    worker, _, _ = make([b"a"], limits=RequestLimits(answer_tokens=512, max_answer_tokens=100_000))
    one = CompletionRequest(TextPrompt("hi"), GREEDY, 100_000)
    many = replace(one, max_tokens=64, answers=8, more_prompts=(TextPrompt("hi"),) * 63)
    for allowed in (one, many):
        assert (await read(worker.submit(allowed)))[-1].reason == "stop"
    for refused, found in (
        (replace(many, max_tokens=65), "65 x 8 x 64"),
        (replace(many, max_tokens=None), "512 x 8 x 64"),
        (replace(one, answers=2), "100000 x 2 x 1"),
        (replace(many, max_tokens=1, sampling=Sampling(choices=("x" * 65, "y"))), "65 x 8 x 64"),
    ):
        with pytest.raises(InvalidRequestError, match=f"'max_tokens' x 'n' x prompts: .*32768 tokens.*{found}"):
            worker.submit(refused)
    await asyncio.to_thread(worker.close)


async def test_time_to_come_back_is_measured() -> None:
    """Three requests that take half a second each are answered in about a second and a half."""
    worker, _, loader = make([b"a"])
    loader.step.clear()
    first = worker.submit(REQUEST)
    await asyncio.sleep(0.5)
    loader.step.set()
    await read(first)
    loader.step.clear()
    jobs = [worker.submit(REQUEST) for _ in range(3)]
    reported = []
    for _ in range(4):
        with pytest.raises(BusyError) as caught:
            worker.submit(REQUEST)
        reported.append(caught.value.retry_after_seconds)
    assert reported == sorted(reported)
    assert reported[0] >= 1
    assert reported[-1] >= 2, "each refused client has a place of its own"
    loader.step.set()
    for job in jobs:
        await read(job)
    await asyncio.to_thread(worker.close)


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
