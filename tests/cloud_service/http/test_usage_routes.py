"""What a tenant may have in the store: refused beyond it, over HTTP and gRPC, told at `/usage`, freed by deletion."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
import pytest_asyncio

from cloud_service.access.scopes import Scope
from cloud_service.bootstrap import open_cloud
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from tests.adapters import random_adapter
from tests.cloud_service.clouds import client_of, eventually, settings_for
from tests.cloud_service.fake_generator import LINEARS, FakeGenerator
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.store_backends import RedisBackend

ALL = (Scope.GENERATE, Scope.READ, Scope.PUBLISH)
Open = Callable[..., Awaitable[Guarded]]


@pytest_asyncio.fixture(params=["sqlite", "redis"])
async def start(request: pytest.FixtureRequest, tmp_path: Path, generator: FakeGenerator) -> AsyncIterator[Open]:
    """Starts a service that asks for keys, over each kind of store."""
    redis, opened = RedisBackend(tmp_path), []

    async def start(**limits: int) -> Guarded:
        changes: dict[str, Any] = {"authentication": "keys", **limits}
        if request.param == "redis":
            await redis.open()
            changes["store_url"] = redis.url
        context = open_cloud(settings_for(tmp_path, **changes), [generator])
        cloud = await context.__aenter__()
        opened.append(context)
        return Guarded(cloud, client_of(cloud))

    yield start
    for context in opened:
        await context.__aexit__(None, None, None)
    await redis.stop()


async def _generate(cloud: Guarded, key: dict[str, str], text: str) -> httpx2.Response:
    return await cloud.http.post("/generate-lora", json={"description": text}, headers=key)


async def _import(cloud: Guarded, key: dict[str, str], seed: int) -> httpx2.Response:
    adapter = random_adapter(LINEARS, seed=seed)
    files = {"adapter_config": adapter.config, "adapter_model": adapter.weights}
    return await cloud.http.post("/bundles", files=files, headers=key)


async def _usage(cloud: Guarded, key: dict[str, str]) -> dict[str, Any]:
    answer = await cloud.http.get("/usage", headers=key)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@asynccontextmanager
async def _reports_to(cloud: Guarded) -> AsyncIterator[Any]:
    """The call of a device that reports."""
    port = await cloud.cloud.grpc_server.start("127.0.0.1", 0)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield stubs.ChannelsStub(channel).ReportStatus
    finally:
        await cloud.cloud.grpc_server.stop(0)


def _refused(answer: httpx2.Response, code: str, setting: str) -> bool:
    assert answer.status_code == 429, answer.text
    error = answer.json()["error"]
    assert answer.headers["retry-after"] == "3600"
    assert setting in error["hint"]
    return bool(error["code"] == code)


async def test_bytes_are_told_refused_and_freed_by_deletion(start: Open, generator: FakeGenerator) -> None:
    probe = await start(bytes_per_tenant=0)
    sized = await probe.key(*ALL, tenant="sized")
    await _generate(probe, sized, "first")
    recipe = (await _usage(probe, sized))["stored"]["bytes"]["used"]
    await _import(probe, sized, 0)
    imported = (await _usage(probe, sized))["stored"]["bytes"]["used"] - recipe
    assert 0 < recipe < imported

    cloud = await start(bytes_per_tenant=recipe + imported)
    key = await cloud.key(*ALL, tenant="acme")
    made = (await _generate(cloud, key, "first")).json()
    mine = (await _import(cloud, key, 0)).json()
    used = (await _usage(cloud, key))["stored"]["bytes"]
    assert used == {"used": recipe + imported, "most": recipe + imported}
    asked = list(generator.prompts)
    for _ in range(2):
        assert _refused(await _generate(cloud, key, "second"), "storage_used_up", "LORAGEN_CLOUD_BYTES_PER_TENANT")
    assert _refused(await _import(cloud, key, 1), "storage_used_up", "LORAGEN_CLOUD_BYTES_PER_TENANT")
    assert generator.prompts == asked
    # What it has goes on, and so do others.
    assert (await _generate(cloud, key, "first")).json()["cached"]
    assert (await _import(cloud, key, 0)).status_code == 200
    assert (await _generate(cloud, await cloud.key(*ALL, tenant="other"), "second")).status_code == 200
    assert (await cloud.http.delete(f"/bundles/{mine['id']}", headers=key)).status_code == 204
    assert (await _usage(cloud, key))["stored"]["bytes"]["used"] == recipe
    assert (await _generate(cloud, key, "second")).status_code == 200
    assert _refused(await _import(cloud, key, 1), "storage_used_up", "LORAGEN_CLOUD_BYTES_PER_TENANT")
    assert (await cloud.http.delete(f"/recipes/{made['recipe_id']}", headers=key)).status_code == 204
    assert (await _import(cloud, key, 1)).status_code == 200


async def _recipe_bytes(start: Open) -> int:
    """How many bytes a recipe takes."""
    cloud = await start(bytes_per_tenant=0)
    key = await cloud.key(*ALL, tenant="sized")
    await _generate(cloud, key, "first")
    used: int = (await _usage(cloud, key))["stored"]["bytes"]["used"]
    return used


async def test_generation_for_which_some_room_is_left_but_not_enough_never_begins(
    start: Open, generator: FakeGenerator
) -> None:
    recipe = await _recipe_bytes(start)
    probe = await start(bytes_per_tenant=0)
    sized = await probe.key(*ALL, tenant="imports")
    await _import(probe, sized, 0)
    imported = (await _usage(probe, sized))["stored"]["bytes"]["used"]

    cloud = await start(bytes_per_tenant=recipe + imported + 1, generations_per_day=9)
    key = await cloud.key(*ALL, tenant="acme")
    assert (await _generate(cloud, key, "first")).status_code == 200
    assert (await _import(cloud, key, 0)).status_code == 200
    asked = list(generator.prompts)
    for _ in range(2):
        assert _refused(await _generate(cloud, key, "second"), "storage_used_up", "LORAGEN_CLOUD_BYTES_PER_TENANT")
    assert generator.prompts == asked
    assert (await _usage(cloud, key))["today"]["generations"]["used"] == 1


async def test_refinement_for_which_some_room_is_left_but_not_enough_never_begins(
    start: Open, generator: FakeGenerator
) -> None:
    cloud = await start(bytes_per_tenant=2 * await _recipe_bytes(start) - 1)
    key = await cloud.key(*ALL, tenant="acme")
    examples = [{"input": f"{n}", "output": f"{n}"} for n in range(8)]
    body = {"description": "first", "examples": examples, "refine": {}}
    for _ in range(2):
        answer = await cloud.http.post("/generate-lora", json=body, headers=key)
        assert _refused(answer, "storage_used_up", "LORAGEN_CLOUD_BYTES_PER_TENANT")
    assert generator.tuners == []


async def test_generation_that_finds_its_room_taken_is_paid_for_and_not_stored(
    start: Open, generator: FakeGenerator
) -> None:
    recipe = await _recipe_bytes(start)
    quotas = {"generations_per_day": 9, "prompt_tokens_per_day": 900}
    cloud = await start(bytes_per_tenant=2 * recipe - 1, max_batch=1, max_delay_seconds=0, **quotas)
    key = await cloud.key(*ALL, tenant="acme")
    generator.gate.clear()
    first = asyncio.create_task(_generate(cloud, key, "first"))
    (served,) = cloud.cloud.service.catalog
    await eventually(lambda: len(generator.prompts) == 2)
    second = asyncio.create_task(_generate(cloud, key, "second"))
    await eventually(lambda: served.runner.waiting == 1)
    generator.gate.set()
    made = (await first).json()
    assert _refused(await second, "storage_used_up", "LORAGEN_CLOUD_BYTES_PER_TENANT")
    usage = await _usage(cloud, key)
    tokens = usage["today"]["prompt-tokens"]["used"]
    assert (usage["today"]["generations"]["used"], usage["stored"]["bytes"]["used"]) == (2, recipe)

    assert (await cloud.http.delete(f"/recipes/{made['recipe_id']}", headers=key)).status_code == 204
    again = await _generate(cloud, key, "second")
    assert (again.status_code, again.json()["cached"], len(generator.prompts)) == (200, False, 4)
    today = (await _usage(cloud, key))["today"]
    # Both descriptions have as many tokens.
    assert (today["generations"]["used"], 2 * today["prompt-tokens"]["used"]) == (3, 3 * tokens)


async def test_channels_and_devices_are_told_refused_and_freed_by_deletion(start: Open) -> None:
    cloud = await start(channels_per_tenant=1, devices_per_tenant=1)
    key = await cloud.key(*ALL, tenant="acme")
    made = (await _generate(cloud, key, "first")).json()["id"]

    async def publish(channel: str) -> httpx2.Response:
        path = f"/channels/{channel}/specializations/mail"
        return await cloud.http.put(path, json={"bundle_id": made}, headers=key)

    assert (await publish("acme.a")).status_code == 200
    assert _refused(await publish("acme.b"), "too_many_channels", "LORAGEN_CLOUD_CHANNELS_PER_TENANT")
    assert (await publish("acme.a")).status_code == 200

    metadata = tuple((await cloud.key(Scope.DEVICE, tenant="acme", device="*")).items())
    async with _reports_to(cloud) as report:

        async def send(device: str) -> None:
            await report(pb.DeviceReport(device_id=device, channel="acme.a", channel_version=1), metadata=metadata)

        for device in ("one", "one"):
            await send(device)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send("two")
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(caught.value.trailing_metadata() or ())["loragen-error-code"] == "too_many_devices"
        stored = (await _usage(cloud, key))["stored"]
        assert (stored["channels"], stored["devices"]) == ({"used": 1, "most": 1}, {"used": 1, "most": 1})
        assert (await cloud.http.delete("/channels/acme.a/devices/one", headers=key)).status_code == 204
        await send("two")
    assert (await cloud.http.delete("/channels/acme.a", headers=key)).status_code == 204
    assert (await publish("acme.b")).status_code == 200


async def test_quotas_of_the_day_are_told_to_whom_they_count_for(start: Open) -> None:
    cloud = await start(generations_per_day=2, probes_per_day=0)
    acme, another = [await cloud.key(*ALL, tenant="acme") for _ in range(2)]
    operator = await cloud.key(Scope.ADMIN)
    await _generate(cloud, acme, "first")
    for key, used in ((acme, 1), (another, 1), (operator, 0)):
        assert (await _usage(cloud, key))["today"] == {"generations": {"used": used, "most": 2}}
    assert (await _usage(cloud, operator))["stored"] == {}
    assert (await _usage(cloud, acme))["tenant"] == "acme"
    device = await cloud.key(Scope.DEVICE, tenant="acme", device="one")
    assert (await cloud.http.get("/usage", headers=device)).status_code == 403
