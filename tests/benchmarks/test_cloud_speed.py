"""The figures beside a bare application, against the service itself with a fake generator, and for a moment only."""

import json
from pathlib import Path

import pytest

from benchmarks import cloud_speed
from benchmarks.errors import BenchmarkError
from loragen.contract.channel import parse_channel
from loragen.contract.digest import sha256_hex
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.test_server import running

BODY = {"description": "Sort."}


@pytest.mark.slow
async def test_service_is_measured_beside_a_bare_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_speed, "ROUNDS", 1)
    await cloud_speed._store_channels(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    etags = {name: f'"{sha256_hex(document)}"' for name, document in cloud_speed.make_documents().items()}
    generator = FakeGenerator(tmp_path)
    async with running(tmp_path, generator, max_queue=3) as process:
        cloud = cloud_speed.cloud_server(process.url)
        answer = await cloud_speed._ask(cloud, BODY)
        assert json.loads(answer)["cached"]
        async with cloud_speed._bare(tmp_path, answer) as bare:
            figures = await cloud_speed.measure_answers(cloud, bare, BODY, etags, 0.1, "x")
        done = await cloud_speed.measure_uncached(cloud, cloud_speed.make_bodies(2))
        assert len(done.latencies) == 2
        generator.most_at_once, generator.seconds = 1, 0.05
        bodies = cloud_speed.make_bodies(30, 100)
        overload = await cloud_speed.measure_overload(cloud, bodies, 300, max(done.latencies), "x")
    for name in ("cached", "poll", "poll_large"):
        assert 0 < figures[f"{name}_of_bare"].value < 10
        assert figures[f"{name}_of_bare_cpu"].target == 0.6
    assert 0 < overload["overload_accepted"].value < 30
    assert 0 <= overload["retry_succeeds"].value <= 1


async def test_load_that_is_never_refused_is_no_overload(tmp_path: Path) -> None:
    async with running(tmp_path, FakeGenerator(tmp_path)) as process:
        cloud = cloud_speed.cloud_server(process.url)
        with pytest.raises(BenchmarkError, match="was refused"):
            await cloud_speed.measure_overload(cloud, cloud_speed.make_bodies(2), 10, 1.0, "x")


def test_channels_are_as_small_and_as_large_as_they_may_be() -> None:
    sizes = [len(parse_channel(document).specializations) for document in cloud_speed.make_documents().values()]
    assert sizes == [1, 1024]


def test_percentile_is_a_value_that_was_measured() -> None:
    assert cloud_speed.percentile([3.0, 1.0, 2.0], 99) == 3.0
    assert cloud_speed.percentile([float(number) for number in range(1, 201)], 99) == 199.0
