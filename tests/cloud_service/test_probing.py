"""The prober: loads late, on its own thread, bounded in number and in time."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from cloud_service.access.caller import Caller, calling
from cloud_service.errors import (
    CloudError,
    DeadlineError,
    DrainingError,
    GenerationError,
    InvalidRequestError,
    OverloadedError,
    UsageLimitError,
)
from cloud_service.generation import Asked, EdgeProbe, EdgeScores
from cloud_service.probing import ProbeComparison, Prober, Trial
from cloud_service.task import Example
from loragen.contract.recipe import Recipe
from tests.cloud_service.access.fake_store import usage_within
from tests.cloud_service.clouds import eventually
from tests.cloud_service.fake_generator import CHOICE, EXPERTS, HEAD, SHAPE, FakeGenerator, FakeProbe

EXAMPLES = (Example("echo", "echo"), Example("ping", "pong"))
MakeProber = Callable[..., Prober]


def probe_of(examples: Sequence[Example], recipe: Recipe) -> list[Trial]:
    """A request's probe."""
    return [Trial(recipe, {f"probe.{number}": example for number, example in enumerate(examples)})]


@pytest.fixture
def make_prober(generator: FakeGenerator) -> Iterator[MakeProber]:
    """Makes probers, and closes them."""
    made: list[Prober] = []

    def make(load: Callable[[], EdgeProbe], max_waiting: int = 2, timeout_seconds: float = 5, **limits: int) -> Prober:
        usage = usage_within(**limits)
        bounds = {"max_waiting": max_waiting, "timeout_seconds": timeout_seconds}
        made.append(Prober(load, generator.bank, **bounds, usage=usage))
        return made[-1]

    yield make
    for prober in made:
        prober.close()


@pytest.fixture
def recipe(generator: FakeGenerator) -> Recipe:
    """A recipe that the bank makes a LoRA of."""
    info, bank = generator.info, generator.bank
    gates = np.ones((SHAPE.layers, 1, EXPERTS), np.float32)
    return Recipe(info.id, info.digest, bank.digest, info.edge_model_id, info.edge_model_digest, 3, gates)


async def test_both_scores_come_from_one_model_loaded_once_on_a_thread_of_its_own(
    generator: FakeGenerator, make_prober: MakeProber, recipe: Recipe
) -> None:
    prober = make_prober(generator.load_probe)
    assert generator.probes == []
    for _ in range(2):
        compared = await prober.compare(probe_of(EXAMPLES, recipe))
        assert compared == ProbeComparison(EdgeScores((False, False), -8.0), EdgeScores((True, False), -7.0))
        assert (compared.gained, compared.specialized.exact_match) == (1, 0.5)
    (probe,) = generator.probes
    assert len(probe.threads) == 1
    assert threading.current_thread().name not in probe.threads


@pytest.fixture
def coded(recipe: Recipe) -> Recipe:
    """A recipe whose LoRA writes codes."""
    return replace(recipe, gates=0 * recipe.gates, answer=CHOICE, keys=np.ones((1, 2, HEAD.rank), np.float32))


async def test_lora_with_codes_is_scored_among_them_and_the_base_model_by_its_text(
    make_prober: MakeProber, coded: Recipe
) -> None:
    compared = await make_prober(FakeProbe).compare(probe_of([Example("billing", "billing")], coded))
    assert compared == ProbeComparison(EdgeScores((False,), -8.0), EdgeScores((True,), -1.75))


def test_input_is_gained_where_the_lora_is_right_and_the_base_model_is_not() -> None:
    base, specialized = EdgeScores((True, True, False, False), -1.0), EdgeScores((True, False, True, False), -1.0)
    assert ProbeComparison(base, specialized).gained == 1


async def test_residual_prompt_is_in_front_with_the_lora_alone_and_counts(
    generator: FakeGenerator, make_prober: MakeProber
) -> None:
    generation = replace(generator._generate(Asked("Sort.")), residual_prompt="Say it again.", residual_prompt_tokens=3)
    recipe = generation.recipe(generator.info, generator.bank.digest)
    prober = make_prober(generator.load_probe)
    await prober.compare(probe_of(EXAMPLES, recipe))
    (probe,) = generator.probes
    assert probe.residual_prompts == ["", "Say it again."]
    with pytest.raises(InvalidRequestError, match=r"probe\.0: expected at most 20 tokens with the answer, found 22"):
        await prober.compare(probe_of([Example("word " * 18, "x")], recipe))


async def test_answer_without_a_code_is_named_before_the_model_is_loaded(
    generator: FakeGenerator, make_prober: MakeProber, coded: Recipe
) -> None:
    examples = [Example("a", "billing"), Example("b", "Billing")]
    with pytest.raises(InvalidRequestError, match=r"probe\.1\.output: expected one of the 2 choices"):
        await make_prober(generator.load_probe).compare(probe_of(examples, coded))
    assert generator.probes == []


