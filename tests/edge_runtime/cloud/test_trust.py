"""A signed channel as a device follows it: TUF's own client, over HTTP, against a cloud that is in order."""

import asyncio
import errno
from pathlib import Path

import pytest

from edge_runtime.cloud import trust
from edge_runtime.cloud.fetcher import ChannelAnswer, HttpFetcher
from edge_runtime.cloud.trust import VERIFY_SECONDS, SignedChannel, read_root
from edge_runtime.errors import ChannelRefusedError, CloudStatusError, CloudUnreachableError, UpdateError
from loragen.device_answers import ChannelTrust
from loragen.web.errors import ConfigurationError
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import eventually
from tests.edge_runtime.signed_repository import FOLDER, Signed, SignedRepository


async def test_signed_channel_is_followed(signed: Signed) -> None:
    first = signed.publish("router")
    assert await signed.poll() == first
    assert await signed.poll() is None
    second = signed.publish("other", 1)
    assert await signed.poll() == second


async def test_unchanged_document_costs_one_request_and_is_verified_every_ten_minutes(signed: Signed) -> None:
    signed.publish("router")
    await signed.poll()
    asked = len(signed.cloud.requests)
    await signed.poll()
    assert len(signed.cloud.requests) == asked + 1
    signed.clock.advance(VERIFY_SECONDS)
    await signed.poll()
    assert [path for path, _ in signed.cloud.requests[asked + 2 :]] == [
        FOLDER + "2.root.json",
        FOLDER + "timestamp.json",
    ]


async def test_several_documents_may_be_followed_at_a_time(signed: Signed) -> None:
    """In a staged rollout the cloud decides which of two a device gets."""
    signed.publish("router")
    old = signed.document()
    signed.cloud.publish(signed.cloud.make("router", 1))
    signed.repository.publish(old, signed.document())
    assert await signed.poll() == signed.document()


async def test_change_between_two_requests_is_no_error(signed: Signed) -> None:
    """The document came, then another was published: it is fetched once more."""
    signed.publish("router")
    sent: list[bytes] = []

    async def fetch_then_publish(channel: str, known: ChannelAnswer | None) -> ChannelAnswer:
        answer = await signed.fetcher.fetch_channel(channel, known)
        if not sent:
            sent.append(signed.publish("other", 1))
        return answer

    source = HttpFetcher(signed.fetcher._client, 30.0, lambda: 0.0)
    source.fetch_channel = fetch_then_publish  # type: ignore[method-assign]
    signed.channel = SignedChannel(
        source, signed.repository.first_root, signed.directory, signed.clock, lambda: 1, signed.void_versions
    )
    assert await signed.poll() == sent[0]


async def test_signed_document_that_the_device_refuses_is_not_what_it_follows(signed: Signed) -> None:
    """A 304 is about the document that the device has, and that one is no longer signed."""
    first = signed.publish("router")
    assert await signed.poll() == first
    kept, old = signed.known, signed.cloud.channel
    second = signed.publish("other", 1)
    for _ in range(2):
        assert (await signed.channel.fetch_channel("default", kept)).document == second
    signed.cloud.channel = old
    with pytest.raises(ChannelRefusedError):
        await signed.channel.fetch_channel("default", kept)
    signed.repository.publish(first)
    assert await signed.channel.fetch_channel("default", kept) is kept


async def test_trust_says_root_expiry_and_the_last_refusal(signed: Signed) -> None:
    signed.publish("router")
    assert signed.channel.trust == ChannelTrust()
    await signed.poll()
    expires = (signed.repository.now + signed.repository.lifetime).timestamp()
    assert signed.channel.trust == ChannelTrust(1, expires)
    signed.repository.rotate("timestamp")
    evil = signed.cloud.channel
    signed.repository.publish(b"{}")
    signed.cloud.channel = evil
    signed.clock.advance(VERIFY_SECONDS)
    assert await signed.refused() == "channel_refused"
    trust = signed.channel.trust
    assert (trust.root_version, trust.last_refusal_at) == (2, signed.clock.unix())
    assert "not signed, or no longer" in trust.last_refusal
    signed.restart()
    assert signed.channel.trust == ChannelTrust(2, expires), "before the cloud is asked, or without one"
    signed.cloud.fail(FOLDER, status=500)
    with pytest.raises(CloudStatusError):
        await signed.poll()
    assert signed.channel.trust == ChannelTrust(2, expires)


