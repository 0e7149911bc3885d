"""A change is written over the row that it was decided on, or decided anew; and whoever watches hears of it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from cloud_service.errors import ConflictError, IntegrityError, InvalidRequestError, PreconditionError
from cloud_service.fleet import channel_writer
from cloud_service.fleet.channel_writer import Change, ChannelWriter
from cloud_service.fleet.watching import ChannelWatch
from cloud_service.store import ChannelRow, StoredEvent
from loragen.contract.channel import Channel, Specialization, encode_channel
from loragen.contract.limits import MAX_SPECIALIZATIONS

DOCUMENT = encode_channel(Channel("kitchen", 1, ()))


class _OneRow:
    """The part of a store that a writer needs; before each of the first writes another writer was faster."""

    def __init__(self, losses: int) -> None:
        self.row, self.losses = ChannelRow(), losses

    async def load_row(self, name: str) -> ChannelRow:
        return self.row

    async def load_version(self, name: str) -> int:
        return self.row.version

    async def write(self, name: str, row: ChannelRow, event: StoredEvent, tenant: str) -> bool:
        if self.losses:
            self.losses -= 1
            self.row = replace(self.row, revision=self.row.revision + 1, version=self.row.version + 1)
            return False
        self.row = row
        return True


class _Scene:
    """A writer, and what was said of its changes."""

    def __init__(self, losses: int = 0) -> None:
        self.store: Any = _OneRow(losses)
        self.actions: list[str] = []
        self.audited: list[tuple[str, dict[str, str | int]]] = []
        self.seen: list[int] = []
        self.writer = ChannelWriter(self.store, ChannelWatch(self.store, 60), self.actions.append, self)

    async def record(self, action: str, **target: str | int) -> None:
        self.audited.append((action, target))

    def decide(self, row: ChannelRow) -> Change:
        self.seen.append(row.version)
        return Change(replace(row, version=row.version + 1, document=DOCUMENT), StoredEvent("publish", "mail", 1))


async def test_change_is_stored_counted_and_audited_once() -> None:
    scene = _Scene()
    written = await scene.writer.change("kitchen", scene.decide)
    assert (written.revision, written.version) == (1, 1)
    assert scene.store.row == written
    assert scene.actions == ["publish"]
    assert scene.audited == [("channel.publish", {"channel": "kitchen", "detail": "mail", "version": 1})]


async def test_decision_for_nothing_writes_nothing() -> None:
    scene = _Scene()
    assert await scene.writer.change("kitchen", lambda _: None) == ChannelRow()
    assert scene.actions == scene.audited == []


async def test_only_a_channel_that_would_be_new_is_verified_as_one() -> None:
    scene = _Scene()
    await scene.writer.change("kitchen", scene.decide)

    async def refuse(name: str) -> None:
        raise ConflictError(f"no room for {name}", "delete another")

    await scene.writer.change("kitchen", scene.decide, refuse)
    scene.store.row = ChannelRow()
    with pytest.raises(ConflictError, match="no room for kitchen"):
        await scene.writer.change("kitchen", scene.decide, refuse)
    assert scene.store.row == ChannelRow()


async def test_change_that_was_overtaken_is_decided_anew_on_what_the_other_wrote() -> None:
    scene = _Scene(losses=2)
    written = await scene.writer.change("kitchen", scene.decide)
    assert (scene.seen, written.version, written.revision) == ([0, 1, 2], 3, 3)
    assert scene.actions == ["publish"]


async def test_writer_that_is_always_overtaken_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_writer, "_MAX_ATTEMPTS", 3)
    scene = _Scene(losses=9)
    with pytest.raises(ConflictError, match="changed 3 times"):
        await scene.writer.change("kitchen", scene.decide)
    assert scene.actions == scene.audited == []


async def test_watcher_hears_of_a_version_at_once() -> None:
    scene = _Scene()
    watch = ChannelWatch(scene.store, 60)
    writer = ChannelWriter(scene.store, watch, scene.actions.append, scene)
    versions = watch.versions("kitchen", 0)
    heard = asyncio.ensure_future(anext(versions))
    await asyncio.sleep(0.01)
    await writer.change("kitchen", scene.decide)
    assert await asyncio.wait_for(heard, 5) == 1
    await versions.aclose()


def test_document_of_a_full_channel_is_refused() -> None:
    entry = Specialization("mail", "a" * 64, 5, "tiny-edge", "e" * 64, None)
    many = tuple(replace(entry, name=f"mail-{number:05}") for number in range(MAX_SPECIALIZATIONS + 1))
    with pytest.raises(InvalidRequestError) as refused:
        channel_writer.encode("kitchen", 1, many)
    assert refused.value.code == "channel_full"


def test_stored_document_is_read_or_called_damaged() -> None:
    assert channel_writer.published(DOCUMENT).channel == Channel("kitchen", 1, ())
    with pytest.raises(IntegrityError):
        channel_writer.published(DOCUMENT[:-1])
    empty = channel_writer.content_of("kitchen", ChannelRow(revision=7, version=4))
    assert (empty.channel, empty.document, empty.digest) == (Channel("kitchen", 4, ()), b"", "")


def test_condition_that_does_not_hold_names_what_was_found() -> None:
    current = channel_writer.published(DOCUMENT)
    channel_writer.verify_condition("kitchen", current, True, channel_writer.always)
    with pytest.raises(PreconditionError, match=current.digest):
        channel_writer.verify_condition("kitchen", current, True, lambda digest, exists: not exists)


def test_rollout_that_goes_on_leaves_no_room_for_other_changes() -> None:
    channel_writer.verify_free("kitchen", ChannelRow(rollout=b"over"))
    with pytest.raises(ConflictError, match="goes on"):
        channel_writer.verify_free("kitchen", ChannelRow(rollout=b"now", rolling=True))
