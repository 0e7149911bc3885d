"""Both services in this process, without a network, and a transport that answers as a test tells it to."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
import stamina

from cloud_service.bootstrap import Cloud, open_cloud
from edge_runtime.serving.app import create_app
from edge_runtime.serving.slots import SlotTable
from loragen import AsyncCloudClient, AsyncDeviceClient
from tests.cloud_service.clouds import settings_for
from tests.cloud_service.fake_generator import FakeGenerator
from tests.edge_runtime.serving.conftest import device as fake_device
from tests.edge_runtime.serving.conftest import loader, slots, telemetry
from tests.edge_runtime.serving.fake_device import FakeDevice, RecordingTelemetry

__all__ = ["fake_device", "loader", "slots", "telemetry"]


@pytest.fixture(autouse=True)
def no_pauses() -> Iterator[None]:
    """Calls are repeated at once; how long a pause should be is tested by itself."""
    with stamina.set_testing(True, attempts=5, cap=True):
        yield


@pytest.fixture
def generator(tmp_path: Path) -> FakeGenerator:
    return FakeGenerator(tmp_path)


@pytest_asyncio.fixture
async def cloud_app(tmp_path: Path, generator: FakeGenerator) -> AsyncIterator[Cloud]:
    async with open_cloud(settings_for(tmp_path), [generator]) as cloud:
        yield cloud


@pytest_asyncio.fixture
async def cloud(cloud_app: Cloud) -> AsyncIterator[AsyncCloudClient]:
    async with AsyncCloudClient("http://localhost", transport=httpx2.ASGITransport(cloud_app.app)) as client:
        yield client


@pytest_asyncio.fixture
async def device(
    slots: SlotTable, fake_device: FakeDevice, telemetry: RecordingTelemetry
) -> AsyncIterator[AsyncDeviceClient]:
    transport = httpx2.ASGITransport(create_app(slots, fake_device, telemetry), raise_app_exceptions=False)
    async with AsyncDeviceClient("http://localhost", transport=transport) as client:
        yield client
