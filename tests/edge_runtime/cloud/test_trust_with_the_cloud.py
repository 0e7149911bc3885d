"""Both services: what the cloud signs, a device accepts; over publishing, rotation, hours, and a restored store."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from cloud_service.bootstrap import open_cloud
from cloud_service.signing.owner import init_channel, rotate_keys
from edge_runtime.cloud.fetcher import HttpFetcher
from edge_runtime.cloud.trust import SignedChannel, read_root
from edge_runtime.errors import ChannelRefusedError
from loragen.contract.channel import Channel, parse_channel
from loragen.contract.polling import PollingDevice, poll_headers
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import FakeGenerator
from tests.edge_runtime.fakes import FakeClock


class Fleet:
    """A signed channel, the service and one device."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.generator = FakeGenerator(directory)
        self.root = init_channel(directory / "keys", "kitchen").root
        self.deliver()

    def deliver(self) -> None:
        """Copy the folder for the cloud to it, as the owner does."""
        target = self.directory / "signing" / "kitchen"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.directory / "keys" / "kitchen" / "cloud", target)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[httpx2.AsyncClient, SignedChannel]]:
        settings = settings_for(self.directory, signing_dir=self.directory / "signing")
        async with open_cloud(settings, [self.generator]) as cloud, client_of(cloud) as client:
            yield client, self.device(client, "toaster")

    def device(self, client: httpx2.AsyncClient, name: str, **labels: str) -> SignedChannel:
        """A device of this name, with the memory that it had before."""
        fetcher = HttpFetcher(client, 30.0, lambda: 0.0, lambda: poll_headers(PollingDevice(name, labels, 1)))
        root = read_root(self.directory / "provisioned.json")
        return SignedChannel(fetcher, root, self.directory / "trust" / name, FakeClock(), lambda: 1, not_voided)

    def copy_store(self, source: str, target: str) -> None:
        with sqlite3.connect(self.directory / source) as old, sqlite3.connect(self.directory / target) as new:
            old.backup(new)
        old.close()
        new.close()


async def not_voided() -> None:
    """Versions go on here."""


async def publish(client: httpx2.AsyncClient, name: str) -> None:
    body = {"description": f"Sort {name}.", "publish": {"channel": "kitchen", "name": name}}
    assert (await client.post("/generate-lora", json=body)).status_code == 200


async def read(device: SignedChannel) -> Channel:
    return parse_channel((await device.fetch_channel("kitchen", None)).document)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = Fleet(tmp_path)
    shutil.copy(fleet.root, tmp_path / "provisioned.json")
    return fleet


async def test_device_follows_publishing_withdrawing_and_rotations(fleet: Fleet) -> None:
    async with fleet.running() as (client, device):
        await publish(client, "mails")
        assert [each.name for each in (await read(device)).specializations] == ["mails"]
        await publish(client, "calls")
        assert len((await read(device)).specializations) == 2
        for roles in (["timestamp"], ["targets", "snapshot"], ["root"], []):
            rotate_keys(fleet.directory / "keys", "kitchen", roles)
            fleet.deliver()
            assert len((await read(device)).specializations) == 2
        await client.delete("/channels/kitchen/specializations/mails")
        assert [each.name for each in (await read(device)).specializations] == ["calls"]


async def test_rollout_is_signed_for_all_and_reaches_its_group(fleet: Fleet) -> None:
    """Of two documents that are signed, the cloud gives each device one; an abort gives all of them a third."""
    async with fleet.running() as (client, other):
        canary = fleet.device(client, "canary", ring="canary")
        await publish(client, "mails")
        bundle_id = (await client.post("/generate-lora", json={"description": "Sort better."})).json()["id"]
        body = {"name": "mails", "bundle_id": bundle_id, "labels": {"ring": "canary"}}
        assert (await client.post("/channels/kitchen/rollouts", json=body)).status_code == 201
        assert [(await read(each)).version for each in (canary, other)] == [2, 1]
        aborted = await client.patch("/channels/kitchen/rollouts/2", json={"state": "aborted"})
        assert aborted.status_code == 200
        assert [(await read(each)).version for each in (canary, other)] == [3, 3]


async def test_thief_of_the_store_cannot_sign_what_is_in_it(fleet: Fleet) -> None:
    """No key is in the store: a service with the same store and keys of its own makes nothing that devices take."""
    async with fleet.running() as (client, device):
        await publish(client, "mails")
        await read(device)
    init_channel(fleet.directory / "thief", "kitchen")
    shutil.rmtree(fleet.directory / "signing" / "kitchen")
    shutil.copytree(fleet.directory / "thief" / "kitchen" / "cloud", fleet.directory / "signing" / "kitchen")
    async with fleet.running() as (client, device):
        await publish(client, "evil")
        with pytest.raises(ChannelRefusedError):
            await read(device)
    stored = (fleet.directory / "store.sqlite3").read_bytes()
    for path in (fleet.directory / "keys").rglob("*.pem"):
        assert path.read_bytes().splitlines()[1] not in stored


async def test_restored_store_is_refused_until_it_has_passed_what_was_seen(fleet: Fleet) -> None:
    async with fleet.running() as (client, device):
        await publish(client, "mails")
    fleet.copy_store("store.sqlite3", "backup.sqlite3")
    async with fleet.running() as (client, device):
        await publish(client, "calls")
        assert (await read(device)).version == 2
    for left in fleet.directory.glob("store.sqlite3*"):
        if left.is_file():  # bundles are in a folder beside it, and are built again where one is missing
            left.unlink()
    fleet.copy_store("backup.sqlite3", "store.sqlite3")
    async with fleet.running() as (client, device):
        with pytest.raises(ChannelRefusedError):
            await read(device)
        await publish(client, "news")
        await publish(client, "sorts")
        assert (await read(device)).version == 3
