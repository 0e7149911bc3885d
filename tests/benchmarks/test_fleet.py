"""The virtual fleet against the service itself, with a fake generator and a few devices."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fleet, virtual_fleet
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figure
from loragen import CloudClient
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.test_server import running


@pytest.mark.slow
async def test_fleet_follows_a_publish_and_a_rollout_that_halts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_fleet, "FAILING_EACH", 5)
    async with running(tmp_path, FakeGenerator(tmp_path)) as process:
        with CloudClient(process.url) as cloud:
            ids = [(await asyncio.to_thread(cloud.generate_bundle, text)).id for text in ("a", "b", "c")]
            await asyncio.to_thread(cloud.publish, fleet.CHANNEL, "task-0", ids[0])
            virtual = fleet.VirtualFleet(cloud, int(process.grpc_address.rsplit(":")[-1]), 40, 0.5)
            noted: dict[str, Figure] = {}
            figures = await fleet.measure(virtual, cloud, ids[1:], "python -m benchmarks.fleet", 60, noted.__setitem__)
    assert noted == figures
    assert figures["fleet_polls_per_core_second"].value > 0
    assert 100 < figures["fleet_bytes_per_poll"].value < 2_000
    assert 0 < figures["fleet_halt_devices"].value <= 40
    # 1 as it was, 2 published, 3 the candidate, 4 what came back.
    assert {(device.version, device.bundle_id) for device in virtual.devices} == {(4, ids[1])}


@pytest.mark.parametrize("devices", [0, 20_001])
def test_number_of_devices_is_bounded(devices: int) -> None:
    with pytest.raises(BenchmarkError, match="1 to 20000"):
        fleet.run(devices=devices)


def test_run_that_is_not_done_in_time_prints_what_it_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: Any) -> None:
        arguments[-1]("fleet_bytes_per_poll", Figure.of(460, "bytes", "command"))
        raise BenchmarkError("not done within 1 s")

    monkeypatch.setattr(fleet, "run", run)
    with pytest.raises(BenchmarkError):
        fleet.main(["--seconds", "1"])
    printed = capsys.readouterr()
    assert printed.err == "fleet_bytes_per_poll 460 bytes\n"
    assert json.loads(printed.out)["fleet_bytes_per_poll"]["value"] == 460
