"""Attacks of TUF's list on a signed channel: each is refused, named, and over when the cloud is honest again."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata

from edge_runtime.cloud.trust import VERIFY_SECONDS
from edge_runtime.errors import ChannelRefusedError, CloudStatusError, TooLongError
from loragen.contract.signed_channel import MAX_METADATA_BYTES
from tests.edge_runtime.signed_repository import FOLDER, Signed, SignedRepository

FILES = ("/channels/default", FOLDER + "timestamp.json", FOLDER + "2.snapshot.json", FOLDER + "2.targets.json")


def flip(data: bytes) -> bytes:
    """One bit in the middle, of a letter or digit, so that JSON stays JSON."""
    place = next(i for i in range(len(data) // 2, len(data)) if chr(data[i]).isalnum())
    return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]


async def recovers(signed: Signed) -> None:
    """What was accepted stays in force, and an honest cloud is followed again."""
    signed.cloud.heal()
    document = signed.publish("honest", 9)
    assert await signed.poll() == document


async def test_arbitrary_document_is_refused(signed: Signed) -> None:
    """Whoever answers in the cloud's name adds a specialization of their own."""
    signed.publish("router")
    await signed.poll()
    signed.cloud.publish(signed.cloud.make("evil", 1))
    assert await signed.refused() == "channel_refused"
    await recovers(signed)


async def test_repository_of_other_keys_is_refused(signed: Signed) -> None:
    signed.publish("router")
    await signed.poll()
    signed.cloud.publish(signed.cloud.make("evil", 1))
    SignedRepository(signed.cloud.files).publish(signed.document(), version=5)
    assert await signed.refused() == "channel_refused"


@pytest.mark.parametrize("file", FILES)
async def test_flipped_bit_is_found(signed: Signed, file: str) -> None:
    signed.publish("router")
    await signed.poll()
    signed.publish("other", 1)
    signed.cloud.fail(file, change=flip)
    assert await signed.refused() == "channel_refused"
    await recovers(signed)


@pytest.mark.parametrize("file", [*FILES[1:], FOLDER + "2.root.json"])
async def test_endless_metadata_are_cut(signed: Signed, file: str) -> None:
    signed.publish("router")
    await signed.poll()
    signed.repository.rotate("timestamp")
    signed.publish("other", 1)
    signed.cloud.fail(file, change=lambda data: data + b" " * (MAX_METADATA_BYTES + 1))
    with pytest.raises((TooLongError, ChannelRefusedError)):
        await signed.poll()
    await recovers(signed)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
async def test_rollback_of_each_role_is_refused(signed: Signed, role: str) -> None:
    """Somebody with all online keys signs an older version of one role under newer ones of those above it."""
    signed.repository.version = 9
    signed.publish("router")
    await signed.poll()
    signed.cloud.publish(signed.cloud.make("old", 1))
    signed.repository.publish(signed.document(), version=20, versions={role: 5})
    assert await signed.refused() == "channel_refused"
    await recovers(signed)


async def test_rollback_of_root_is_refused(signed: Signed) -> None:
    """The first root again, as the third; its keys were robbed and revoked since."""
    signed.publish("router")
    robbed = dict(signed.repository.keys)
    signed.repository.rotate("root", "targets", "snapshot", "timestamp")
    signed.publish("router", 1)
    await signed.poll()
    first = Metadata.from_bytes(signed.repository.first_root).signed
    first.version = 3
    signed.repository.put(first, "3.root.json", robbed["root"])
    signed.cloud.publish(signed.cloud.make("evil", 2))
    signed.repository.publish(signed.document(), keys=robbed)
    assert await signed.refused() == "channel_refused"


async def test_yesterdays_files_are_refused(signed: Signed) -> None:
    """Replay: the document and all metadata of an earlier time, as they were signed."""
    signed.publish("router")
    yesterday, channel = dict(signed.cloud.files), signed.cloud.channel
    signed.publish("other", 1)
    await signed.poll()
    today = dict(signed.cloud.files), signed.cloud.channel
    signed.cloud.files |= yesterday
    signed.cloud.channel = channel
    assert await signed.refused() == "channel_refused"
    signed.cloud.files |= today[0]
    signed.cloud.channel = today[1]
    await recovers(signed)


