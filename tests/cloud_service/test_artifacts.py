"""Bundles and recipes by their ids, with a real bank and both real stores."""

import asyncio
import gc
from pathlib import Path

import pytest

from cloud_service.errors import ArtifactGoneError, NotFoundError
from cloud_service.lora_request import GeneratedLora, LoraRequest
from cloud_service.store import Store
from cloud_service.task import TaskDescription
from loragen.contract.bundle import content_id
from loragen.contract.recipe import parse_recipe
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.services import MakeService
from tests.cloud_service.store_backends import StoreBackend


async def _generate(services: MakeService, store: Store, generator: FakeGenerator) -> GeneratedLora:
    """Generates on a replica of its own, so that others do not share the fresh bytes."""
    return await services(store, generator).generate(LoraRequest(TaskDescription("sort the mail")))


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
    answer = await _generate(services, store, generator)
    assert await store.load_bundle(answer.lora.bundle_id) is None
    bundles = await asyncio.gather(*(service.artifacts.fetch_bundle(answer.lora) for _ in range(3)))
    assert {content_id(bundle) for bundle in bundles} == {answer.lora.bundle_id}


async def test_fresh_bundle_is_stored_when_no_model_has_work(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open()
    service = services(store, generator)
    first = await service.generate(LoraRequest(TaskDescription("first")))
    # One by one, so that each of these is fresh while the next one is at work.
    answers = [await service.generate(LoraRequest(TaskDescription(f"task {number}"))) for number in range(8)]
    await _until_stored(store, answers[-1].lora.bundle_id)
    for answer in (first, *answers):
        assert content_id(await service.artifacts.fetch_bundle(answer.lora)) == answer.lora.bundle_id


async def test_busy_model_keeps_bundles_out_of_the_store_and_few_in_memory(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open()
    service = services(store, generator)
    generator.gate.clear()
    busy = asyncio.create_task(service.generate(LoraRequest(TaskDescription("busy"))))
    await generator.wait_until_called()
    held = [service.artifacts.keep(f"{number:064}", b"bundle %d" % number) for number in range(6)]
    await asyncio.sleep(0)
    assert await store.load_bundle(f"{5:064}") is None
    generator.gate.set()
    await busy
    await _until_stored(store, f"{5:064}")
    assert [await store.load_bundle(f"{number:064}") for number in (0, 1)] == [None, None]
    assert len(held) == 6


async def test_damaged_bundle_in_the_store_is_rebuilt_and_replaced(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open()
    service = services(store, generator)
    answer = await _generate(services, store, generator)
    await store.store_bundle(answer.lora.bundle_id, b"damaged")
    bundle = await service.artifacts.fetch_bundle(answer.lora)
    assert content_id(bundle) == answer.lora.bundle_id
    assert await store.load_bundle(answer.lora.bundle_id) == bundle


async def test_downloads_of_one_bundle_share_its_bytes_while_they_last(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await backend.open()
    service = services(store, generator)
    answer = await _generate(services, store, generator)
    loaded: list[str] = []
    load = store.load_bundle

    async def counted(bundle_id: str) -> bytes | None:
        loaded.append(bundle_id)
        return await load(bundle_id)

    monkeypatch.setattr(store, "load_bundle", counted)

    async def download() -> int:
        together = await asyncio.gather(*(service.artifacts.fetch_bundle(answer.lora) for _ in range(20)))
        later = await service.artifacts.fetch_bundle(answer.lora)
        return len({id(bundle) for bundle in (*together, later)})

    assert (await download(), len(loaded)) == (1, 1)
    gc.collect()
    assert (await download(), len(loaded)) == (1, 2)


async def test_evicted_bundle_of_an_unloaded_generator_is_gone_and_its_recipe_is_not(
    backend: StoreBackend, tmp_path: Path, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open(bundle_budget_bytes=0)
    answer = await _generate(services, store, generator)
    later = services(store, FakeGenerator(tmp_path, generator_id="another"))
    with pytest.raises(ArtifactGoneError) as caught:
        await later.artifacts.fetch_bundle(await later.artifacts.find_bundle(answer.lora.bundle_id))
    assert answer.lora.recipe_id in caught.value.hint
    assert parse_recipe(await later.artifacts.fetch_recipe(answer.lora.recipe_id)).bank_digest == generator.bank.digest


async def test_unknown_ids_are_not_found(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await backend.open(), generator)
    with pytest.raises(NotFoundError):
        await service.artifacts.find_bundle("0" * 64)
    with pytest.raises(NotFoundError):
        await service.artifacts.fetch_recipe("0" * 64)
