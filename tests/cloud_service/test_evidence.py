"""A LoRA is tried on a probe, or on its examples under LoRAs that are made without them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from cloud_service.access.caller import Caller, calling
from cloud_service.catalog import ServedGenerator
from cloud_service.errors import DeadlineError, GenerationError, InvalidRequestError, OverloadedError, UsageLimitError
from cloud_service.evidence import gather_evidence, verify_evidence
from cloud_service.generation import Asked
from cloud_service.lora_request import LoraRequest
from cloud_service.probing import Prober
from cloud_service.runner import Runner
from cloud_service.task import Example, TaskDescription
from cloud_service.telemetry import Metrics
from loragen.contract.recipe import Recipe
from tests.cloud_service.access.fake_store import usage_within
from tests.cloud_service.fake_generator import CHOOSE, FakeGenerator

EXAMPLES = (Example("echo", "echo"), Example("ping", "pong"), Example("again", "again"))
REQUEST = LoraRequest(TaskDescription("Repeat.", EXAMPLES), probe_examples=True)


@asynccontextmanager
async def serving(generator: FakeGenerator, max_probes: int = 1, **limits: int) -> AsyncIterator[ServedGenerator]:
    """A generator in service."""
    runner = Runner(generator, max_batch=4, max_delay_seconds=0, max_queue=3, events=Metrics())
    runner.start()
    prober = Prober(
        generator.load_probe, generator.bank, max_waiting=max_probes, timeout_seconds=5, usage=usage_within(**limits)
    )
    yield ServedGenerator(generator.info, generator.bank, runner, prober)
    prober.close()
    await runner.close(5)


def recipe_of(request: LoraRequest, generator: FakeGenerator) -> Recipe:
    """What the generator makes of a request."""
    return generator._generate(Asked.of(request.task)).recipe(generator.info, generator.bank.digest)


async def test_each_example_is_tried_under_a_lora_that_was_made_without_it(generator: FakeGenerator) -> None:
    generator.residual_prompt_words = 1
    async with serving(generator) as served:
        compared = await gather_evidence(REQUEST, served, recipe_of(REQUEST, generator), "key", 5)
    assert (compared.base.right, compared.specialized.right) == ((False,) * 3, (True, False, True))
    assert [[example.input in prompt for example in EXAMPLES] for prompt in generator.prompts] == [
        [False, True, True],
        [True, False, True],
        [True, True, False],
    ]
    assert [len(batch) for batch in generator.batches] == [1, 1, 1], "one after the other"
    assert generator.probes[0].residual_prompts == ["", *["Repeat."] * 3]


async def test_probe_is_tried_under_the_lora_of_the_answer(generator: FakeGenerator) -> None:
    request = replace(REQUEST, probe_examples=False, probe=EXAMPLES[:2])
    async with serving(generator) as served:
        compared = await gather_evidence(request, served, recipe_of(request, generator), "key", 5)
    assert compared.specialized.right == (True, False)
    assert (generator.prompts, generator.probes[0].residual_prompts) == ([], ["", ""])


async def test_example_of_a_closed_set_is_answered_by_its_code(generator: FakeGenerator) -> None:
    examples = (Example("billing", "billing"), Example("where is it?", "dëlivery"))
    request = LoraRequest(TaskDescription(CHOOSE, examples), probe_examples=True)
    async with serving(generator) as served:
        compared = await gather_evidence(request, served, recipe_of(request, generator), "key", 5)
    assert compared.specialized.right == (True, False)
    assert compared.specialized.log_likelihood == pytest.approx((-7 / 4 - 8 / 4) / 2), "among the codes"


async def test_what_cannot_be_tried_is_refused_before_anything_runs(generator: FakeGenerator) -> None:
    one = replace(REQUEST, task=TaskDescription("Repeat.", EXAMPLES[:1]))
    other = LoraRequest(TaskDescription(CHOOSE), probe=(Example("x", "bill"),))
    async with serving(generator) as served:
        for request, message in ((one, "^examples: expected at least 2"), (other, r"^probe\.0\.output: expected one")):
            with pytest.raises(InvalidRequestError, match=message):
                verify_evidence(request, served)
        verify_evidence(REQUEST, served)
        verify_evidence(LoraRequest(one.task), replace(served, prober=None))
        with pytest.raises(InvalidRequestError) as refused:
            verify_evidence(REQUEST, replace(served, prober=None))
    assert refused.value.code == "probe_disabled"
    assert generator.prompts == []


async def test_examples_count_as_one_probe_and_cost_nothing_when_none_is_left(generator: FakeGenerator) -> None:
    async with serving(generator, probes_per_day=1) as served:
        with calling(Caller("one")):
            await gather_evidence(REQUEST, served, recipe_of(REQUEST, generator), "key", 5)
            read = len(generator.prompts)
            with pytest.raises(UsageLimitError, match="1 probes"):
                await gather_evidence(REQUEST, served, recipe_of(REQUEST, generator), "key", 5)
    assert (read, len(generator.prompts)) == (3, 3)


async def test_all_examples_together_have_one_deadline(generator: FakeGenerator) -> None:
    generator.seconds = 0.2
    async with serving(generator) as served:
        with pytest.raises(DeadlineError, match=r"not left out one after the other within 0\.3 s"):
            await gather_evidence(REQUEST, served, recipe_of(REQUEST, generator), "key", 0.3)
        assert served.runner.waiting == 0
    assert (len(generator.prompts), generator.probes[0].residual_prompts) == (2, [])


async def test_lora_that_is_none_without_an_example_is_the_generators_fault(generator: FakeGenerator) -> None:
    request = replace(REQUEST, task=TaskDescription("Repeat.", (EXAMPLES[0], Example("NAN", "x"))))
    async with serving(generator) as served:
        with pytest.raises(GenerationError, match="the generator fake made no usable LoRA"):
            await gather_evidence(request, served, recipe_of(REQUEST, generator), "key", 5)


async def test_client_that_hangs_up_leaves_the_queue_and_has_had_its_probe(generator: FakeGenerator) -> None:
    generator.gate.clear()
    async with serving(generator, probes_per_day=1) as served:
        with calling(Caller("one")):
            waiting = asyncio.create_task(gather_evidence(REQUEST, served, recipe_of(REQUEST, generator), "key", 5))
            await generator.wait_until_called()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            generator.gate.set()
            with pytest.raises(UsageLimitError, match="1 probes"):
                await gather_evidence(REQUEST, served, recipe_of(REQUEST, generator), "key", 5)
        with calling(Caller("two")):
            await gather_evidence(REQUEST, served, recipe_of(REQUEST, generator), "key", 5)
    assert len(generator.prompts) == 1 + 3


async def _gather_at_once(served: ServedGenerator, generator: FakeGenerator, count: int) -> list[str]:
    """Names of what so many equal requests of one key come to."""
    with calling(Caller("one")):
        gathering = (gather_evidence(REQUEST, served, recipe_of(REQUEST, generator), "key", 5) for _ in range(count))
        return sorted(type(each).__name__ for each in await asyncio.gather(*gathering, return_exceptions=True))


async def test_of_many_at_once_no_more_generate_than_the_day_or_the_places_have_room_for(
    generator: FakeGenerator,
) -> None:
    async with serving(generator, max_probes=9, probes_per_day=1) as served:
        assert await _gather_at_once(served, generator, 6) == ["ProbeComparison", *["UsageLimitError"] * 5]
    assert len(generator.prompts) == 3
    async with serving(generator, max_probes=2, share_percent=50) as served:
        assert await _gather_at_once(served, generator, 3) == ["ProbeComparison", *["UsageLimitError"] * 2]
    assert len(generator.prompts) == 6
    async with serving(generator, max_probes=2) as served:
        assert await _gather_at_once(served, generator, 3) == ["OverloadedError", *["ProbeComparison"] * 2]
    assert len(generator.prompts) == 12


async def test_series_that_the_queue_took_goes_on_though_others_fill_it(generator: FakeGenerator) -> None:
    generator.seconds = 0.05
    async with serving(generator) as served, asyncio.timeout(10):
        gathering = asyncio.create_task(gather_evidence(REQUEST, served, recipe_of(REQUEST, generator), "key", 5))
        await generator.wait_until_called()
        with served.runner.finishing(0), served.runner.finishing(0), served.runner.finishing(0):
            assert served.runner.is_full
            assert (await gathering).answered == 3


async def test_full_queue_refuses_before_the_probe_counts(generator: FakeGenerator) -> None:
    async with serving(generator, probes_per_day=1) as served:
        with calling(Caller("one")):
            with served.runner.finishing(0), served.runner.finishing(0), pytest.raises(OverloadedError):
                await gather_evidence(REQUEST, served, recipe_of(REQUEST, generator), "key", 5)
            await gather_evidence(REQUEST, served, recipe_of(REQUEST, generator), "key", 5)


@pytest.mark.parametrize(
    ("long", "most", "message"),
    [
        ("word " * 18, 4096, r"^examples\.1: expected at most 20 tokens with the answer, found 21"),
        ("word " * 15, 20, r"^examples: expected at most 20 tokens in all, found 21 up to examples\.1"),
    ],
)
async def test_example_that_is_too_long_with_what_the_prompt_keeps_is_refused_before_anything_is_generated(
    generator: FakeGenerator, monkeypatch: pytest.MonkeyPatch, long: str, most: int, message: str
) -> None:
    monkeypatch.setattr("cloud_service.probing.MAX_PROBE_TOKENS", most)
    generator.residual_prompt_words = 1
    examples = (EXAMPLES[0], Example(long, "x x"), EXAMPLES[1])
    request = replace(REQUEST, task=TaskDescription("Repeat.", examples))
    async with serving(generator) as served:
        with pytest.raises(InvalidRequestError, match=message) as refused:
            await gather_evidence(request, served, recipe_of(request, generator), "key", 5)
    assert (refused.value.code, generator.prompts) == ("probe_too_long", [])
