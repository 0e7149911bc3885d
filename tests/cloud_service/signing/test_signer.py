"""Metadata files as they are asked for: over changes, hours, rotations and replicas."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cloud_service.errors import NotFoundError, SigningError
from cloud_service.fleet.rollout import Group, HaltRule, Rollout, encode_rollout
from cloud_service.signing.owner import init_channel, rotate_keys
from cloud_service.signing.signer import ChannelSigner
from cloud_service.store import ChannelRow
from loragen.contract.channel import Channel, encode_channel
from loragen.web.errors import ConfigurationError

NOW = 1_800_000_000.0


def rolling(revision: int) -> ChannelRow:
    """A channel with a rollout that goes on: it has two documents."""
    candidate = encode_channel(Channel("kitchen", 2, ()))
    rollout = Rollout("", candidate, 2, (), (Group(10),), HaltRule(50, 2), 0, 0)
    return ChannelRow(revision, 1, b"one", encode_rollout(rollout), rolling=True)


class Channels:
    """What there is to sign, and the time."""

    def __init__(self, tmp_path: Path) -> None:
        self.now = NOW
        self.keys = tmp_path / "keys"
        self.folder = tmp_path / "signing"
        init_channel(self.keys, "kitchen")
        self.deliver()
        self.published = {"kitchen": ChannelRow(1, 1, b"one")}
        self.roots: list[tuple[str, float]] = []

    def deliver(self) -> None:
        """Copy the folder for the cloud, as the owner does."""
        shutil.rmtree(self.folder / "kitchen", ignore_errors=True)
        shutil.copytree(self.keys / "kitchen" / "cloud", self.folder / "kitchen")

    async def load(self, name: str) -> ChannelRow:
        return self.published.get(name, ChannelRow())

    def replica(self) -> ChannelSigner:
        return ChannelSigner(self.folder, self.load, self, lambda: self.now)

    def root_read(self, channel: str, expires_at: float) -> None:
        self.roots.append((channel, expires_at))


@pytest.fixture
def channels(tmp_path: Path) -> Iterator[Channels]:
    return Channels(tmp_path)  # type: ignore[return-value]


async def read(signer: ChannelSigner) -> list[int]:
    """The version of each file, as a device reads them one after another."""
    timestamp = json.loads(await signer.load("kitchen", "timestamp.json"))["signed"]
    number = timestamp["meta"]["snapshot.json"]["version"]
    snapshot = json.loads(await signer.load("kitchen", f"{number}.snapshot.json"))["signed"]
    number = snapshot["meta"]["targets.json"]["version"]
    targets = json.loads(await signer.load("kitchen", f"{number}.targets.json"))["signed"]
    return [timestamp["version"], snapshot["version"], targets["version"], len(targets["targets"])]


async def test_change_signs_anew_and_an_hour_too(channels: Channels) -> None:
    signer = channels.replica()
    first = await read(signer)
    assert await read(signer) == first
    channels.published["kitchen"] = rolling(2)
    second = await read(signer)
    assert (second[0] > first[0], second[3]) == (True, 2)
    channels.published["kitchen"] = replace(rolling(3), rolling=False)
    third = await read(signer)
    assert (third[0] > second[0], third[3]) == (True, 1)
    channels.now += 3_600
    assert (await read(signer))[0] > third[0]


async def test_replicas_agree_without_telling_each_other(channels: Channels) -> None:
    one, other = channels.replica(), channels.replica()
    assert await one.load("kitchen", "timestamp.json") == await other.load("kitchen", "timestamp.json")


async def test_device_finishes_over_the_hour_and_over_a_change(channels: Channels) -> None:
    """The timestamp of one replica leads to files of another, of which some changed meanwhile."""
    one, other = channels.replica(), channels.replica()
    (number, *_) = await read(one)
    channels.now += 3_600
    assert await other.load("kitchen", f"{number}.snapshot.json") == await one.load(
        "kitchen", f"{number}.snapshot.json"
    )
    channels.published["kitchen"] = ChannelRow(2, 2, b"two")
    assert await one.load("kitchen", f"{number}.targets.json") == await other.load("kitchen", f"{number}.targets.json")
    with pytest.raises(NotFoundError):
        await channels.replica().load("kitchen", f"{number}.targets.json")


async def test_nothing_of_a_later_hour_is_signed(channels: Channels) -> None:
    """Who may ask for any version must not get one that is valid for longer."""
    signer = channels.replica()
    (number, *_) = await read(signer)
    for wanted in (number + 1, number + 24, 10**27):
        with pytest.raises(NotFoundError):
            await signer.load("kitchen", f"{wanted}.snapshot.json")


async def test_rotation_needs_no_restart(channels: Channels) -> None:
    signer = channels.replica()
    before = await read(signer)
    with pytest.raises(NotFoundError):
        await signer.load("kitchen", "2.root.json")
    rotate_keys(channels.keys, "kitchen", ["targets", "timestamp"])
    channels.deliver()
    assert (await read(signer))[0] > before[0]
    assert json.loads(await signer.load("kitchen", "2.root.json"))["signed"]["version"] == 2


async def test_keys_that_were_damaged_meanwhile_are_an_error_and_no_old_signature(channels: Channels) -> None:
    signer = channels.replica()
    await read(signer)
    next((channels.folder / "kitchen").glob("targets.*.pem")).unlink()
    with pytest.raises(SigningError) as caught, capture_logs() as logs:
        await signer.load("kitchen", "timestamp.json")
    reported = f"{caught.value} {caught.value.hint}"
    assert "'kitchen' cannot be signed now" in reported
    assert not any(secret in reported for secret in (str(channels.folder), ".pem")), "clients read it"
    assert any("targets." in each.get("reason", "") for each in logs), "the operator needs the place"


@pytest.mark.parametrize("name", ["cellar", "kitchen"])
async def test_channel_without_keys_or_without_anything_is_not_found(channels: Channels, name: str) -> None:
    (channels.folder / "cellar").mkdir()
    signer = channels.replica()
    channels.published.clear()
    with pytest.raises(NotFoundError) as caught:
        await signer.load(name, "timestamp.json")
    assert caught.value.code == ("channel_not_signed" if name == "cellar" else "not_found")


async def test_few_versions_are_remembered(channels: Channels) -> None:
    signer = channels.replica()
    for revision in range(1, 100):
        channels.published["kitchen"] = ChannelRow(revision, revision, b"%d" % revision)
        await signer.load("kitchen", "timestamp.json")
    assert len(signer._made) == 64


def test_damaged_keys_stop_the_start(channels: Channels, tmp_path: Path) -> None:
    (channels.folder / "cellar").mkdir()
    (channels.folder / "cellar" / "1.root.json").write_bytes(b"{}")
    with pytest.raises(ConfigurationError, match=r"LORAGEN_CLOUD_SIGNING_DIR.*cellar"):
        channels.replica()
    channels.folder = tmp_path / "nowhere"
    with pytest.raises(ConfigurationError, match="nowhere"):
        channels.replica()


async def test_expiry_of_a_root_is_reported_at_the_start_and_after_a_rotation(channels: Channels) -> None:
    signer = channels.replica()
    ((name, before),) = channels.roots
    assert name == "kitchen"
    assert before > NOW
    rotate_keys(channels.keys, "kitchen", (), datetime.now(UTC) + timedelta(days=1))
    channels.deliver()
    await signer.load("kitchen", "timestamp.json")
    assert channels.roots[-1][1] > before


async def test_root_that_expires_soon_is_logged(channels: Channels) -> None:
    signer = channels.replica()
    channels.now += 5 * 365 * 86_400
    with capture_logs() as logs:
        await signer.load("kitchen", "timestamp.json")
    assert [log["event"] for log in logs] == ["root_expires_soon"]


async def test_no_log_has_a_key(channels: Channels) -> None:
    with capture_logs() as logs:
        await read(channels.replica())
    secrets = [path.read_text().splitlines()[1] for path in (channels.folder / "kitchen").glob("*.pem")]
    assert secrets
    assert not any(secret in str(logs) for secret in secrets)
