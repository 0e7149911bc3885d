"""Bundles and recipes by their ids, with a real bank and both real stores."""

import asyncio
import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloud_service.errors import ArtifactGoneError, GenerationError, IntegrityError, NotFoundError
from cloud_service.generation import Asked
from cloud_service.lora_request import LoraRequest, PublishTarget
from cloud_service.store import Store, StoredLora, StoredRecipe
from cloud_service.task import TaskDescription
from loragen.contract.bank import Bank
from loragen.contract.bundle import content_id
from loragen.contract.recipe import Recipe, parse_recipe
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.services import MakeService, generate_lora
from tests.cloud_service.store_backends import StoreBackend


async def _until_stored(store: Store, bundle_id: str) -> None:
    for _ in range(1_000):
        if await store.load_bundle(bundle_id) is not None:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it was never stored")


async def test_evicted_bundle_is_rebuilt_from_its_recipe(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open(bundle_budget_bytes=0)
    service = services(store, generator)
    lora = await generate_lora(store, generator, "sort the mail")
    assert await store.load_bundle(lora.bundle_id) is None
    bundles = await asyncio.gather(*(service.artifacts.fetch_bundle(lora) for _ in range(3)))
    assert {content_id(bundle) for bundle in bundles} == {lora.bundle_id}


async def test_bundle_is_built_when_it_is_needed_for_the_first_time_and_once(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = services(await backend.open(), generator)
    built: list[Recipe] = []
    build = service.artifacts.build

    async def counted(bank: Bank, recipe: Recipe) -> tuple[str, bytes, float]:
        built.append(recipe)
        return await build(bank, recipe)

    monkeypatch.setattr(service.artifacts, "build", counted)
    answer = await service.generate(LoraRequest(TaskDescription("sort the mail")))
    assert (built, answer.id) == ([], answer.lora.recipe_id)
    together = await asyncio.gather(*(service.artifacts.find_bundle(answer.id) for _ in range(5)))
    assert (len(set(together)), len(built)) == (1, 1)
    lora = together[0]
    bundle = await service.artifacts.fetch_bundle(lora)
    assert (content_id(bundle), len(bundle)) == (lora.bundle_id, answer.lora.bundle_bytes)
    publish = PublishTarget("kitchen", "mail")
    published = await service.generate(LoraRequest(TaskDescription("sort the mail"), publish=publish))
    assert (published.id, published.cached, len(built)) == (lora.bundle_id, True, 1)


async def test_bundle_that_was_built_while_a_request_looked_for_it_is_not_built_again(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await backend.open()
    service = services(store, generator)
    answer = await service.generate(LoraRequest(TaskDescription("sort the mail")))
    made: list[StoredLora] = []
    load = store.load_recipe

    async def overtaken(recipe_id: str) -> bytes | None:
        recipe = await load(recipe_id)
        if not made:
            made.append(await service.artifacts.find_lora(StoredRecipe(recipe_id, answer.lora.recipe, 0)))
        return recipe

    async def build(bank: Bank, recipe: Recipe) -> tuple[str, bytes, float]:
        assert not made, "built again"
        return await make(bank, recipe)

    make = service.artifacts.build
    monkeypatch.setattr(store, "load_recipe", overtaken)
    monkeypatch.setattr(service.artifacts, "build", build)
    found = await service.artifacts.find_bundle(answer.id)
    assert found == made[0]


async def test_damaged_recipe_makes_no_bundle(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open()
    service = services(store, generator)
    answer = await service.generate(LoraRequest(TaskDescription("sort the mail")))
    other = await service.generate(LoraRequest(TaskDescription("sort the post")))
    await store.store_generation("key", replace(answer.lora, recipe=other.lora.recipe))
    with pytest.raises(IntegrityError, match="damaged"):
        await service.artifacts.find_bundle(answer.id)


async def test_recipe_that_makes_no_usable_bundle_is_a_generation_error(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that overflow are found when the bundle is built; everything else before the answer."""
    service = services(await backend.open(), generator)
    (good,) = generator.generate([Asked.of(TaskDescription("sort the mail"))])
    huge = replace(good, gates=np.full_like(good.gates, 1e30))
    monkeypatch.setattr(generator, "generate", lambda prompts: [huge for _ in prompts])
    answer = await service.generate(LoraRequest(TaskDescription("sort the mail")))
    with pytest.raises(GenerationError, match="finite"):
        await service.artifacts.find_bundle(answer.id)


async def test_fresh_bundle_is_stored_when_no_model_has_work(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open()
    service = services(store, generator)
    publish = PublishTarget("kitchen", "x")
    # One by one, so that each of these is fresh while the next one is at work.
    tasks = [TaskDescription(f"task {number}") for number in range(9)]
    answers = [await service.generate(LoraRequest(task, publish=publish)) for task in tasks]
    await _until_stored(store, answers[-1].id)
    for answer in answers:
        lora = await service.artifacts.find_bundle(answer.id)
        assert content_id(await service.artifacts.fetch_bundle(lora)) == answer.id


async def test_busy_model_keeps_bundles_out_of_the_store_and_few_in_memory(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open()
    service = services(store, generator)
    generator.gate.clear()
    busy = asyncio.create_task(service.generate(LoraRequest(TaskDescription("busy"))))
    await generator.wait_until_called()
    views = [service.artifacts.store_later(f"{number:064}", b"bundle %d" % number) for number in range(6)]
    await asyncio.sleep(0)
    assert await store.load_bundle(f"{5:064}") is None
    generator.gate.set()
    await busy
    await _until_stored(store, f"{5:064}")
    assert [await store.load_bundle(f"{number:064}") for number in (0, 1)] == [None, None]
    assert len(views) == 6


async def test_damaged_bundle_in_the_store_is_rebuilt_and_replaced(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open()
    service = services(store, generator)
    lora = await generate_lora(store, generator, "sort the mail")
    await store.store_bundle(lora.bundle_id, b"damaged")
    bundle = await service.artifacts.fetch_bundle(lora)
    assert content_id(bundle) == lora.bundle_id
    assert await store.load_bundle(lora.bundle_id) == bundle


async def test_downloads_of_one_bundle_share_its_bytes_while_they_last(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await backend.open()
    service = services(store, generator)
    lora = await generate_lora(store, generator, "sort the mail")
    await services(store, generator).artifacts.fetch_bundle(lora)
    loaded: list[str] = []
    load = store.load_bundle

    async def counted(bundle_id: str) -> bytes | None:
        loaded.append(bundle_id)
        return await load(bundle_id)

    monkeypatch.setattr(store, "load_bundle", counted)

    async def download() -> int:
        together = await asyncio.gather(*(service.artifacts.fetch_bundle(lora) for _ in range(20)))
        later = await service.artifacts.fetch_bundle(lora)
        return len({id(bundle) for bundle in (*together, later)})

    assert (await download(), len(loaded)) == (1, 1)
    gc.collect()
    assert (await download(), len(loaded)) == (1, 2)


async def test_evicted_bundle_of_an_unloaded_generator_is_gone_and_its_recipe_is_not(
    backend: StoreBackend, tmp_path: Path, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open(bundle_budget_bytes=0)
    lora = await generate_lora(store, generator, "sort the mail")
    later = services(store, FakeGenerator(tmp_path, generator_id="another"))
    with pytest.raises(ArtifactGoneError) as caught:
        await later.artifacts.fetch_bundle(await later.artifacts.find_bundle(lora.bundle_id))
    assert lora.recipe_id in caught.value.hint
    assert parse_recipe(await later.artifacts.fetch_recipe(lora.recipe_id)).bank_digest == generator.bank.digest


async def test_unknown_ids_are_not_found(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    with pytest.raises(NotFoundError):
        await service.artifacts.find_bundle("0" * 64)
    with pytest.raises(NotFoundError):
        await service.artifacts.fetch_recipe("0" * 64)
