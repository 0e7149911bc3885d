"""The runner: batches, bounds, deadlines, and failures that stay with the prompt that caused them."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from cloud_service.access.caller import Caller, calling
from cloud_service.answer.choices import Choice
from cloud_service.errors import DeadlineError, DrainingError, GenerationError, OverloadedError, PromptTooLongError
from cloud_service.generation import Asked, Generation
from cloud_service.runner import Runner
from loragen.contract.answer import AnswerContract
from tests.cloud_service.fake_generator import FakeGenerator

MakeRunner = Callable[..., Runner]


class Recorder:
    """Hooks that remember."""

    def __init__(self) -> None:
        self.depths: list[int] = [0]
        self.batches: list[int] = []
        self.rejections = 0

    def queue_changed(self, change: int) -> None:
        self.depths.append(self.depths[-1] + change)

    def batch_done(self, queue_seconds: Sequence[float], generate_seconds: float) -> None:
        assert all(seconds >= 0 for seconds in queue_seconds)
        assert generate_seconds > 0
        self.batches.append(len(queue_seconds))

    def rejected(self) -> None:
        self.rejections += 1


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest_asyncio.fixture
async def make_runner(generator: FakeGenerator, recorder: Recorder) -> AsyncIterator[MakeRunner]:
    runners: list[Runner] = []

    def make(*, max_batch: int = 4, max_delay_seconds: float = 0.05, max_queue: int = 16) -> Runner:
        runner = Runner(
            generator,
            max_batch=max_batch,
            max_delay_seconds=max_delay_seconds,
            max_queue=max_queue,
            events=recorder,
        )
        runner.start()
        runners.append(runner)
        return runner

    yield make
    generator.gate.set()
    for runner in runners:
        await runner.close(5)


def measured(make_runner: MakeRunner) -> Runner:
    """A runner with three places that knows what a piece of work takes: a second."""
    runner = make_runner(max_queue=3)
    with runner.finishing(1.0):
        pass
    return runner


async def test_prompts_that_wait_together_run_together(
    make_runner: MakeRunner, generator: FakeGenerator, recorder: Recorder
) -> None:
    runner = make_runner(max_batch=4)
    prompts = [f"task {i}" for i in range(6)]
    produced = await asyncio.gather(*(runner.generate(Asked(prompt), 5) for prompt in prompts))
    assert [len(batch) for batch in generator.batches] == [4, 2]
    assert recorder.batches == [4, 2]
    assert max(recorder.depths) == 6
    assert recorder.depths[-1] == 0
    for prompt, one in zip(prompts, produced, strict=True):
        assert (one.generation.gates == generator._generate(Asked(prompt)).gates).all()


async def test_full_batch_does_not_wait_for_the_delay(make_runner: MakeRunner, generator: FakeGenerator) -> None:
    runner = make_runner(max_batch=2, max_delay_seconds=30)
    await asyncio.gather(runner.generate(Asked("a"), 5), runner.generate(Asked("b"), 5))
    assert len(generator.batches) == 1


async def test_prompts_run_one_by_one_where_the_generator_computes_so(
    make_runner: MakeRunner, generator: FakeGenerator
) -> None:
    """So the first has its answer before the last is begun, and a lone one waits for no others."""
    generator.most_at_once = 1
    runner = make_runner(max_batch=4, max_delay_seconds=30)
    await asyncio.gather(*(runner.generate(Asked(f"task {number}"), 5) for number in range(3)))
    assert [len(batch) for batch in generator.batches] == [1, 1, 1]
    assert runner.is_idle


async def test_lone_prompt_waits_no_longer_than_the_delay(make_runner: MakeRunner, generator: FakeGenerator) -> None:
    runner = make_runner(max_batch=8, max_delay_seconds=0.05)
    produced = await runner.generate(Asked("a"), 5)
    assert 0.04 <= produced.queue_seconds < 2


async def test_model_runs_on_one_thread_of_its_own(make_runner: MakeRunner, generator: FakeGenerator) -> None:
    runner = make_runner(max_batch=1)
    await asyncio.gather(*(runner.generate(Asked(f"task {i}"), 5) for i in range(5)))
    assert generator.threads == {"generator_0"}


async def test_loop_goes_on_while_the_model_works(make_runner: MakeRunner, generator: FakeGenerator) -> None:
    runner = make_runner(max_delay_seconds=0)
    generator.gate.clear()
    waiting = asyncio.create_task(runner.generate(Asked("a"), 5))
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not waiting.done()
    generator.gate.set()
    await waiting


async def test_full_queue_refuses_at_once_with_a_time_to_come_back(
    make_runner: MakeRunner, generator: FakeGenerator, recorder: Recorder
) -> None:
    runner = make_runner(max_batch=1, max_delay_seconds=0, max_queue=2)
    generator.gate.clear()
    tasks = [asyncio.create_task(runner.generate(Asked("running"), 5))]
    await generator.wait_until_called()
    tasks += [asyncio.create_task(runner.generate(Asked(f"waiting {i}"), 5)) for i in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError) as caught:
        await runner.generate(Asked("one too many"), 5)
    assert 1 <= caught.value.retry_after_seconds <= 60
    assert recorder.rejections == 1
    generator.gate.set()
    await asyncio.gather(*tasks)
    assert "one too many" not in generator.prompts


async def test_part_of_the_queue_is_for_those_who_come_back_when_they_were_asked_to(
    make_runner: MakeRunner, generator: FakeGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner(max_batch=1, max_delay_seconds=0, max_queue=3)
    generator.gate.clear()
    tasks = [asyncio.create_task(runner.generate(Asked("running"), 20))]
    await generator.wait_until_called()
    tasks += [asyncio.create_task(runner.generate(Asked(f"waiting {number}"), 20)) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError) as caught:
        await runner.generate(Asked("told to come back"), 5)
    with pytest.raises(OverloadedError):
        runner.verify_room("told to come back")
    loop = asyncio.get_running_loop()
    later = loop.time() + caught.value.retry_after_seconds + 1
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", lambda: later)
        with pytest.raises(OverloadedError):
            runner.verify_room("new")
        runner.verify_room("told to come back")
        patch.setattr(loop, "time", lambda: later + 60)
        with pytest.raises(OverloadedError):
            runner.verify_room("told to come back")
    generator.gate.set()
    await asyncio.gather(*tasks)


async def test_task_that_was_refused_is_known_by_its_key_when_it_comes_back(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner(max_queue=3)
    loop, now = asyncio.get_running_loop(), 1000.0
    with runner.finishing(0.0), runner.finishing(0.0):
        assert runner.is_full
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: now)
            with pytest.raises(OverloadedError) as caught:
                runner.verify_room("its key")
        later = caught.value.retry_after_seconds + now - loop.time()
        clock = loop.time
        monkeypatch.setattr(loop, "time", lambda: clock() + later)
        await runner.generate(Asked("told to come back"), 5, "its key")
        with pytest.raises(OverloadedError):
            await runner.generate(Asked("told to come back"), 5, "its key")
    assert not runner.is_full


async def test_task_of_a_series_needs_no_further_room_but_a_runner_that_is_open(make_runner: MakeRunner) -> None:
    runner = make_runner(max_queue=1)
    runner.verify_room("series")
    with runner.finishing(0.0):
        with pytest.raises(OverloadedError):
            await runner.generate(Asked("first"), 5, "series")
        for prompt in ("first", "second"):
            await runner.generate(Asked(prompt), 5, "series", has_room=True)
    await runner.close(5)
    with pytest.raises(DrainingError):
        await runner.generate(Asked("third"), 5, "series", has_room=True)


async def test_refusals_of_one_tenant_take_neither_time_nor_mark_of_another(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One asks for 20,000 things within a second, more than are remembered in all."""
    runner = measured(make_runner)
    loop, now = asyncio.get_running_loop(), 1000.0
    monkeypatch.setattr(loop, "time", lambda: now)
    loud, quiet = Caller(key_id="1", tenant="loud"), Caller(key_id="2", tenant="quiet")
    told: dict[str, float] = {}
    with runner.finishing(0.0), runner.finishing(0.0):

        def refuse(caller: Caller, key: str) -> None:
            with calling(caller), pytest.raises(OverloadedError) as caught:
                runner.verify_room(key)
            told[f"{caller.tenant} {key}"] = caught.value.retry_after_seconds

        refuse(quiet, "before")
        for number in range(20_000):
            refuse(loud, str(number))
        refuse(quiet, "behind")
        assert told["loud 19999"] == 60
        for key in ("before", "behind"):
            assert told[f"quiet {key}"] <= 3
            now = 1000.0 + told[f"quiet {key}"]
            with calling(loud), pytest.raises(OverloadedError):
                runner.verify_room(key)
            with calling(quiet):
                runner.verify_room(key)


