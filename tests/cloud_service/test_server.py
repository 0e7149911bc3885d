"""The process: both protocols on real ports, and a shutdown that loses nothing."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest

from cloud_service.bootstrap import run
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from loragen.web.errors import ConfigurationError
from tests.cloud_service.clouds import eventually, settings_for
from tests.cloud_service.fake_generator import PROBE, FakeGenerator, FakeProbe


class Process:
    """A service that runs in this process, on ports of its own."""

    def __init__(self, stop: asyncio.Event, ports: tuple[int, int], task: "asyncio.Task[None]") -> None:
        self.stop = stop
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.grpc_address = f"127.0.0.1:{ports[1]}"
        self.task = task


@asynccontextmanager
async def running(directory: Path, generator: FakeGenerator, **changes: Any) -> AsyncIterator[Process]:
    stop = asyncio.Event()
    ports: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
    listening: Callable[[int, int], None] = lambda http, grpc: ports.set_result((http, grpc))  # noqa: E731
    settings = settings_for(directory, port=0, grpc_port=0, **changes)
    task = asyncio.create_task(run(settings, [generator], stop, listening))
    await asyncio.wait({task, ports}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    yield Process(stop, ports.result(), task)
    stop.set()
    await task


async def test_http_and_grpc_share_one_service(tmp_path: Path, generator: FakeGenerator) -> None:
    async with (
        running(tmp_path, generator) as process,
        httpx2.AsyncClient(base_url=process.url) as http,
        grpc.aio.insecure_channel(process.grpc_address) as channel,
    ):
        answer = (await http.post("/generate-lora", json={"description": "Sort."})).json()
        over_grpc = await stubs.GeneratorStub(channel).GenerateLora(pb.GenerateLoraRequest(description="Sort."))
        assert over_grpc.cached
        assert over_grpc.id == answer["id"]


async def test_shutdown_is_not_ready_first_then_finishes_what_is_in_flight(
    tmp_path: Path, generator: FakeGenerator
) -> None:
    async with (
        running(tmp_path, generator, drain_delay_seconds=0.4) as process,
        httpx2.AsyncClient(base_url=process.url) as http,
        grpc.aio.insecure_channel(process.grpc_address) as channel,
    ):
        watching = asyncio.ensure_future(stubs.ChannelsStub(channel).Watch(pb.WatchRequest(channel="c")).read())
        generator.gate.clear()
        in_flight = asyncio.create_task(http.post("/generate-lora", json={"description": "in flight"}))
        await generator.wait_until_called()
        process.stop.set()
        await asyncio.sleep(0.05)
        assert (await http.get("/health/ready")).status_code == 503
        assert (await http.get("/health/live")).status_code == 200
        late = asyncio.create_task(http.post("/generate-lora", json={"description": "late"}))
        await asyncio.sleep(0.5)
        with pytest.raises(httpx2.ConnectError):
            await httpx2.AsyncClient(base_url=process.url).get("/health/live")
        assert not process.task.done()
        generator.gate.set()
        assert (await in_flight).status_code == 200
        assert (await late).status_code == 200
        assert await watching is grpc.aio.EOF
        await process.task


async def test_shutdown_keeps_its_time_and_tells_those_it_cuts_off(tmp_path: Path, generator: FakeGenerator) -> None:
    """Whatever they wait for: the model, a place in its queue, or a probe."""
    probe = FakeProbe()
    probe.gate.clear()
    generator.load_probe = lambda: probe  # type: ignore[method-assign]
    async with (
        running(tmp_path, generator, max_batch=1, shutdown_timeout_seconds=1) as process,
        httpx2.AsyncClient(base_url=process.url) as http,
        grpc.aio.insecure_channel(process.grpc_address) as channel,
    ):
        bodies = [{"description": f"probed {number}", "probe": PROBE} for number in range(2)]
        cut_off = [asyncio.create_task(http.post("/generate-lora", json=body)) for body in bodies]
        await eventually(lambda: bool(probe.threads) and len(generator.batches) == 2)
        generator.gate.clear()
        for number in range(3):
            body = {"description": f"generated {number}"}
            cut_off.append(asyncio.create_task(http.post("/generate-lora", json=body)))
        call = stubs.GeneratorStub(channel).GenerateLora(pb.GenerateLoraRequest(description="over gRPC"))
        await asyncio.sleep(0.3)
        started = asyncio.get_running_loop().time()
        process.stop.set()
        answers = await asyncio.gather(*cut_off)
        assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [(503, "draining")] * 5
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        await process.task
        assert asyncio.get_running_loop().time() - started < 2.5
        generator.gate.set()
        probe.gate.set()


async def test_request_whose_client_hung_up_is_not_generated_and_not_logged_as_answered(
    tmp_path: Path, generator: FakeGenerator
) -> None:
    async with (
        running(tmp_path, generator, max_batch=1, max_delay_seconds=0) as process,
        httpx2.AsyncClient(base_url=process.url) as http,
    ):
        generator.gate.clear()
        first = asyncio.create_task(http.post("/generate-lora", json={"description": "first"}))
        await generator.wait_until_called()
        abandoned = [
            asyncio.create_task(http.post("/generate-lora", json={"description": f"abandoned {number}"}))
            for number in range(5)
        ]
        await asyncio.sleep(0.2)
        for each in abandoned:
            each.cancel()
        await asyncio.sleep(0.2)
        generator.gate.set()
        assert (await first).status_code == 200
        assert (await http.post("/generate-lora", json={"description": "honest"})).status_code == 200
        assert generator.prompts == ["first", "honest"]
        metrics = (await http.get("/metrics")).text
        assert 'code="client_gone",protocol="http",route="/generate-lora"} 5.0' in metrics


async def test_port_in_use_stops_the_start_with_its_name(tmp_path: Path, generator: FakeGenerator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for changes, expected in (
            ({"port": port}, "LORAGEN_CLOUD_PORT"),
            ({"grpc_port": port}, "LORAGEN_CLOUD_GRPC_PORT"),
        ):
            settings = settings_for(tmp_path, **({"port": 0, "grpc_port": 0} | changes))
            with pytest.raises(ConfigurationError, match=str(port)) as caught:
                await run(settings, [generator], asyncio.Event())
            assert expected in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize(("module", "first_import"), [("cloud_service", b"typer"), ("edge_runtime", b"pydantic")])
async def test_sigterm_during_the_start_ends_the_process(tmp_path: Path, module: str, first_import: bytes) -> None:
    """Process 1 of a container gets no signal that it has no handler for; the status shows that there was one."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "importtime", "-m", module, cwd=Path(__file__).parents[2], stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LORAGEN_EDGE_DATA_DIR": str(tmp_path), "LORAGEN_EDGE_PORT": "0"},
    )  # fmt: skip
    assert child.stderr is not None
    try:
        async with asyncio.timeout(60):
            while first_import not in await child.stderr.readline():
                pass
            child.send_signal(signal.SIGTERM)
            await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
    assert child.returncode == 143


