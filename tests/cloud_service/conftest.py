"""What the tests of the cloud service share."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from cloud_service import jobs
from cloud_service.bootstrap import Cloud, open_cloud
from cloud_service.service import LoraService
from cloud_service.store import Store
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.services import MakeService, make_service
from tests.cloud_service.store_backends import BACKENDS, RedisBackend, SqliteBackend, StoreBackend


@pytest_asyncio.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreBackend]:
    """Each kind of store in turn."""
    backend = BACKENDS[request.param](tmp_path)
    yield backend
    await backend.stop()


@pytest_asyncio.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisBackend]:
    """A Redis that the test may kill."""
    backend = RedisBackend(tmp_path)
    yield backend
    await backend.stop()


@pytest_asyncio.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    """The embedded store."""
    backend = SqliteBackend(tmp_path)
    yield backend
    await backend.stop()


@pytest.fixture
def generator(tmp_path: Path) -> FakeGenerator:
    """A generator without a model."""
    return FakeGenerator(tmp_path)


@pytest.fixture
def quick_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress of jobs is stored often."""
    monkeypatch.setattr(jobs, "SHOWN_EVERY_SECONDS", 0.02)


@pytest_asyncio.fixture
async def services() -> AsyncIterator[MakeService]:
    """Makes services, and closes them."""
    made: list[LoraService] = []

    def make(store: Store, *generators: FakeGenerator, **options: float) -> LoraService:
        made.append(make_service(store, *generators, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for service in made:
        await service.close(5)


@pytest_asyncio.fixture
async def cloud(tmp_path: Path, generator: FakeGenerator) -> AsyncIterator[Cloud]:
    """The whole service over a fake generator and the embedded store."""
    async with open_cloud(settings_for(tmp_path), [generator]) as cloud:
        yield cloud


@pytest_asyncio.fixture
async def http(cloud: Cloud) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of that service's HTTP interface."""
    async with client_of(cloud) as client:
        yield client


@pytest_asyncio.fixture
async def guarded(tmp_path: Path, generator: FakeGenerator) -> AsyncIterator[Guarded]:
    """The whole service, which asks for keys."""
    settings = settings_for(tmp_path, authentication="keys")
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as client:
        yield Guarded(cloud, client)