async def test_only_so_many_of_one_tenant_come_back_together_as_there_are_slots(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is refused 20,000 things fills no second with all of them."""
    runner = measured(make_runner)
    loop, now = asyncio.get_running_loop(), 1000.0
    monkeypatch.setattr(loop, "time", lambda: now)
    with runner.finishing(0.0), runner.finishing(0.0), calling(Caller(key_id="1", tenant="loud")):

        def is_refused(key: int) -> bool:
            try:
                runner.verify_room(f"{key}")
            except OverloadedError:
                return True
            return False

        assert all(is_refused(number) for number in range(20_000))
        now += 60
        assert sum(not is_refused(number) for number in range(20_000)) <= 10


async def test_client_that_does_not_wait_takes_one_time_only_and_keeps_it(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = measured(make_runner)
    loop, now = asyncio.get_running_loop(), 1000.0
    monkeypatch.setattr(loop, "time", lambda: now)
    with runner.finishing(0.0), runner.finishing(0.0):

        def refused(key: str) -> float:
            with pytest.raises(OverloadedError) as caught:
                runner.verify_room(key)
            return caught.value.retry_after_seconds

        for number in range(10):
            refused(f"another {number}")
        due = now + refused("impatient")
        for _ in range(100):
            assert refused("impatient") == math.ceil(due - now)
            now += 0.05
        assert now + refused("newcomer") < due + 5
        now = due
        runner.verify_room("impatient")


async def test_prompt_that_is_being_finished_fills_the_queue_and_tells_the_rate(make_runner: MakeRunner) -> None:
    runner = make_runner(max_queue=2)
    with runner.finishing(8.0):
        runner.verify_room("one more")
    with runner.finishing(0.0), runner.finishing(0.0), pytest.raises(OverloadedError) as caught:
        runner.verify_room("one too many")
    assert caught.value.retry_after_seconds in (8, 9)
    runner.verify_room("one more")


async def test_caller_that_gave_up_leaves_the_queue(make_runner: MakeRunner, generator: FakeGenerator) -> None:
    runner = make_runner(max_batch=1, max_delay_seconds=0, max_queue=1)
    generator.gate.clear()
    running = asyncio.create_task(runner.generate(Asked("running"), 5))
    await generator.wait_until_called()
    with pytest.raises(DeadlineError, match=r"0\.05 s"):
        await runner.generate(Asked("impatient"), 0.05)
    patient = asyncio.create_task(runner.generate(Asked("patient"), 5))
    await asyncio.sleep(0.01)
    generator.gate.set()
    await asyncio.gather(running, patient)
    assert generator.prompts == ["running", "patient"]


async def test_prompt_that_breaks_the_model_fails_alone(make_runner: MakeRunner, generator: FakeGenerator) -> None:
    runner = make_runner(max_batch=3)
    outcomes = await asyncio.gather(
        *(runner.generate(Asked(prompt), 5) for prompt in ("good", "CRASH here", "fine")), return_exceptions=True
    )
    assert [type(outcome).__name__ for outcome in outcomes] == ["Produced", "GenerationError", "Produced"]
    assert "CRASH" not in str(outcomes[1]), "a prompt must not leak into an error message"
    assert runner.is_serving
    await runner.generate(Asked("next"), 5)


async def test_prompt_over_the_limit_is_refused_with_both_numbers_and_not_run(
    make_runner: MakeRunner, generator: FakeGenerator
) -> None:
    runner = make_runner(max_batch=2)
    outcomes = await asyncio.gather(
        runner.generate(Asked("word " * 201), 5), runner.generate(Asked("short"), 5), return_exceptions=True
    )
    assert isinstance(outcomes[0], PromptTooLongError)
    assert str(outcomes[0]) == "expected a prompt of at most 200 tokens, found 201"
    assert generator.prompts == ["short"]


@pytest.mark.parametrize("prompt", ["word " * 130_000, "a" * 1_601])
async def test_prompt_over_the_limit_in_characters_is_refused_before_anything_is_counted(
    make_runner: MakeRunner, generator: FakeGenerator, monkeypatch: pytest.MonkeyPatch, prompt: str
) -> None:
    """A word of 16,000 characters is one token for many tokenizers, and takes as long to read as 4,000 tokens."""
    counted: list[str] = []
    monkeypatch.setattr(generator, "count_tokens", lambda prompt: counted.append(prompt) or 1)
    with pytest.raises(PromptTooLongError, match=f"at most 1600 characters, found {len(prompt)}"):
        await make_runner().generate(Asked(prompt), 5)
    assert counted == []
    await make_runner().generate(Asked("a" * 1_600), 5)


async def test_prompt_of_a_closed_set_is_bounded_in_characters_alone(
    make_runner: MakeRunner, generator: FakeGenerator
) -> None:
    """The choice head reads the choices, each by itself."""
    asked = Asked("word " * 10_000, (Choice("a", "a"), Choice("b", "b")), answer=AnswerContract("choice", ("a", "b")))
    produced = await make_runner().generate(asked, 5)
    assert produced.generation.answer.choices == ("a", "b")
    with pytest.raises(PromptTooLongError, match="100000 characters"):
        await make_runner().generate(replace(asked, prompt="a" * 100_001), 5)
    generator.info = replace(generator.info, most_choices=0)
    with pytest.raises(PromptTooLongError):
        await make_runner().generate(asked, 5)


@pytest.mark.parametrize("fault", ["count", "shape"])
async def test_answer_of_another_form_is_a_generation_error(
    make_runner: MakeRunner, generator: FakeGenerator, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def generate(asked: Sequence[Asked]) -> list[Generation]:
        good = [generator._generate(each) for each in asked]
        return [] if fault == "count" else [Generation(one.gates[:1], one.prompt_tokens) for one in good]

    monkeypatch.setattr(generator, "generate", generate)
    with pytest.raises(GenerationError, match="expected"):
        await make_runner().generate(Asked("a"), 5)


async def test_close_finishes_what_was_accepted_and_takes_nothing_new(
    make_runner: MakeRunner, generator: FakeGenerator
) -> None:
    runner = make_runner(max_batch=1, max_delay_seconds=0)
    generator.seconds = 0.02
    tasks = [asyncio.create_task(runner.generate(Asked(f"task {i}"), 5)) for i in range(3)]
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(runner.close(5))
    await asyncio.sleep(0)
    with pytest.raises(DrainingError):
        await runner.generate(Asked("late"), 5)
    assert await closing == 0
    assert len(await asyncio.gather(*tasks)) == 3


async def test_close_cuts_off_what_takes_too_long_and_says_so(
    make_runner: MakeRunner, generator: FakeGenerator, tmp_path: Path
) -> None:
    runner = make_runner(max_batch=1, max_delay_seconds=0)
    generator.gate.clear()
    tasks = [asyncio.create_task(runner.generate(Asked(f"task {i}"), 20)) for i in range(2)]
    await generator.wait_until_called()
    assert await runner.close(0.05) == 2
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, DrainingError)
    generator.gate.set()