async def test_each_trial_has_a_lora_and_a_residual_prompt_of_its_own_and_the_base_model_is_asked_once(
    make_prober: MakeProber, recipe: Recipe, coded: Recipe
) -> None:
    probe = FakeProbe()
    kept = replace(recipe, residual_prompt="Repeat.", residual_prompt_tokens=1)
    trials = [
        Trial(kept, {"examples.0": EXAMPLES[0], "examples.3": EXAMPLES[1]}),
        Trial(coded, {"examples.1": Example("billing", "billing")}),
    ]
    compared = await make_prober(lambda: probe).compare(trials)
    assert compared.base == EdgeScores((False, False, False), -8.0)
    assert compared.specialized == EdgeScores((True, False, True), pytest.approx((2 * -7.0 + -1.75) / 3))
    assert (compared.gained, compared.answered) == (2, 3)
    assert probe.residual_prompts == ["", "Repeat.", ""]
    long = Trial(kept, {"examples.7": Example("word " * 19, "x")})
    with pytest.raises(InvalidRequestError, match=r"^examples\.7: expected at most 20 tokens .* found 21"):
        await make_prober(lambda: probe).compare([trials[0], long])


async def test_too_many_probes_are_refused_and_room_is_made_again(make_prober: MakeProber, recipe: Recipe) -> None:
    probe = FakeProbe()
    probe.gate.clear()
    prober = make_prober(lambda: probe, max_waiting=2)
    waiting = [asyncio.create_task(prober.compare(probe_of(EXAMPLES, recipe))) for _ in range(2)]
    await eventually(lambda: bool(probe.threads))
    with pytest.raises(OverloadedError, match="2 probes are waiting"):
        await prober.compare(probe_of(EXAMPLES, recipe))
    probe.gate.set()
    assert len(await asyncio.gather(*waiting)) == 2
    await prober.compare(probe_of(EXAMPLES, recipe))


async def test_probe_that_takes_too_long_is_given_up_and_still_counts_as_running(
    make_prober: MakeProber, recipe: Recipe
) -> None:
    probe = FakeProbe()
    probe.gate.clear()
    prober = make_prober(lambda: probe, max_waiting=1, timeout_seconds=0.1)
    with pytest.raises(DeadlineError):
        await prober.compare(probe_of(EXAMPLES, recipe))
    with pytest.raises(OverloadedError):
        await prober.compare(probe_of(EXAMPLES, recipe))
    probe.gate.set()


async def test_one_tenant_leaves_room_for_others_until_its_probe_is_over_though_it_hung_up(
    make_prober: MakeProber, recipe: Recipe
) -> None:
    probe = FakeProbe()
    probe.gate.clear()
    prober = make_prober(lambda: probe, max_waiting=2, share_percent=50)
    with calling(Caller("one", tenant="acme")):
        first = asyncio.create_task(prober.compare(probe_of(EXAMPLES, recipe)))
        await eventually(lambda: bool(probe.threads))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    with calling(Caller("two", tenant="acme")), pytest.raises(UsageLimitError, match="1 probes"):
        await prober.compare(probe_of(EXAMPLES, recipe))
    with calling(Caller("three")):
        other = asyncio.create_task(prober.compare(probe_of(EXAMPLES, recipe)))
    probe.gate.set()
    await other
    with calling(Caller("two", tenant="acme")):
        await prober.compare(probe_of(EXAMPLES, recipe))


async def test_probes_count_for_the_day(make_prober: MakeProber, recipe: Recipe) -> None:
    probe = FakeProbe()
    prober = make_prober(lambda: probe, probes_per_day=1)
    with calling(Caller("one")):
        await prober.compare(probe_of(EXAMPLES, recipe))
        with pytest.raises(UsageLimitError, match="1 probes"):
            await prober.compare(probe_of(EXAMPLES, recipe))
    assert len(probe.residual_prompts) == 2, "one without the LoRA, and one with it"


async def test_place_is_taken_and_counts_before_the_work_that_a_probe_needs(
    make_prober: MakeProber, recipe: Recipe
) -> None:
    prober = make_prober(FakeProbe, max_waiting=1, probes_per_day=2)
    with calling(Caller("one")):
        async with prober.reserve() as place:
            with pytest.raises(OverloadedError, match="1 probes are waiting"):
                await prober.compare(probe_of(EXAMPLES, recipe))
            await prober.verify_lengths(probe_of(EXAMPLES, recipe), place)
            await prober.compare(probe_of(EXAMPLES, recipe), place)
        with pytest.raises(ZeroDivisionError):
            async with prober.reserve():
                raise ZeroDivisionError
        with pytest.raises(UsageLimitError, match="2 probes"):
            await prober.compare(probe_of(EXAMPLES, recipe))
    await prober.compare(probe_of(EXAMPLES, recipe))


async def test_lengths_are_verified_without_a_lora(make_prober: MakeProber, recipe: Recipe) -> None:
    probe = FakeProbe()
    prober = make_prober(lambda: probe)
    async with prober.reserve() as place:
        with pytest.raises(InvalidRequestError, match=r"probe\.0: expected at most 20 tokens .* found 31"):
            await prober.verify_lengths(probe_of([Example("word " * 30, "x")], recipe), place)
    prober.close()
    with pytest.raises(DrainingError):
        await prober.verify_lengths(probe_of(EXAMPLES, recipe), place)
    assert probe.residual_prompts == []


