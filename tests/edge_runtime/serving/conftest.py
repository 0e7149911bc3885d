"""The HTTP interface over slots whose engines are fakes: `base`, and a specialization `router`."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from edge_runtime.serving.app import create_app
from edge_runtime.serving.llama import LlamaLoader
from edge_runtime.serving.slots import Revision, SlotTable
from loragen.contract.bundle import parse_bundle
from loragen.contract.gguf_adapter import GgufModel, write_gguf_adapter
from loragen.contract.names import BASE_NAME
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import FakeLoader
from tests.edge_runtime.serving.fake_device import BUNDLE, FakeDevice, RecordingTelemetry


@pytest.fixture
def loader() -> Iterator[FakeLoader]:
    fake = FakeLoader()
    yield fake
    fake.hold.set()
    fake.step.set()


@pytest.fixture
def adapter(cloud: FakeCloud, tmp_path: Path) -> Path:
    """The GGUF adapter of a specialization for the tiny model."""
    path = tmp_path / "adapter.gguf"
    write_gguf_adapter(parse_bundle(cloud.bundles[cloud.make("router").bundle_id]), path, GgufModel("llama"))
    return path


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def telemetry() -> RecordingTelemetry:
    return RecordingTelemetry()


@pytest.fixture
async def slots(loader: FakeLoader, tmp_path: Path) -> AsyncIterator[SlotTable]:
    table = SlotTable(loader, max_resident=4, max_queue=2)
    for name, text, bundle in ((BASE_NAME, "plain words", None), ("router", "call get_weather now", BUNDLE)):
        path = tmp_path / f"{name}.gguf"
        path.write_text(text)
        table.activate(await table.prepare(Revision(name, bundle, "merged" if bundle else "base", path)))
    yield table
    loader.hold.set()
    await table.close()


@pytest.fixture
async def client(
    slots: SlotTable, device: FakeDevice, telemetry: RecordingTelemetry
) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(create_app(slots, device, telemetry), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as made:
        yield made


@pytest.fixture
async def tiny_client(tiny_base: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """The HTTP interface over a real tiny model alone."""
    slots = SlotTable(LlamaLoader(256, 1, sequences=2), max_resident=1, max_queue=8)
    slots.activate(await slots.prepare(Revision("base", None, "base", tiny_base)))
    transport = httpx2.ASGITransport(create_app(slots, FakeDevice(), RecordingTelemetry()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as made:
        yield made
    await slots.close()
