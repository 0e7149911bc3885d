"""What the tests of the cloud service share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.store_backends import RedisBackend, SqliteBackend, StoreBackend


@pytest_asyncio.fixture(params=["sqlite", "redis"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreBackend]:
    """Each kind of store in turn."""
    backend: StoreBackend = SqliteBackend(tmp_path) if request.param == "sqlite" else RedisBackend(tmp_path)
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