async def test_restart_goes_on_from_what_was_seen(signed: Signed) -> None:
    document = signed.publish("router")
    await signed.poll()
    signed.restart()
    asked = len(signed.cloud.requests)
    assert await signed.poll() == document
    names = [path for path, _ in signed.cloud.requests[asked:]]
    assert names == ["/channels/default", FOLDER + "2.root.json", FOLDER + "timestamp.json"]


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
async def test_rotated_keys_are_followed_and_the_old_ones_are_revoked(signed: Signed, role: str) -> None:
    signed.publish("router")
    await signed.poll()
    robbed = dict(signed.repository.keys)
    signed.repository.rotate(role)
    document = signed.publish("other", 1)
    assert await signed.poll() == document
    signed.cloud.publish(signed.cloud.make("evil", 2))
    if role == "root":
        signed.repository.root.version += 1
        signed.repository.put(signed.repository.root, "3.root.json", robbed["root"])
    else:
        signed.repository.publish(signed.document(), keys={role: robbed[role]})
    assert await signed.refused() == "channel_refused"


async def test_device_that_slept_through_many_rotations_follows(signed: Signed) -> None:
    signed.publish("router")
    await signed.poll()
    for _ in range(5):
        signed.repository.rotate("root", "targets")
    document = signed.publish("other", 1)
    assert await signed.poll() == document


async def test_fast_forward_is_repaired_by_a_rotation(signed: Signed) -> None:
    """A thief of the online keys makes versions that no honest one exceeds; they are void once the keys are revoked."""
    signed.publish("router")
    signed.repository.publish(signed.document(), version=10**15)
    await signed.poll()
    signed.repository.version = 1
    document = signed.publish("other", 1)
    assert await signed.refused() == "channel_refused"
    signed.repository.rotate("timestamp", "snapshot", "targets")
    document = signed.publish("other", 2)
    assert await signed.poll() == document


async def test_versions_of_documents_start_anew_once_their_keys_are_revoked(signed: Signed) -> None:
    """Only then: while the keys of targets are the same, an older document is refused."""
    signed.publish("router")
    await signed.poll()
    signed.newest_seen = 10**15
    for role in ("timestamp", "snapshot", "root"):
        signed.repository.rotate(role)
        signed.publish("router", 1)
        await signed.poll()
    assert signed.newest_seen == 10**15
    signed.repository.rotate("targets")
    signed.publish("router", 2)
    signed.restart()
    await signed.poll()
    assert signed.newest_seen == 0
    signed.newest_seen = 7
    signed.publish("router", 3)
    await signed.poll()
    assert signed.newest_seen == 7


async def test_kill_while_versions_start_anew_is_made_good(signed: Signed, monkeypatch: pytest.MonkeyPatch) -> None:
    signed.publish("router")
    await signed.poll()
    signed.newest_seen = 10**15
    signed.repository.rotate("targets")
    signed.publish("router", 1)

    async def killed() -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(signed.channel, "_void_versions", killed)
        with pytest.raises(UpdateError):
            await signed.poll()
    signed.restart()
    await signed.poll()
    assert signed.newest_seen == 0


@pytest.mark.parametrize("content", [b"", b"7", b"[", b"{}"])
async def test_damaged_note_of_keys_voids_nothing(signed: Signed, content: bytes) -> None:
    signed.publish("router")
    await signed.poll()
    (signed.directory / "version_keys.json").write_bytes(content)
    signed.newest_seen = 5
    signed.publish("router", 1)
    await signed.poll()
    assert signed.newest_seen == 5


async def test_owner_accepts_an_older_state_of_the_cloud(signed: Signed) -> None:
    """`loragen-edge accept` forgets the newest version of the channel, and with it the versions of metadata."""
    signed.repository.version = 50
    signed.publish("router")
    await signed.poll()
    signed.repository.version = 10
    document = signed.publish("restored", 1)
    assert await signed.refused() == "channel_refused"
    signed.newest_seen = None
    assert await signed.poll() == document


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, None])
@pytest.mark.parametrize("name", ["timestamp.json", "snapshot.json", "targets.json", "root_history/1.root.json"])
async def test_damaged_memory_is_fetched_again(signed: Signed, name: str, content: bytes | None) -> None:
    """Power failed while it was written, or the disk lost it."""
    document = signed.publish("router")
    await signed.poll()
    if content is None:
        (signed.directory / name).unlink()
    else:
        (signed.directory / name).write_bytes(content)
    signed.restart()
    assert await signed.poll() == document