async def test_freeze_is_noticed_when_signatures_expire(signed: Signed, set_clock: Callable[[timedelta], None]) -> None:
    """A day later the cloud still sends the same: by then it should have signed anew."""
    signed.publish("router")
    await signed.poll()
    signed.clock.advance(86_400)
    set_clock(timedelta(days=1, seconds=1))
    assert await signed.refused() == "signature_expired"
    signed.repository.now += timedelta(days=1)
    await recovers(signed)


async def test_freeze_of_the_document_alone_is_noticed_within_minutes(signed: Signed) -> None:
    """The metadata list another document; the cloud says that nothing changed."""
    signed.publish("router")
    await signed.poll()
    held = signed.cloud.channel
    signed.publish("other", 1)
    signed.cloud.channel = held
    assert await signed.poll() is None
    signed.clock.advance(VERIFY_SECONDS)
    assert await signed.refused() == "channel_refused"
    await recovers(signed)


async def test_expired_root_follows_nothing_until_there_is_a_new_one(
    signed: Signed, set_clock: Callable[[timedelta], None]
) -> None:
    signed.publish("router")
    set_clock(timedelta(days=366))
    signed.repository.now += timedelta(days=366)
    signed.publish("other", 1)
    assert await signed.refused() == "signature_expired"
    signed.repository.root.expires += timedelta(days=365)
    signed.repository.rotate()
    await recovers(signed)


@pytest.mark.parametrize("file", FILES[2:])
async def test_mix_of_two_states_is_refused(signed: Signed, file: str) -> None:
    """One file of the state before, under the name that the new state gives it."""
    signed.publish("router")
    old = signed.cloud.files[file.replace("2.", "1.")]
    await signed.poll()
    signed.publish("other", 1)
    signed.cloud.files[file] = old
    assert await signed.refused() == "channel_refused"
    await recovers(signed)


async def test_file_of_one_role_is_none_of_another(signed: Signed) -> None:
    signed.publish("router")
    signed.cloud.files[FOLDER + "1.targets.json"] = signed.cloud.files[FOLDER + "1.snapshot.json"]
    assert await signed.refused() == "channel_refused"


async def test_cloud_that_sends_nothing_and_calls_it_unchanged_is_refused(signed: Signed) -> None:
    signed.publish("router")
    signed.cloud.fail("/channels/default", status=304, times=2)
    with pytest.raises(CloudStatusError):
        await signed.poll()
    await recovers(signed)


@pytest.mark.parametrize("robbed", [("timestamp",), ("timestamp", "snapshot")])
async def test_thief_of_timestamp_and_snapshot_keys_brings_no_document(signed: Signed, robbed: tuple[str, ...]) -> None:
    """Without the key of targets nothing new can be listed."""
    signed.publish("router")
    await signed.poll()
    thief = {role: CryptoSigner.generate_ed25519() for role in ("targets", "snapshot") if role not in robbed}
    signed.cloud.publish(signed.cloud.make("evil", 1))
    signed.repository.publish(signed.document(), keys=thief)
    assert await signed.refused() == "channel_refused"


@pytest.mark.parametrize("file", [*FILES[1:], FOLDER + "2.root.json"])
async def test_any_bytes_end_in_a_refusal(signed: Signed, file: str) -> None:
    signed.publish("router")
    await signed.poll()
    signed.repository.rotate("timestamp")
    signed.publish("other", 1)
    honest = signed.cloud.files[file]
    drawn = random.Random(4)
    for data in (
        b"",
        b"[" * 50_000,
        b'{"signed": {}, "signatures": []}',
        b'{"signed": {"_type": "timestamp", "version": 1e999}, "signatures": [{"keyid": [], "sig": 1}]}',
        b'{"signed": {"_type": "timestamp", "version": ' + b"9" * 5_000 + b'}, "signatures": []}',
        honest.replace(b'"sig":"', b'"sig":"zz', 1),
        drawn.randbytes(1_000),
    ):
        signed.cloud.files[file] = data
        with pytest.raises(ChannelRefusedError):
            await signed.poll()
    signed.cloud.files[file] = honest
    await recovers(signed)