@pytest.mark.slow
async def test_sigterm_drains_and_ends_with_success(tmp_path: Path) -> None:
    script = Path(__file__).with_name("serve_fake.py")
    child = await asyncio.create_subprocess_exec(
        sys.executable, script, tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    async with asyncio.timeout(60):
        port = int(await child.stdout.readline())
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            in_flight = asyncio.create_task(http.post("/generate-lora", json={"description": "in flight"}))
            await asyncio.sleep(0.2)
            child.send_signal(signal.SIGTERM)
            assert (await in_flight).status_code == 200
        _, log = await child.communicate()
    assert child.returncode == 0
    assert b'"event":"draining"' in log
    assert b'"generations_cut_off":0' in log


@pytest.mark.slow
async def test_log_of_a_process_that_cuts_requests_off_has_no_description_and_no_traceback(tmp_path: Path) -> None:
    script = Path(__file__).with_name("serve_fake.py")
    child = await asyncio.create_subprocess_exec(
        sys.executable, script, tmp_path, "hang", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    async with asyncio.timeout(60):
        port = int(await child.stdout.readline())
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            in_flight = asyncio.create_task(http.post("/generate-lora", json={"description": "swordfish"}))
            await asyncio.sleep(0.5)
            child.send_signal(signal.SIGTERM)
            assert (await in_flight).json()["error"]["code"] == "draining"
        _, log = await child.communicate()
    assert child.returncode == 0
    assert b'"generations_cut_off":1' in log
    assert b"swordfish" not in log
    assert b"Traceback" not in log


def test_bad_setting_ends_the_process_with_one_clear_line() -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "cloud_service"],
        env={**os.environ, "LORAGEN_CLOUD_PORT": "http"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == 2
    assert "LORAGEN_CLOUD_PORT" in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize(("trusted", "address"), [((), "127.0.0.1"), (("127.0.0.0/8",), "192.0.2.9")])
async def test_audit_log_believes_trusted_proxies_alone(
    tmp_path: Path, generator: FakeGenerator, trusted: tuple[str, ...], address: str
) -> None:
    async with (
        running(tmp_path, generator, trusted_proxies=trusted) as process,
        httpx2.AsyncClient(base_url=process.url, headers={"X-Forwarded-For": "192.0.2.9"}) as http,
    ):
        task = {"description": "Sort.", "publish": {"channel": "kitchen", "name": "mails"}}
        assert (await http.post("/generate-lora", json=task)).status_code == 200
        (entry,) = (await http.get("/audit")).json()["entries"]
    assert (entry["action"], entry["address"]) == ("channel.publish", address)