async def test_killed_process_leaves_nothing_that_piles_up(signed: Signed) -> None:
    signed.publish("router")
    signed.directory.mkdir()
    (signed.directory / "tmpabcdef").write_bytes(b"half")
    (signed.directory / ".version_keys.json.0123.tmp").write_bytes(b"half")
    await signed.poll()
    assert {path.name for path in signed.directory.iterdir()} == {
        "root.json",
        "root_history",
        "timestamp.json",
        "snapshot.json",
        "targets.json",
        "version_keys.json",
    }


async def test_read_only_disk_is_said_by_name(signed: Signed, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    signed.publish("router")
    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    with pytest.raises(UpdateError) as caught:
        await signed.poll()
    assert caught.value.code == "trust_not_written"


async def test_folder_that_is_a_file_is_said_by_name(signed: Signed) -> None:
    signed.publish("router")
    signed.directory.write_bytes(b"")
    with pytest.raises(UpdateError) as caught:
        await signed.poll()
    assert caught.value.code == "trust_not_written"


async def test_cloud_that_does_not_sign_is_said_by_name(signed: Signed) -> None:
    signed.publish("router")
    signed.cloud.files.clear()
    assert await signed.refused() == "channel_unsigned"


async def test_channel_that_is_not_there_is_none_to_refuse(signed: Signed) -> None:
    with pytest.raises(CloudStatusError) as caught:
        await signed.poll()
    assert caught.value.status == 404


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_failing_cloud_is_no_refusal(signed: Signed, status: int) -> None:
    signed.publish("router")
    signed.cloud.fail(FOLDER, status=status, headers={"Retry-After": "7"})
    with pytest.raises(CloudStatusError) as caught:
        await signed.poll()
    assert (caught.value.status, caught.value.retry_after_seconds) == (status, 7.0)


@pytest.mark.parametrize("custom", [{"minimum_runtime_version": "999.0"}, {"minimum_runtime_version": "new"}])
async def test_document_for_newer_devices_is_refused(signed: Signed, custom: object) -> None:
    signed.publish("router")
    await signed.poll()
    signed.cloud.publish(signed.cloud.make("other", 1))
    signed.repository.publish(signed.document(), custom=custom)
    code = await signed.refused()
    assert code == ("runtime_too_old" if custom == {"minimum_runtime_version": "999.0"} else "channel_refused")


@pytest.mark.parametrize("custom", [None, {}, [], "text", {"minimum_runtime_version": None}])
async def test_document_that_asks_for_no_version_is_for_all(signed: Signed, custom: object) -> None:
    signed.cloud.publish(signed.cloud.make("router"))
    signed.repository.publish(signed.document(), custom=custom)
    assert await signed.poll() == signed.document()


async def test_poll_that_is_cancelled_leaves_no_thread_and_loses_nothing(signed: Signed) -> None:
    """The owner's commands interrupt a poll that waits for the cloud."""
    document = signed.publish("router")
    signed.cloud.fail(FOLDER + "timestamp.json", times=1, delay_seconds=3.0)
    polling = asyncio.create_task(signed.poll())
    await eventually(lambda: signed.cloud.asked(FOLDER + "timestamp.json") > 0)
    polling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(polling, 1.0)
    assert await signed.poll() == document


async def test_all_metadata_together_have_one_deadline(signed: Signed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cloud that drips is given up, and the event loop is free meanwhile."""
    monkeypatch.setattr(trust, "REFRESH_SECONDS", 0.5)
    signed.publish("router")
    signed.cloud.fail(FOLDER, drip_seconds=0.05)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.01)

    beating = asyncio.create_task(beat())
    with pytest.raises(CloudUnreachableError, match=r"within 0\.5 s"):
        await asyncio.wait_for(signed.poll(), 3.0)
    beating.cancel()
    assert beats > 20
    signed.cloud.heal()
    assert await signed.poll() == signed.document()


def test_provisioned_root_must_be_signed_by_itself(cloud: FakeCloud, tmp_path: Path) -> None:
    repository = SignedRepository(cloud.files)
    path = tmp_path / "root.json"
    path.write_bytes(repository.first_root)
    assert read_root(path) == repository.first_root
    repository.publish()
    for wrong in (
        cloud.files[FOLDER + "timestamp.json"],
        repository.first_root.replace(b'"threshold":1', b'"threshold":2', 1),
        repository.first_root + b" " * 100_000,
    ):
        path.write_bytes(wrong)
        with pytest.raises(ConfigurationError, match="LORAGEN_EDGE_TRUSTED_ROOT"):
            read_root(path)
