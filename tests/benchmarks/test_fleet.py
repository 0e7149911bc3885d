"""The virtual fleet against the service itself, with a fake generator and a few devices."""

import asyncio
from pathlib import Path

import pytest

from benchmarks import fleet
from benchmarks.errors import BenchmarkError
from loragen import CloudClient
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.test_server import running


@pytest.mark.slow
async def test_fleet_follows_a_publish_and_a_rollout_that_halts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "FAILING_EACH", 5)
    async with running(tmp_path, FakeGenerator(tmp_path)) as process:
        with CloudClient(process.url) as cloud:
            ids = [(await asyncio.to_thread(cloud.generate_bundle, text)).id for text in ("a", "b", "c")]
            await asyncio.to_thread(cloud.publish, fleet.CHANNEL, "task-0", ids[0])
            virtual = fleet.VirtualFleet(cloud, int(process.grpc_address.rsplit(":")[-1]), 40, 0.5)
            figures = await fleet.measure(virtual, cloud, ids[1:], "python -m benchmarks.fleet", 60)
    assert figures["fleet_polls_per_core_second"].value > 0
    assert 100 < figures["fleet_bytes_per_poll"].value < 2_000
    assert 0 < figures["fleet_halt_devices"].value <= 40
    # 1 as it was, 2 published, 3 the candidate, 4 what came back.
    assert {(device.version, device.bundle_id) for device in virtual.devices} == {(4, ids[1])}


@pytest.mark.parametrize("devices", [0, 20_001])
def test_number_of_devices_is_bounded(devices: int) -> None:
    with pytest.raises(BenchmarkError, match="1 to 20000"):
        fleet.run(devices=devices)
