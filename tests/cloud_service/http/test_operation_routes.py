"""What clients and operators see when the service cannot do everything: overload, a store that is away, shutdown."""

import asyncio
from pathlib import Path

import httpx2

from cloud_service.bootstrap import Cloud, open_cloud
from tests.cloud_service.clouds import client_of, eventually, settings_for
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.store_backends import RedisBackend


async def test_full_queue_is_503_with_retry_after(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path, max_queue=1, max_batch=1, max_delay_seconds=0)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        generator.gate.clear()
        accepted = [asyncio.create_task(http.post("/generate-lora", json={"description": "running"}))]
        await generator.wait_until_called()
        accepted.append(asyncio.create_task(http.post("/generate-lora", json={"description": "waiting"})))
        (served,) = cloud.service.catalog
        await eventually(lambda: served.runner.waiting == 1)
        assert "loragen_cloud_queue_depth 1.0" in (await http.get("/metrics")).text
        refused = await http.post("/generate-lora", json={"description": "one too many"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        generator.gate.set()
        assert [response.status_code for response in await asyncio.gather(*accepted)] == [200, 200]
        assert "loragen_cloud_rejections_total 1.0" in (await http.get("/metrics")).text


async def test_queue_depth_counts_the_prompts_of_all_generators(tmp_path: Path, generator: FakeGenerator) -> None:
    generators = [generator, FakeGenerator(tmp_path, generator_id="second")]
    settings = settings_for(tmp_path, max_batch=1, max_delay_seconds=0)
    async with open_cloud(settings, generators) as cloud, client_of(cloud) as http:
        accepted = []
        for each in generators:
            each.gate.clear()
            for text in ("running", "waiting"):
                body = {"description": text, "generator": each.info.id}
                accepted.append(asyncio.create_task(http.post("/generate-lora", json=body)))
                await each.wait_until_called()
        await eventually(lambda: all(served.runner.waiting == 1 for served in cloud.service.catalog))
        assert "loragen_cloud_queue_depth 2.0" in (await http.get("/metrics")).text
        generators[1].gate.set()
        await asyncio.gather(*accepted[2:])
        assert "loragen_cloud_queue_depth 1.0" in (await http.get("/metrics")).text
        generator.gate.set()
        assert [response.status_code for response in await asyncio.gather(*accepted)] == [200] * 4
        assert "loragen_cloud_queue_depth 0.0" in (await http.get("/metrics")).text


async def test_slow_generation_is_504(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path, request_timeout_seconds=0.1)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        generator.gate.clear()
        response = await http.post("/generate-lora", json={"description": "slow"})
        generator.gate.set()
        assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")


async def _until(http: httpx2.AsyncClient, path: str, status: int) -> httpx2.Response:
    for _ in range(500):
        if (response := await http.get(path)).status_code == status:
            return response
        await asyncio.sleep(0.02)
    raise AssertionError(f"{path} never answered {status}")


async def test_model_that_hangs_is_not_ready_then_not_alive_until_it_is_back(
    tmp_path: Path, generator: FakeGenerator
) -> None:
    settings = settings_for(tmp_path, request_timeout_seconds=0.5)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        generator.gate.clear()
        assert (await http.post("/generate-lora", json={"description": "hangs"})).status_code == 504
        ready = await _until(http, "/health/ready", 503)
        assert ready.json()["error"]["code"] == "unavailable"
        assert "the model of fake" in ready.json()["error"]["message"]
        assert (await http.get("/health/live")).status_code == 200
        live = await _until(http, "/health/live", 503)
        assert "expected at most 2 s" in live.json()["error"]["message"]
        generator.gate.set()
        for path in ("/health/ready", "/health/live"):
            await _until(http, path, 200)


async def test_store_that_is_away_is_503_and_not_ready_but_alive_until_it_is_back(
    tmp_path: Path, generator: FakeGenerator, redis: RedisBackend
) -> None:
    await redis.restart()
    async with open_cloud(settings_for(tmp_path, store_url=redis.url), [generator]) as cloud, client_of(cloud) as http:
        bundle_id = (await http.post("/generate-lora", json={"description": "Sort the mail."})).json()["id"]
        await http.put("/channels/kitchen/specializations/mail", json={"bundle_id": bundle_id})
        await redis.kill()
        for response in (
            await http.post("/generate-lora", json={"description": "Sort the mail."}),
            await http.get(f"/bundles/{bundle_id}"),
            await http.get("/channels/kitchen"),
            await http.get("/health/ready"),
        ):
            assert (response.status_code, response.json()["error"]["code"]) == (503, "store_unavailable")
            assert int(response.headers["retry-after"]) >= 1
        assert (await http.get("/health/live")).status_code == 200
        await redis.restart()
        assert (await _until(http, "/health/ready", 200)).json() == {"status": "ready"}
        assert (await http.post("/generate-lora", json={"description": "Sort the mail."})).json()["cached"]
        assert (await http.get("/channels/kitchen")).status_code == 200


async def test_draining_process_is_not_ready_but_alive_and_still_serves(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    assert (await http.get("/health/ready")).status_code == 200
    cloud.service.drain()
    ready = await http.get("/health/ready")
    assert (ready.status_code, ready.json()["error"]["code"]) == (503, "draining")
    assert (await http.get("/health/live")).status_code == 200
    assert (await http.post("/generate-lora", json={"description": "late"})).status_code == 200


async def test_probes_and_readings_answer_head(http: httpx2.AsyncClient) -> None:
    for path in ("/health/live", "/health/ready", "/metrics", "/generators", "/devices"):
        assert (await http.head(path)).status_code == 200, path


async def test_strict_refusal_counts_as_a_generation(http: httpx2.AsyncClient) -> None:
    body = {"description": "NONSENSE", "strict": True}
    assert (await http.post("/generate-lora", json=body)).status_code == 422
    assert 'loragen_cloud_generations_total{source="model"} 1.0' in (await http.get("/metrics")).text


async def test_process_whose_runner_stopped_is_not_ready(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    for served in cloud.service.catalog:
        await served.runner.close(1)
    ready = await http.get("/health/ready")
    assert (ready.status_code, ready.json()["error"]["code"]) == (503, "unavailable")
