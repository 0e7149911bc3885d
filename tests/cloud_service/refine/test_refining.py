"""Requests with `refine` through the service: what is read and tuned on, stored, and found again."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cloud_service.errors import InvalidRequestError, OverloadedError
from cloud_service.limits import MAX_REFINE_TOKENS
from cloud_service.lora_request import LoraRequest
from cloud_service.refinement import MOST_SHOWN, RefinePlan
from cloud_service.task import Example, TaskDescription
from loragen.contract.answer import AnswerContract, Function
from loragen.contract.assembly import build_bundle
from loragen.contract.recipe import parse_recipe
from tests.cloud_service.clouds import eventually
from tests.cloud_service.fake_generator import CHOICE, CHOOSE, FakeGenerator
from tests.cloud_service.services import MakeService
from tests.cloud_service.store_backends import StoreBackend

PLAN = RefinePlan(steps=4, budget_seconds=5)


def texts(count: int, output: str = "out") -> tuple[Example, ...]:
    return tuple(Example(f"input {number}", f"{output} {number}") for number in range(count))


def labelled(count: int) -> tuple[Example, ...]:
    return tuple(Example(f"mail {number}", CHOICE.choices[number % 2]) for number in range(count))


def request(description: str, examples: tuple[Example, ...], **changes: Any) -> LoraRequest:
    return replace(LoraRequest(TaskDescription(description, examples), refine=PLAN), **changes)


async def test_first_examples_are_read_and_all_are_tuned_on(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    examples = texts(40)
    answer = await service.generate(request("Write.", (*examples, *examples)))
    (prompt,) = generator.prompts
    assert prompt.count("Input:") == MOST_SHOWN
    ((tuned_on, shown),) = generator.tuners[0].calls
    assert (tuned_on, shown) == (examples, MOST_SHOWN)
    assert answer.refinement is not None
    assert answer.refinement.kept
    assert not answer.cached
    assert answer.confidence is not None
    recipe = parse_recipe(await service.artifacts.fetch_recipe(answer.lora.recipe_id))
    assert np.array_equal(recipe.gates, answer.recipe.gates)
    assert await service.artifacts.fetch_bundle(answer.lora) == build_bundle(generator.bank, recipe)


async def test_equal_request_is_answered_from_the_store_and_another_plan_is_not(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open()
    first = await services(store, generator).generate(request("Write.", texts(8)))
    again = await services(store, generator).generate(request("  Write.\n", texts(8)))
    assert (again.cached, again.lora, again.refinement) == (True, first.lora, first.refinement)
    assert again.confidence == first.confidence
    assert len(generator.tuners) == 1
    other = await services(store, generator).generate(request("Write.", texts(8), refine=replace(PLAN, steps=5)))
    assert not other.cached
    assert len(generator.prompts) == 1  # its one pass is the same
    plain = await services(store, generator).generate(request("Write.", texts(8), refine=None))
    assert plain.refinement is None
    assert plain.lora != first.lora


async def test_equal_requests_at_a_time_refine_once(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    answers = await asyncio.gather(*(service.generate(request("Write.", texts(8))) for _ in range(3)))
    assert len({answer.id for answer in answers}) == 1
    assert sorted(answer.cached for answer in answers) == [False, True, True]
    assert len(generator.tuners[0].calls) == 1


async def test_what_got_no_better_is_the_one_pass_recipe(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    examples = texts(8, "WORSE")
    answer = await service.generate(request("Write.", examples))
    assert answer.refinement is not None
    assert not answer.refinement.kept
    one_pass = await service.generate(LoraRequest(TaskDescription("Write.", examples[:2])))
    assert answer.lora.recipe_id == one_pass.lora.recipe_id


async def test_closed_set_follows_from_all_examples(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    """The few that the generator reads would not make one."""
    service = services(await backend.open(), generator)
    answer = await service.generate(request("Sort.", labelled(12)))
    assert answer.recipe.answer.options == CHOICE.options
    assert answer.recipe.keys is not None
    assert answer.refinement is not None
    assert answer.refinement.tuned == "keys"


@pytest.mark.parametrize(
    ("description", "examples", "code", "message"),
    [
        ("x", texts(3), "too_few_examples", "at least 4 different inputs to refine on, found 3"),
        ("x", texts(1) * 50, "too_few_examples", "found 1"),
        ("x", (), "too_few_examples", "found 0"),
        (
            "x",
            (*texts(9), Example("word " * MAX_REFINE_TOKENS, "out")),
            "example_too_long",
            r"examples\.9: expected at most 1024 tokens with the output, found 1025",
        ),
    ],
)
async def test_examples_that_cannot_be_tuned_on_are_refused_before_anything_is_generated(
    backend: StoreBackend,
    generator: FakeGenerator,
    services: MakeService,
    description: str,
    examples: tuple[Example, ...],
    code: str,
    message: str,
) -> None:
    service = services(await backend.open(), generator)
    with pytest.raises(InvalidRequestError, match=message) as refused:
        await service.generate(request(description, examples))
    assert refused.value.code == code
    assert generator.prompts == []


async def test_output_outside_of_the_set_is_refused_with_its_number(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    task = TaskDescription(CHOOSE, (*labelled(6), Example("mail", "bill")), answer=replace(CHOICE, codes=()))
    service = services(await backend.open(), generator)
    with pytest.raises(InvalidRequestError, match=r"examples\.6\.output: expected one of the 2 choices") as refused:
        await service.generate(LoraRequest(task, refine=PLAN))
    assert refused.value.code == "example_not_a_choice"


async def test_examples_of_several_calls_are_tuned_on(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    """The first of them is the option; one that calls nothing known is refused with its number."""
    contract = AnswerContract("tool_calls", functions=(Function("play"), Function("wake")), parallel=True)
    call = {name: f'{{"name": "{name}", "arguments": {{}}}}' for name in ("play", "wake", "other")}
    several = tuple(Example(f"do {n}", f"{call['wake']}\n{call['play']}") for n in range(7))
    task = TaskDescription(CHOOSE, (*several, Example("play", call["play"])), answer=contract)
    service = services(await backend.open(), generator)
    answer = await service.generate(LoraRequest(task, refine=PLAN))
    assert answer.refinement is not None
    assert answer.refinement.examples == 8
    wrong = replace(task, examples=(*task.examples, Example("else", f"{call['other']}\n{call['play']}")))
    with pytest.raises(InvalidRequestError, match=r"examples\.8\.output: expected one of the 2 choices"):
        await service.generate(LoraRequest(wrong, refine=PLAN))


async def test_budget_over_the_operators_limit_is_refused(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    with pytest.raises(InvalidRequestError, match=r"refine\.budget_seconds: expected at most 100, found 101"):
        await service.generate(request("Write.", texts(8), refine=RefinePlan(4, 101)))


async def test_refinements_do_not_delay_generations(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    """One runs and two wait, and no more are taken; requests without are answered meanwhile."""
    service = services(await backend.open(), generator)
    generator.tuner_gate.clear()
    refining = [asyncio.create_task(service.generate(request(f"Write {n}.", texts(8)))) for n in range(3)]
    await eventually(lambda: bool(generator.tuners) and bool(generator.tuners[0].calls))
    with pytest.raises(OverloadedError):
        await service.generate(request("Write too.", texts(8)))
    assert (await asyncio.wait_for(service.generate(LoraRequest(TaskDescription("Sort."))), 2)).refinement is None
    assert not any(task.done() for task in refining)
    generator.tuner_gate.set()
    answers = await asyncio.gather(*refining)
    assert all(answer.refinement is not None for answer in answers)


async def test_damaged_note_is_a_miss(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await backend.open()
    service = services(store, generator)
    with monkeypatch.context() as broken:
        broken.setattr("cloud_service.refine.refining._encode_note", lambda *_: b'{"refinement": {}}')
        await service.generate(request("Write.", texts(8)))
    assert not (await service.generate(request("Write.", texts(8)))).cached
    assert (await service.generate(request("Write.", texts(8)))).cached
