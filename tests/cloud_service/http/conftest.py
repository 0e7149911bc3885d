"""The whole service over a fake generator and the embedded store."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest_asyncio

from cloud_service.bootstrap import Cloud, open_cloud
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import FakeGenerator


@pytest_asyncio.fixture
async def cloud(tmp_path: Path, generator: FakeGenerator) -> AsyncIterator[Cloud]:
    async with open_cloud(settings_for(tmp_path), [generator]) as cloud:
        yield cloud


@pytest_asyncio.fixture
async def http(cloud: Cloud) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(cloud) as client:
        yield client
