"""Channels over both real stores: nothing is lost, versions only grow, watchers hear of it."""

import asyncio
from dataclasses import replace

import pytest

from cloud_service.access.caller import Caller, calling
from cloud_service.errors import (
    ConflictError,
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
    UsageLimitError,
)
from cloud_service.fleet.channel_writer import PublishedChannel
from cloud_service.fleet.channels import ChannelService
from cloud_service.store import Store, StoredEvent
from loragen.contract.channel import Channel, encode_channel, parse_channel
from loragen.contract.digest import sha256_hex
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.services import generate_lora, make_channels
from tests.cloud_service.store_backends import SqliteBackend, StoreBackend, swap


def _channels(store: Store) -> ChannelService:
    return make_channels(store)


async def test_published_name_is_read_back_with_everything_a_device_needs(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    store = await backend.open()
    lora = await generate_lora(store, generator, "sort the mail")
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


async def test_tenant_has_a_bounded_number_of_channels(backend: StoreBackend, generator: FakeGenerator) -> None:
    store = await backend.open(channels_per_tenant=2)
    for tenant in ("acme", "another"):
        with calling(Caller("key", tenant=tenant)):
            lora = await generate_lora(store, generator, "sort the mail")
    channels = make_channels(store)
    with calling(Caller("key", tenant="acme")):
        for name in ("acme.a", "acme.b"):
            await channels.publish(name, "mail", lora.bundle_id)
        with pytest.raises(UsageLimitError, match="at most 2 channels") as caught:
            await channels.publish("acme.c", "mail", lora.bundle_id)
        assert caught.value.code == "too_many_channels"
        await channels.publish("acme.a", "post", lora.bundle_id)
        with pytest.raises(NotFoundError):
            await channels.publish("another.c", "mail", lora.bundle_id)
        await channels.delete("acme.b")
        await channels.publish("acme.c", "mail", lora.bundle_id)
    for caller in (Caller("key", tenant="another"), Caller("operator")):
        with calling(caller):
            await channels.publish("another.a", "mail", lora.bundle_id)
            await channels.publish("another.b", "mail", lora.bundle_id)
    with calling(Caller("operator")):
        await channels.publish("kitchen", "mail", lora.bundle_id)


async def test_channels_that_are_made_at_the_same_moment_are_counted(
    sqlite: SqliteBackend, generator: FakeGenerator
) -> None:
    store = await sqlite.open(channels_per_tenant=3)
    channels = make_channels(store)
    with calling(Caller("key", tenant="acme")):
        lora = await generate_lora(store, generator, "sort the mail")
        names = [f"acme.{number}" for number in range(12)]
        made = await asyncio.gather(
            *(channels.publish(name, "mail", lora.bundle_id) for name in names), return_exceptions=True
        )
        assert len(await channels.list_channels(100)) == 3
    assert sum(isinstance(each, UsageLimitError) for each in made) == 9


async def test_going_back_in_a_channel_that_is_deleted_meanwhile_makes_none(
    sqlite: SqliteBackend, generator: FakeGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await sqlite.open()
    lora = await generate_lora(store, generator, "sort the mail")
    channels = make_channels(store)
    await channels.publish("kitchen", "mail", lora.bundle_id)
    load = channels.load_version

    async def load_and_delete(channel: str, version: int) -> PublishedChannel:
        found = await load(channel, version)
        await channels.delete(channel)
        return found

    monkeypatch.setattr(channels, "load_version", load_and_delete)
    with pytest.raises(NotFoundError, match="no channel 'kitchen'"):
        await channels.roll_back("kitchen", 1)
    assert await channels.list_channels(10) == []


async def test_publisher_that_hangs_up_leaves_no_change_that_nobody_hears_of(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    store = await backend.open()
    lora = await generate_lora(store, generator, "sort the mail")
    heard: list[str] = []
    channels = make_channels(store, changed=heard.append)
    for number in range(12):  # hung up at ever later moments
        publishing = asyncio.create_task(channels.publish("kitchen", f"mail-{number}", lora.bundle_id))
        await asyncio.sleep(0.0004 * number)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
    await asyncio.sleep(0.2)
    row = await store.channels.load_row("kitchen")
    assert len(heard) == row.version


async def test_concurrent_publishes_on_two_replicas_lose_nothing(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    stores = [await backend.open(), await backend.open()]
    lora = await generate_lora(stores[0], generator, "sort the mail")
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
    lora = await generate_lora(store, generator, "sort the mail")
    channels = _channels(store)
    first = await channels.publish("kitchen", "mail", lora.bundle_id)
    assert await channels.publish("kitchen", "mail", lora.bundle_id) == first


async def test_withdrawn_name_is_gone_and_the_version_goes_on(backend: StoreBackend, generator: FakeGenerator) -> None:
    store = await backend.open()
    lora = await generate_lora(store, generator, "sort the mail")
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
    lora = await generate_lora(store, generator, "sort the mail")
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
    lora = await generate_lora(store, generator, "sort the mail")
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
    lora = await generate_lora(store, generator, "sort the mail")
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
        channels.roll_back(name, 1),
        channels.list_versions(name),
        channels.list_events(name),
        channels.delete(name),
    ):
        with pytest.raises(InvalidRequestError):
            await call


async def test_restart_keeps_channels(backend: StoreBackend, generator: FakeGenerator) -> None:
    store = await backend.open()
    lora = await generate_lora(store, generator, "sort the mail")
    before = await _channels(store).publish("kitchen", "mail", lora.bundle_id)
    await backend.restart()
    assert await _channels(await backend.open()).load("kitchen") == before


async def test_damaged_channel_is_an_integrity_error(sqlite: SqliteBackend) -> None:
    store = await sqlite.open()
    await swap(store, "kitchen", 0, 1, b'{"format": "channel"')
    with pytest.raises(IntegrityError):
        await _channels(store).load("kitchen")


async def test_names_of_the_edge_model_are_refused_and_can_be_withdrawn(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    """Every device would refuse them; a channel that an earlier version let one into is cleaned up as any other."""
    store = await backend.open()
    lora = await generate_lora(store, generator, "sort the mail")
    channels = _channels(store)
    mail = (await channels.publish("kitchen", "mail", lora.bundle_id)).channel
    for name in ("base", generator.info.edge_model_id):
        with pytest.raises(InvalidRequestError, match=name) as caught:
            await channels.publish("kitchen", name, lora.bundle_id)
        assert caught.value.code == "reserved_name"
    assert (await channels.load("kitchen")).channel == mail
    earlier = Channel("kitchen", 2, (replace(mail.specializations[0], name="base"), *mail.specializations))
    await swap(store, "kitchen", 1, 2, encode_channel(earlier))
    assert (await channels.withdraw("kitchen", "base")).channel.specializations == mail.specializations


async def test_going_back_makes_a_new_version_with_the_old_content(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    store = await backend.open()
    channels, lora = _channels(store), await generate_lora(store, generator, "sort the mail")
    other = await generate_lora(store, generator, "sort the post")
    first = await channels.publish("kitchen", "mail", lora.bundle_id)
    await channels.publish("kitchen", "mail", other.bundle_id)
    await channels.publish("kitchen", "post", other.bundle_id)
    back = await channels.roll_back("kitchen", 1)
    assert (back.channel.version, back.channel.specializations) == (4, first.channel.specializations)
    assert await channels.roll_back("kitchen", 1) == back
    history = [(each.version, each.event.action) for each in await channels.list_versions("kitchen")]
    assert history == [(4, "rollback"), (3, "publish"), (2, "publish"), (1, "publish")]
    assert (await channels.load_version("kitchen", 3)).channel.version == 3
    assert [each.action for each in await channels.list_events("kitchen")] == ["rollback", *["publish"] * 3]


async def test_going_back_over_a_document_that_the_caller_did_not_see_is_refused(
    sqlite: SqliteBackend, generator: FakeGenerator
) -> None:
    store = await sqlite.open()
    channels, lora = _channels(store), await generate_lora(store, generator, "sort the mail")
    seen = await channels.publish("kitchen", "mail", lora.bundle_id)
    await channels.withdraw("kitchen", "mail")
    with pytest.raises(PreconditionError):
        await channels.roll_back("kitchen", 1, lambda digest, _: digest == seen.digest)
    with pytest.raises(NotFoundError, match="version 7") as caught:
        await channels.roll_back("kitchen", 7)
    assert caught.value.code == "version_not_found"


async def test_versions_are_kept_up_to_a_number(backend: StoreBackend, generator: FakeGenerator) -> None:
    store = await backend.open(versions_per_channel=3)
    channels, lora = _channels(store), await generate_lora(store, generator, "sort the mail")
    for name in "abcdefghijkl":
        await channels.publish("kitchen", name, lora.bundle_id)
    assert [each.version for each in await channels.list_versions("kitchen")] == [12, 11, 10]
    with pytest.raises(NotFoundError):
        await channels.load_version("kitchen", 9)


async def test_deleted_channel_counts_on_when_it_is_made_again(backend: StoreBackend, generator: FakeGenerator) -> None:
    """Devices that followed it would take version 1 for a store that went back."""
    store = await backend.open()
    channels, lora = _channels(store), await generate_lora(store, generator, "sort the mail")
    await channels.publish("kitchen", "mail", lora.bundle_id)
    await channels.publish("kitchen", "post", lora.bundle_id)
    with pytest.raises(PreconditionError):
        await channels.delete("kitchen", lambda digest, _: False)
    await channels.delete("kitchen")
    for call in (channels.load("kitchen"), channels.load_digest("kitchen"), channels.list_versions("kitchen")):
        with pytest.raises(NotFoundError):
            await call
    with pytest.raises(NotFoundError):
        await channels.delete("kitchen")
    assert await channels.list_channels(10) == []
    assert [each.action for each in await channels.list_events("kitchen")] == ["delete", "publish", "publish"]
    again = await channels.publish("kitchen", "mail", lora.bundle_id)
    assert (again.channel.version, len(again.channel.specializations)) == (3, 1)


async def test_channels_are_listed_by_name_page_by_page(backend: StoreBackend, generator: FakeGenerator) -> None:
    store = await backend.open()
    channels, lora = _channels(store), await generate_lora(store, generator, "sort the mail")
    for name in ("b", "c", "a"):
        await channels.publish(name, "mail", lora.bundle_id)
    first = await channels.list_channels(2)
    assert [(each.name, each.version, each.rolling) for each in first] == [("a", 1, False), ("b", 1, False)]
    assert [each.name for each in await channels.list_channels(2, "b")] == ["c"]
    assert first[0].digest == await channels.load_digest("a")


async def test_channel_with_a_rollout_takes_no_other_change(sqlite: SqliteBackend, generator: FakeGenerator) -> None:
    store = await sqlite.open()
    channels, lora = _channels(store), await generate_lora(store, generator, "sort the mail")
    await channels.publish("kitchen", "mail", lora.bundle_id)
    row = await store.channels.load_row("kitchen")
    assert await store.channels.write(
        "kitchen", replace(row, revision=2, rollout=b"{}", rolling=True), StoredEvent("rollout", "", 2)
    )
    for call in (
        channels.publish("kitchen", "post", lora.bundle_id),
        channels.withdraw("kitchen", "mail"),
        channels.delete("kitchen"),
    ):
        with pytest.raises(ConflictError) as caught:
            await call
        assert caught.value.code == "rollout_goes_on"
    assert (await channels.publish("kitchen", "mail", lora.bundle_id)).channel.version == 1