def _cannot_load() -> EdgeProbe:
    raise MemoryError("no room")


@pytest.mark.parametrize("text", ["CRASH", "NAN"])
async def test_model_that_fails_is_reported_without_content(make_prober: MakeProber, recipe: Recipe, text: str) -> None:
    prober = make_prober(FakeProbe)
    with pytest.raises(GenerationError) as failed:
        await prober.compare(probe_of([Example(f"{text} secret", "")], recipe))
    assert failed.value.code == "probe_failed"
    assert "secret" not in str(failed.value)
    await prober.compare(probe_of(EXAMPLES, recipe))


async def test_model_that_cannot_be_loaded_and_recipe_of_another_bank_fail(
    make_prober: MakeProber, recipe: Recipe
) -> None:
    for load, gates in ((_cannot_load, recipe.gates), (FakeProbe, recipe.gates[:1])):
        with pytest.raises(CloudError) as failed:
            await make_prober(load).compare(probe_of(EXAMPLES, replace(recipe, gates=gates)))
        assert failed.value.code == "probe_failed"


async def test_input_that_the_edge_model_cannot_read_is_named(make_prober: MakeProber, recipe: Recipe) -> None:
    with pytest.raises(InvalidRequestError, match=r"probe\.1: expected at most 20 tokens with the answer, found 31"):
        await make_prober(FakeProbe).compare(probe_of([EXAMPLES[0], Example("word " * 30, "x")], recipe))


async def test_probe_is_bounded_by_the_tokens_of_all_its_inputs(
    make_prober: MakeProber, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_service.probing.MAX_PROBE_TOKENS", 30)
    with pytest.raises(InvalidRequestError, match=r"at most 30 tokens in all, found 36 up to probe\.2"):
        await make_prober(FakeProbe).compare(probe_of([Example("word " * 11, "x")] * 4, recipe))


async def test_refused_probe_is_asked_to_come_back_by_the_measured_rate(
    make_prober: MakeProber, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = FakeProbe()
    prober = make_prober(lambda: probe, max_waiting=1)
    prober._retry_after.measured(7.0)
    probe.gate.clear()
    waiting = asyncio.create_task(prober.compare(probe_of(EXAMPLES, recipe)))
    await eventually(lambda: bool(probe.threads))
    with pytest.raises(OverloadedError) as caught:
        await prober.compare(probe_of(EXAMPLES, recipe))
    assert 12 <= (caught.value.retry_after_seconds or 0) <= 14
    probe.gate.set()
    await waiting


async def test_rate_of_probes_counts_what_prepares_them_and_those_that_fail(
    make_prober: MakeProber, recipe: Recipe
) -> None:
    prober = make_prober(FakeProbe, max_waiting=1)
    for recipe_of_probe in (recipe, replace(recipe, bank_digest="0" * 64)):
        async with prober.reserve() as place:
            await asyncio.sleep(1.2)  # as long as a generation takes
            with suppress(GenerationError):
                await prober.compare(probe_of(EXAMPLES, recipe_of_probe), place)
    async with prober.reserve():
        with pytest.raises(OverloadedError) as caught:
            await prober.compare(probe_of(EXAMPLES, recipe))
        assert caught.value.retry_after_seconds == 3


async def test_place_that_was_left_without_work_says_nothing_of_the_rate(
    make_prober: MakeProber, recipe: Recipe
) -> None:
    prober = make_prober(FakeProbe, max_waiting=1)
    prober._retry_after.measured(7.0)
    for _ in range(50):
        async with prober.reserve():
            pass
    async with prober.reserve():
        with pytest.raises(OverloadedError) as caught:
            await prober.compare(probe_of(EXAMPLES, recipe))
        assert 13 <= (caught.value.retry_after_seconds or 0) <= 14


async def test_probe_that_nobody_waits_for_is_not_run_to_its_end(make_prober: MakeProber, recipe: Recipe) -> None:
    probe = FakeProbe()
    probe.gate.clear()
    prober = make_prober(lambda: probe)
    left = [asyncio.create_task(prober.compare(probe_of(EXAMPLES, recipe))) for _ in range(2)]
    await eventually(lambda: bool(probe.threads))
    for each in left:
        each.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    probe.gate.set()
    await prober.compare(probe_of(EXAMPLES, recipe))
    assert len(probe.residual_prompts) == 1 + 2, "the base model of the first, and both of the last"


async def test_close_tells_waiting_probes_that_the_service_drains(make_prober: MakeProber, recipe: Recipe) -> None:
    probe = FakeProbe()
    probe.gate.clear()
    prober = make_prober(lambda: probe)
    running, waiting = (asyncio.create_task(prober.compare(probe_of(EXAMPLES, recipe))) for _ in range(2))
    await eventually(lambda: bool(probe.threads))
    prober.close()
    with pytest.raises(DrainingError):
        await waiting
    with pytest.raises(DrainingError):
        await prober.compare(probe_of(EXAMPLES, recipe))
    probe.gate.set()
    with pytest.raises(DrainingError):
        await running
