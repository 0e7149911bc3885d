"""How the parts of a process are put together, and that they are closed again."""

from pathlib import Path

import pytest

from cloud_service.bootstrap import load_generators, open_cloud
from cloud_service.config import GeneratorSource
from cloud_service.errors import UnavailableError
from loragen.web.errors import ConfigurationError
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import FakeGenerator


@pytest.mark.slow
def test_generator_that_cannot_be_loaded_stops_the_start(tmp_path: Path) -> None:
    source = GeneratorSource(directory=tmp_path / "nothing", cloud_model="nothing", edge_model="nothing")
    with pytest.raises(ConfigurationError, match=r"cannot load the generator in .*nothing") as caught:
        load_generators(settings_for(tmp_path, generators=(source,)))
    assert caught.value.hint


async def test_parts_work_inside_the_block_and_are_closed_after_it(tmp_path: Path, generator: FakeGenerator) -> None:
    async with open_cloud(settings_for(tmp_path), [generator]) as cloud:
        await cloud.service.verify_ready()
        async with client_of(cloud) as http:
            assert (await http.post("/generate-lora", json={"description": "Sort."})).status_code == 200
    with pytest.raises(UnavailableError):
        await cloud.service.verify_ready()


async def test_prober_is_there_unless_probes_are_off(tmp_path: Path, generator: FakeGenerator) -> None:
    for probe in (True, False):
        async with open_cloud(settings_for(tmp_path, probe=probe), [generator]) as cloud:
            assert [served.prober is not None for served in cloud.service.catalog] == [probe]
