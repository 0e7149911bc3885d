"""Virtual devices against the service itself, with a fake generator."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.virtual_fleet import CHANNEL, VirtualFleet
from loragen import CloudClient
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.test_server import running


@pytest.mark.slow
async def test_devices_take_a_new_version_once_and_refuse_an_older_one(tmp_path: Path) -> None:
    async with running(tmp_path, FakeGenerator(tmp_path)) as process:
        with CloudClient(process.url) as cloud:
            bundle_id = (await asyncio.to_thread(cloud.generate_bundle, "a")).id
            await asyncio.to_thread(cloud.publish, CHANNEL, "task-0", bundle_id)
            fleet = VirtualFleet(cloud, int(process.grpc_address.rsplit(":")[-1]), 10, 0.5)
            await fleet.connect()
            first, second = await fleet.poll_all(), await fleet.poll_all()
            assert {(device.version, device.bundle_id) for device in fleet.devices} == {(1, bundle_id)}
            assert fleet.having(1) == 10
            assert fleet.having(2) == 0
            assert second < first, "nothing new is a few bytes"
            await fleet.report_all()
            assert len((await asyncio.to_thread(cloud.devices, CHANNEL)).devices) == 10
            for device in fleet.devices:
                device.version, device.etag = 2, ""
            with pytest.raises(BenchmarkError, match="has version 2 and was sent version 1"):
                await fleet.poll_all()
            await fleet.close()
