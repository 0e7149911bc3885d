"""Channels over both real stores: nothing is lost, versions only grow, watchers hear of it."""

import asyncio
from dataclasses import replace

import pytest

from cloud_service.channels import ChannelService
from cloud_service.errors import (
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
)
from cloud_service.limits import MAX_REPORT_BYTES
from cloud_service.service import LoraRequest
from cloud_service.store import Store, StoredLora
from cloud_service.task import TaskDescription
from loragen.contract.channel import Channel, encode_channel, parse_channel
from loragen.contract.digest import sha256_hex
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.services import make_service
from tests.cloud_service.store_backends import SqliteBackend, StoreBackend


def _channels(store: Store) -> ChannelService:
    return ChannelService(store, watch_interval_seconds=0.05)


async def _generate(store: Store, generator: FakeGenerator, text: str) -> StoredLora:
    service = make_service(store, generator)
    try:
        return (await service.generate(LoraRequest(TaskDescription(text)))).lora
    finally:
        await service.close(5)


async def test_published_name_is_read_back_with_everything_a_device_needs(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    store = await backend.open()
    lora = await _generate(store, generator, "sort the mail")
    published = await _channels(store).publish("kitchen", "mail", lora.bundle_id)
    assert published.channel.version == 1
    read = await _channels(store).load("kitchen")
    assert read == published
    assert parse_channel(read.document) == read.channel
    (entry,) = read.channel.specializations
    assert (entry.name, entry.bundle_id, entry.bundle_bytes) == ("mail", lora.bundle_id, lora.bundle_bytes)
    assert entry.recipe is not None
    assert (entry.recipe.id, entry.recipe.bytes) == (lora.recipe_id, len(lora.recipe))
    assert entry.recipe.bank_digest == generator.bank.digest
    assert entry.edge_model_digest == generator.info.edge_model_digest


async def test_concurrent_publishes_on_two_replicas_lose_nothing(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    stores = [await backend.open(), await backend.open()]
    lora = await _generate(stores[0], generator, "sort the mail")
    replicas = [_channels(store) for store in stores]
    names = [f"name-{i:02}" for i in range(24)]
    published = await asyncio.gather(
        *(replicas[i % 2].publish("kitchen", name, lora.bundle_id) for i, name in enumerate(names))
    )
    assert sorted(one.channel.version for one in published) == list(range(1, 25))
    final = (await replicas[0].load("kitchen")).channel
    assert [entry.name for entry in final.specializations] == names
    assert final.version == 24


async def test_publishing_the_same_again_changes_nothing(backend: StoreBackend, generator: FakeGenerator) -> None:
    store = await backend.open()
    lora = await _generate(store, generator, "sort the mail")
    channels = _channels(store)
    first = await channels.publish("kitchen", "mail", lora.bundle_id)
    assert await channels.publish("kitchen", "mail", lora.bundle_id) == first


async def test_withdrawn_name_is_gone_and_the_version_goes_on(backend: StoreBackend, generator: FakeGenerator) -> None:
    store = await backend.open()
    lora = await _generate(store, generator, "sort the mail")
    channels = _channels(store)
    await channels.publish("kitchen", "mail", lora.bundle_id)
    withdrawn = await channels.withdraw("kitchen", "mail")
    assert (withdrawn.channel.version, withdrawn.channel.specializations) == (2, ())
    with pytest.raises(NotFoundError, match="mail"):
        await channels.withdraw("kitchen", "mail")
    again = await channels.publish("kitchen", "mail", lora.bundle_id)
    assert again.channel.version == 3


async def test_publish_over_a_document_that_the_caller_did_not_see_is_refused(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    store = await backend.open()
    lora = await _generate(store, generator, "sort the mail")
    channels = _channels(store)
    seen = await channels.publish("kitchen", "mail", lora.bundle_id)
    await channels.publish("kitchen", "other", lora.bundle_id)
    with pytest.raises(PreconditionError):
        await channels.publish("kitchen", "third", lora.bundle_id, lambda digest, _: digest == seen.digest)
    current = await channels.load("kitchen")
    changed = await channels.withdraw("kitchen", "other", lambda digest, _: digest == current.digest)
    assert changed.channel.version == 3


async def test_published_recipe_outlives_its_time(backend: StoreBackend, generator: FakeGenerator) -> None:
    store = await backend.open(recipe_ttl_seconds=0.3)
    lora = await _generate(store, generator, "sort the mail")
    await _channels(store).publish("kitchen", "mail", lora.bundle_id)
    await asyncio.sleep(0.4)
    assert await store.load_recipe(lora.recipe_id) == lora.recipe


async def test_unknown_bundle_is_not_published(backend: StoreBackend) -> None:
    channels = _channels(await backend.open())
    with pytest.raises(NotFoundError, match="no bundle"):
        await channels.publish("kitchen", "mail", sha256_hex(b"unknown"))
    with pytest.raises(NotFoundError, match="no channel"):
        await channels.load("kitchen")


async def test_bundle_with_a_damaged_recipe_is_not_published(sqlite: SqliteBackend, generator: FakeGenerator) -> None:
    store = await sqlite.open()
    lora = await _generate(store, generator, "sort the mail")
    await store.store_generation("damages", replace(lora, recipe=b"damaged"), b"")
    with pytest.raises(IntegrityError, match=lora.recipe_id) as caught:
        await _channels(store).publish("kitchen", "mail", lora.bundle_id)
    assert "generate it again" in caught.value.hint


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "a\n", "a" * 254, "ü"])
async def test_names_that_are_none_are_refused(sqlite: SqliteBackend, name: str) -> None:
    channels = _channels(await sqlite.open())
    for call in (
        channels.load(name),
        channels.publish("c", name, "0" * 64),
        channels.publish(name, "n", "0" * 64),
        channels.withdraw(name, "n"),
        channels.report("c", name, b""),
        channels.devices(name, 1),
    ):
        with pytest.raises(InvalidRequestError):
            await call


async def test_restart_keeps_channels(backend: StoreBackend, generator: FakeGenerator) -> None:
    store = await backend.open()
    lora = await _generate(store, generator, "sort the mail")
    before = await _channels(store).publish("kitchen", "mail", lora.bundle_id)
    await backend.restart()
    assert await _channels(await backend.open()).load("kitchen") == before


async def test_damaged_channel_is_an_integrity_error(sqlite: SqliteBackend) -> None:
    store = await sqlite.open()
    await store.swap_channel("kitchen", 0, 1, b'{"format": "channel"')
    with pytest.raises(IntegrityError):
        await _channels(store).load("kitchen")


async def test_names_of_the_edge_model_are_refused_and_can_be_withdrawn(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    """Every device would refuse them; a channel that an earlier version let one into is cleaned up as any other."""
    store = await backend.open()
    lora = await _generate(store, generator, "sort the mail")
    channels = _channels(store)
    mail = (await channels.publish("kitchen", "mail", lora.bundle_id)).channel
    for name in ("base", generator.info.edge_model_id):
        with pytest.raises(InvalidRequestError, match=name) as caught:
            await channels.publish("kitchen", name, lora.bundle_id)
        assert caught.value.code == "reserved_name"
    assert (await channels.load("kitchen")).channel == mail
    earlier = Channel("kitchen", 2, (replace(mail.specializations[0], name="base"), *mail.specializations))
    await store.swap_channel("kitchen", 1, 2, encode_channel(earlier))
    assert (await channels.withdraw("kitchen", "base")).channel.specializations == mail.specializations


async def test_report_over_the_limit_is_refused(backend: StoreBackend) -> None:
    channels = _channels(await backend.open())
    await channels.report("kitchen", "device", b"x" * MAX_REPORT_BYTES)
    with pytest.raises(InvalidRequestError, match="at most 131072 bytes as JSON, found 131073"):
        await channels.report("kitchen", "device", b"x" * (MAX_REPORT_BYTES + 1))
