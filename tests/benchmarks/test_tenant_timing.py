"""What a tenant could learn from times, against the service itself with a fake generator."""

from pathlib import Path

import pytest

from benchmarks import tenant_timing
from benchmarks.cloud_speed import cloud_server
from benchmarks.errors import BenchmarkError
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.test_server import running


@pytest.mark.slow
async def test_halves_are_compared_and_no_answer_says_cached(tmp_path: Path) -> None:
    keys = await tenant_timing.make_keys(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    generator = FakeGenerator(tmp_path)
    async with running(tmp_path, generator) as process:
        server = cloud_server(process.url)
        figures = await tenant_timing.measure(server, keys, 8, "x")
        with pytest.raises(BenchmarkError, match="401"):
            await tenant_timing.measure(server, ["lg_no", "lg_no"], 8, "x")
    assert (figures["said_cached"].value, figures["said_cached"].baseline) == (0, 4)
    assert figures["behind_longest"].value > 0
    for name in ("generate", "bundle", "behind"):
        assert figures[f"{name}_known_of_new"].value > 0
        assert 0 <= figures[f"{name}_p"].value <= 1
    assert len(generator.prompts) == 4 + 8 + 8
