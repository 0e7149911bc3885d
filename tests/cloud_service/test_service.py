"""The use cases around a generation, with a fake model, a real bank and both real stores."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloud_service.access.caller import Caller, calling
from cloud_service.access.scopes import Scope
from cloud_service.errors import (
    DeadlineError,
    GenerationError,
    InvalidRequestError,
    LowConfidenceError,
    PromptTooLongError,
    UsageLimitError,
)
from cloud_service.generation import Asked, Confidence, cache_key
from cloud_service.lora_request import LoraRequest, PublishTarget
from cloud_service.task import Example, TaskDescription
from loragen.contract.answer import TEXT_ANSWER
from loragen.contract.assembly import build_bundle
from loragen.contract.bundle import content_id, parse_bundle
from loragen.contract.recipe import parse_recipe
from tests.cloud_service.fake_generator import CHOICE, CHOOSE, HEAD, FakeGenerator
from tests.cloud_service.services import MakeService
from tests.cloud_service.store_backends import StoreBackend


def _request(text: str) -> LoraRequest:
    return LoraRequest(TaskDescription(text))


async def test_answer_names_the_bundle_that_its_recipe_builds(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    answer = await service.generate(_request("sort the mail"))
    assert not answer.cached
    recipe = parse_recipe(await service.artifacts.fetch_recipe(answer.lora.recipe_id))
    assert (recipe.gates == answer.recipe.gates).all()
    lora = await service.artifacts.find_bundle(answer.id)
    bundle = await service.artifacts.fetch_bundle(lora)
    assert content_id(bundle) == lora.bundle_id
    assert len(bundle) == lora.bundle_bytes == answer.lora.bundle_bytes
    assert bundle == build_bundle(generator.bank, recipe)
    assert parse_bundle(bundle).header.prompt_tokens == 3


async def test_answer_contract_and_keys_of_a_generation_are_in_recipe_and_bundle(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    """Also when the answer comes from the store, and when the bundle is built again from the recipe."""
    service = services(await backend.open(bundle_budget_bytes=0), generator)
    for text, contract, ranks in ((CHOOSE, CHOICE, {HEAD.rank}), ("sort the mail", TEXT_ANSWER, {2})):
        for _ in range(2):
            answer = await service.generate(_request(text))
            assert answer.recipe.answer == contract
            assert (answer.recipe.keys is None) == (contract == TEXT_ANSWER)
        bundle = parse_bundle(await service.artifacts.fetch_bundle(await service.artifacts.find_bundle(answer.id)))
        assert bundle.header.answer == contract
        assert set(bundle.lora.ranks.values()) == ranks
        assert (bundle.lora.ranks.keys() == {(1, "down")}) == (contract == CHOICE)


async def test_codes_that_are_not_those_of_the_bank_are_a_generation_error(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = generator._generate(Asked.of(TaskDescription(CHOOSE)))
    wrong = replace(good, answer=replace(CHOICE, codes=CHOICE.codes[::-1]))
    monkeypatch.setattr(generator, "generate", lambda prompts: [wrong for _ in prompts])
    with pytest.raises(GenerationError, match="codes"):
        await services(await backend.open(), generator).generate(_request(CHOOSE))


async def test_equal_request_is_answered_from_the_store(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    first = await service.generate(_request("sort the mail"))
    second = await service.generate(_request("  sort the mail  \n"))
    assert second.cached
    assert second.lora == first.lora
    assert second.timings.generate == 0
    assert len(generator.prompts) == 1


async def test_concurrent_equal_requests_generate_once(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    generator.seconds = 0.05
    answers = await asyncio.gather(*(service.generate(_request("sort the mail")) for _ in range(20)))
    assert len(generator.prompts) == 1
    assert len({answer.id for answer in answers}) == 1
    assert sorted(answer.cached for answer in answers) == [False] + [True] * 19


async def test_concurrent_equal_requests_on_two_replicas_generate_once(
    backend: StoreBackend, tmp_path: Path, services: MakeService
) -> None:
    generators = [FakeGenerator(tmp_path), FakeGenerator(tmp_path)]
    replicas = [services(await backend.open(), generator) for generator in generators]
    for generator in generators:
        generator.seconds = 0.1
    answers = await asyncio.gather(*(replicas[i % 2].generate(_request("sort the mail")) for i in range(10)))
    assert sum(len(generator.prompts) for generator in generators) == 1
    assert len({answer.lora for answer in answers}) == 1


async def test_another_replica_takes_over_from_one_that_died(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open()
    key = cache_key(TaskDescription("sort the mail"), generator.info)
    assert await store.acquire_lease(key, "a replica that died", 0.5)
    answer = await services(store, generator).generate(_request("sort the mail"))
    assert not answer.cached


async def test_lease_is_prolonged_while_the_model_works(
    backend: StoreBackend, tmp_path: Path, services: MakeService
) -> None:
    generators = [FakeGenerator(tmp_path), FakeGenerator(tmp_path)]
    replicas = [services(await backend.open(), generator, lease_seconds=0.3) for generator in generators]
    generators[0].seconds = 1.0
    first = asyncio.create_task(replicas[0].generate(_request("sort the mail")))
    await generators[0].wait_until_called()
    second = await replicas[1].generate(_request("sort the mail"))
    assert second.cached
    assert (await first).lora == second.lora
    assert generators[1].prompts == []


async def test_caller_that_leaves_does_not_take_the_work_along(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    generator.gate.clear()
    leaver = asyncio.create_task(service.generate(_request("sort the mail")))
    await generator.wait_until_called()
    stayer = asyncio.create_task(service.generate(_request("sort the mail")))
    await asyncio.sleep(0.02)
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    generator.gate.set()
    await stayer
    assert len(generator.prompts) == 1


async def test_fresh_bundle_is_handed_on_and_not_read_back(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(bundle_budget_bytes=0), generator)
    probe = (Example("echo", "echo"),)
    request = LoraRequest(TaskDescription("sort the mail"), include_bundle=True, probe=probe)
    fresh = await asyncio.gather(service.generate(request), service.generate(request))
    assert all(answer.bundle is not None and answer.probe is not None for answer in fresh)
    assert fresh[0].bundle is fresh[1].bundle
    assert (await service.generate(_request("sort the mail"))).bundle is None
    later = await service.generate(request)
    assert (later.cached, later.bundle) == (True, fresh[0].bundle)


async def test_damaged_recipe_in_the_store_is_generated_again_and_replaced(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open()
    service = services(store, generator)
    first = await service.generate(_request("sort the mail"))
    await store.store_generation("damages", replace(first.lora, recipe=b"damaged"), b"")
    again = await service.generate(_request("sort the mail"))
    assert (again.cached, again.lora) == (False, first.lora)
    assert await service.artifacts.fetch_recipe(first.lora.recipe_id) == first.lora.recipe
    assert (await service.generate(_request("sort the mail"))).cached


async def test_failures_are_not_cached_and_leave_the_service_alive(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    for text, error in (("CRASH", GenerationError), ("NAN", GenerationError), ("word " * 201, PromptTooLongError)):
        for _ in range(2):
            with pytest.raises(error):
                await service.generate(_request(text))
    assert generator.prompts.count("CRASH") == 2
    await service.verify_ready()
    assert not (await service.generate(_request("sort the mail"))).cached


async def test_slow_model_is_a_deadline_error_and_the_service_goes_on(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator, request_timeout_seconds=1)
    generator.gate.clear()
    with pytest.raises(DeadlineError):
        await service.generate(_request("sort the mail"))
    generator.gate.set()
    assert not (await service.generate(_request("another task"))).cached


async def test_restart_keeps_recipes_and_bundles(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    before = await service.generate(_request("sort the mail"))
    made = await service.artifacts.find_bundle(before.id)
    await service.close(5)
    await backend.restart()
    service = services(await backend.open(), generator)
    after = await service.generate(_request("sort the mail"))
    assert after.cached
    assert after.lora == before.lora
    assert np.array_equal(after.recipe.gates, before.recipe.gates)
    assert await service.artifacts.find_bundle(after.id) == made
    assert content_id(await service.artifacts.fetch_bundle(made)) == made.bundle_id


async def test_strict_holds_for_closed_sets_too(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    strict = await service.generate(replace(_request(CHOOSE), strict=True))
    assert (strict.confidence, strict.recipe.answer) == (Confidence(0.875, is_familiar=True), CHOICE)
    with pytest.raises(LowConfidenceError):
        await service.generate(replace(_request(f"NONSENSE {CHOOSE}"), strict=True))


async def test_probe_counts_in_the_confidence_and_strict_waits_for_it(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open()
    service = services(store, generator)
    gained, not_gained = Example("echo", "echo"), Example("ping", "pong")
    doubtful = replace(_request("NONSENSE"), strict=True)
    with pytest.raises(LowConfidenceError):
        await service.generate(doubtful)
    answer = await service.generate(replace(doubtful, probe=(gained, gained)))
    assert answer.confidence == Confidence(0.125, is_familiar=True).after(gained=2, answered=2)
    assert answer.warnings == ()
    trusted = replace(_request("sort the mail"), strict=True)
    await service.generate(trusted)
    refused = replace(trusted, probe=(not_gained, not_gained), publish=PublishTarget("kitchen", "mail"))
    with pytest.raises(LowConfidenceError):
        await service.generate(refused)
    assert await store.channels.load("kitchen") is None, "nothing was published"


async def test_examples_left_out_count_like_a_probe_and_strict_waits_for_them(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    gained, not_gained = (Example("echo", "echo"), Example("again", "again")), (Example("a", "b"), Example("c", "d"))
    task = TaskDescription("NONSENSE", gained)
    plain = await service.generate(LoraRequest(task))
    answer = await service.generate(LoraRequest(task, strict=True, probe_examples=True))
    assert answer.confidence == Confidence(0.125, is_familiar=True).after(gained=2, answered=2)
    assert answer.probe is not None
    assert (answer.probe.specialized.exact_match, answer.warnings) == (1, ())
    assert (answer.cached, answer.lora.recipe_id) == (True, plain.lora.recipe_id)
    assert np.array_equal(answer.recipe.gates, plain.recipe.gates), "the LoRA is that of all examples"
    assert len(generator.prompts) == 1 + 2
    trusted = LoraRequest(TaskDescription("Sort.", not_gained), strict=True, probe_examples=True)
    await service.generate(replace(trusted, probe_examples=False))
    with pytest.raises(LowConfidenceError):
        await service.generate(trusted)
    after = await service.generate(LoraRequest(task))
    assert after.confidence == plain.confidence, "what was found belongs to one request"


async def test_closed_set_over_the_codes_is_refused(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    generator.info = replace(generator.info, most_choices=1)
    with pytest.raises(InvalidRequestError, match="at most 1 choices, found 2") as caught:
        await services(await backend.open(), generator).generate(_request("Answer spam or ham."))
    assert caught.value.code == "too_many_choices"


async def test_channel_that_the_tenant_may_not_have_is_refused_before_anything_is_generated(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(channels_per_tenant=1), generator)
    with calling(Caller("key", tenant="acme", scopes=frozenset({Scope.PUBLISH}))):
        await service.generate(replace(_request("first"), publish=PublishTarget("acme.a", "mail")))
        another = replace(_request("second"), publish=PublishTarget("acme.b", "mail"))
        for asked in (service.generate, service.verify):
            with pytest.raises(UsageLimitError) as caught:
                await asked(another)
            assert caught.value.code == "too_many_channels"
        await service.generate(replace(_request("third"), publish=PublishTarget("acme.a", "mail")))
    assert generator.prompts == ["first", "third"]
