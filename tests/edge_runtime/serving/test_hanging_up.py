"""Connections that end early, on a real server, from either side: the generation ends and the slot is given back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import uvicorn

from edge_runtime.serving.app import create_app
from edge_runtime.serving.slots import Revision, SlotTable
from loragen.contract.names import BASE_NAME
from tests.edge_runtime.fakes import FakeLoader, eventually
from tests.edge_runtime.serving.fake_device import FakeDevice, RecordingTelemetry
from tests.edge_runtime.serving.wire import events


@asynccontextmanager
async def served(slots: SlotTable, telemetry: RecordingTelemetry) -> AsyncIterator[str]:
    """The interface on a free loopback port."""
    config = uvicorn.Config(
        create_app(slots, FakeDevice(), telemetry), port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await running


async def test_client_that_hangs_up_ends_its_generation(tmp_path: Path) -> None:
    """Whole or streamed, before or after the first token: one more step of the engine, and the slot is free."""
    loader, telemetry = FakeLoader(), RecordingTelemetry()
    slots = SlotTable(loader, 2, 4)
    (tmp_path / "base.gguf").write_text("word " * 60)
    slot = await slots.prepare(Revision(BASE_NAME, None, "base", tmp_path / "base.gguf"))
    slots.activate(slot)
    body = {"model": "base", "prompt": "hi", "max_tokens": 60}
    async with served(slots, telemetry) as url, httpx2.AsyncClient(base_url=url, timeout=30) as client:
        for hold, stream in ((loader.hold, False), (loader.hold, True), (loader.step, False)):
            hold.clear()
            request = asyncio.create_task(client.post("/v1/completions", json={**body, "stream": stream}))
            await eventually(lambda: slot.worker.running + slot.worker.waiting == 1)
            request.cancel()
            await eventually(lambda: slot.leases == 0)
            assert (telemetry.records[-1].status, telemetry.records[-1].code) == (499, "client_gone")
            hold.set()
            await eventually(lambda: slot.worker.running + slot.worker.waiting == 0)
        async with client.stream("POST", "/v1/completions", json={**body, "stream": True}) as answer:
            pieces = answer.aiter_raw()
            await anext(pieces)
            loader.step.clear()
        await eventually(lambda: slot.leases == 0)
        loader.step.set()
        await eventually(lambda: slot.worker.running + slot.worker.waiting == 0)
        whole = await client.post("/v1/completions", json=body)
        assert whole.json()["usage"]["completion_tokens"] == 60
    await slots.close()


async def test_swap_under_real_connections_finishes_the_stream_on_the_old_slot(tmp_path: Path) -> None:
    loader, telemetry = FakeLoader(), RecordingTelemetry()
    slots = SlotTable(loader, 2, 4)
    for text in ("old", "new"):
        (tmp_path / f"{text}.gguf").write_text(f"{text} " * 5)
    slots.activate(await slots.prepare(Revision("router", "0" * 64, "merged", tmp_path / "old.gguf")))
    body = {"model": "router", "prompt": "hi", "stream": True}
    async with served(slots, telemetry) as url, httpx2.AsyncClient(base_url=url, timeout=30) as client:
        loader.step.clear()
        async with client.stream("POST", "/v1/completions", json=body) as answer:
            slots.activate(await slots.prepare(Revision("router", "1" * 64, "merged", tmp_path / "new.gguf")))
            loader.step.set()
            text = "".join([piece async for piece in answer.aiter_text()])
        assert text.count("old ") == 5
        assert "merged." in text
        assert "-" + "0" * 64 in text
        after = await client.post("/v1/completions", json={**body, "stream": False})
        assert after.json()["choices"][0]["text"] == "new " * 5
        await slots.drained()
        assert loader.open == 1
    await slots.close()


async def test_stream_that_the_shutdown_cuts_off_ends_with_the_error(tmp_path: Path) -> None:
    """Not with a broken connection, of which a client cannot know what it means."""
    loader, telemetry = FakeLoader(), RecordingTelemetry()
    slots = SlotTable(loader, 2, 4)
    (tmp_path / "base.gguf").write_text("word " * 5)
    slot = await slots.prepare(Revision(BASE_NAME, None, "base", tmp_path / "base.gguf"))
    slots.activate(slot)
    loader.step.clear()
    body = {"model": "base", "prompt": "hi", "stream": True}
    async with httpx2.AsyncClient(timeout=30) as client:
        async with served(slots, telemetry) as url:
            answer = await client.send(client.build_request("POST", f"{url}/v1/completions", json=body), stream=True)
        text = (await answer.aread()).decode()
    assert events(text)[-1]["error"]["code"] == "draining"
    assert (telemetry.records[-1].status, telemetry.records[-1].code) == (200, "draining")
    loader.step.set()
    await eventually(lambda: slot.leases == 0)
    await slots.close()
