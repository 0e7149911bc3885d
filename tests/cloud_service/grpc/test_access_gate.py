"""Who may call what over gRPC."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import pytest_asyncio

from cloud_service.access.key_service import KeyRequest
from cloud_service.access.scopes import Scope
from cloud_service.bootstrap import Cloud
from cloud_service.grpc.access_gate import address_of
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from tests.cloud_service.clouds import eventually, publish_to
from tests.cloud_service.guarded import Guarded

Metadata = tuple[tuple[str, str], ...]


@dataclass
class Connected:
    """A service that asks for keys, and a connection to it."""

    cloud: Cloud
    channel: grpc.aio.Channel
    guarded: Guarded

    async def key(self, *scopes: Scope, tenant: str = "", device: str = "") -> Metadata:
        return tuple((await self.guarded.key(*scopes, tenant=tenant, device=device)).items())


@pytest_asyncio.fixture
async def connected(guarded: Guarded) -> AsyncIterator[Connected]:
    port = await guarded.cloud.grpc_server.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Connected(guarded.cloud, channel, guarded)
    await guarded.cloud.grpc_server.stop(1)


async def _refused(call: Any) -> tuple[str, str]:
    async def answer() -> None:
        await (call.read() if isinstance(call, grpc.aio.UnaryStreamCall) else call)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answer()
    trailers = {key: str(value) for key, value in caught.value.trailing_metadata()}
    return caught.value.code().name, trailers["loragen-error-code"]


async def test_call_needs_a_key_with_its_scope(connected: Connected) -> None:
    generate = stubs.GeneratorStub(connected.channel).GenerateLora
    request = pb.GenerateLoraRequest(description="Sort.")
    assert await _refused(generate(request)) == ("UNAUTHENTICATED", "unauthenticated")
    nonsense = (("authorization", "Bearer nonsense"),)
    assert await _refused(generate(request, metadata=nonsense)) == ("UNAUTHENTICATED", "invalid_api_key")
    read = await connected.key(Scope.READ)
    assert await _refused(generate(request, metadata=read)) == ("PERMISSION_DENIED", "missing_scope")
    key = await connected.key(Scope.GENERATE)
    assert (await generate(request, metadata=key)).id
    publishing = pb.GenerateLoraRequest(description="Sort.", publish=pb.PublishTarget(channel="kitchen", name="mail"))
    assert await _refused(generate(publishing, metadata=key)) == ("PERMISSION_DENIED", "missing_scope")
    assert (await generate(publishing, metadata=await connected.key(Scope.GENERATE, Scope.PUBLISH))).id


async def test_change_is_in_the_audit_log_as_over_http(connected: Connected) -> None:
    key = await connected.key(Scope.GENERATE, Scope.PUBLISH)
    target = pb.PublishTarget(channel="kitchen", name="mail")
    request = pb.GenerateLoraRequest(description="Sort.", publish=target)
    metadata = (*key, ("x-request-id", "a-request"))
    await stubs.GeneratorStub(connected.channel).GenerateLora(request, metadata=metadata)
    entries, _ = await connected.cloud.access.audit.page(1)
    (entry,) = entries
    assert entry.action == "channel.publish"
    assert (entry.by["address"], entry.by["request_id"]) == ("127.0.0.1", "a-request")


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.7:4242", "10.0.0.7"),
        ("ipv6:%5B2001:db8::1%5D:4242", "2001:db8::1"),
        ("ipv6:[::1]:4242", "::1"),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_address_of_a_peer_has_neither_kind_nor_port(peer: str, address: str) -> None:
    assert address_of(peer) == address


async def test_device_reports_as_itself_only(connected: Connected) -> None:
    report = stubs.ChannelsStub(connected.channel).ReportStatus
    await publish_to(connected.cloud, "acme.kitchen")
    key = await connected.key(Scope.DEVICE, device="dev-1", tenant="acme")
    await report(pb.DeviceReport(device_id="dev-1", channel="acme.kitchen", channel_version=1), metadata=key)
    other = pb.DeviceReport(device_id="dev-2", channel="acme.kitchen", channel_version=1)
    assert await _refused(report(other, metadata=key)) == ("PERMISSION_DENIED", "wrong_device")
    foreign = pb.DeviceReport(device_id="dev-1", channel="kitchen", channel_version=1)
    assert await _refused(report(foreign, metadata=key)) == ("NOT_FOUND", "not_found")
    fleet = await connected.key(Scope.DEVICE, device="*", tenant="acme")
    await report(other, metadata=fleet)


async def test_watch_of_another_tenants_channel_is_not_found(connected: Connected) -> None:
    watch = stubs.ChannelsStub(connected.channel).Watch
    key = await connected.key(Scope.DEVICE, device="*", tenant="acme")
    call = watch(pb.WatchRequest(channel="other.kitchen", device_id="dev-1"), metadata=key)
    assert await _refused(call) == ("NOT_FOUND", "not_found")


async def test_open_watch_ends_with_its_key_whether_it_hears_nothing_or_much(connected: Connected) -> None:
    access, channels = connected.cloud.access, connected.cloud.channels
    watch = stubs.ChannelsStub(connected.channel).Watch
    for hears_much in (False, True):
        token, key = await access.keys.create(KeyRequest("test", (Scope.DEVICE,), device="dev-1"))
        metadata = (("authorization", f"Bearer {token}"),)
        call = watch(pb.WatchRequest(channel="kitchen", device_id="dev-1"), metadata=metadata)
        read = asyncio.ensure_future(_read_all(call))
        await eventually(lambda: channels.watches == 1)
        await access.keys.revoke(key.id)
        if hears_much:
            access.authenticator._remembered.clear()  # as three seconds do
            channels._watch.announce("kitchen", 7)
        else:
            await access.revocation.look()
        code, messages = await asyncio.wait_for(read, 5)
        assert (code, messages) == ("UNAUTHENTICATED", 0)
        await eventually(lambda: channels.watches == 0)
        assert not access.usage._held


async def _read_all(call: Any) -> tuple[str, int]:
    messages = 0
    try:
        async for _ in call:
            messages += 1
    except grpc.aio.AioRpcError as e:
        return e.code().name, messages
    return "OK", messages


async def test_one_tenant_opens_its_share_of_watches_alone(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_service.grpc.access_gate.MAX_WATCHES", 2)
    watch = stubs.ChannelsStub(connected.channel).Watch
    key = await connected.key(Scope.DEVICE, device="*", tenant="acme")
    request = pb.WatchRequest(channel="acme.kitchen", device_id="dev-1")
    first = watch(request, metadata=key)
    await eventually(lambda: connected.cloud.channels.watches == 1)
    assert await _refused(watch(request, metadata=key)) == ("RESOURCE_EXHAUSTED", "share_used_up")
    other = await connected.key(Scope.DEVICE, device="*")
    second = watch(pb.WatchRequest(channel="kitchen", device_id="dev-2"), metadata=other)
    await eventually(lambda: connected.cloud.channels.watches == 2)
    first.cancel()
    await eventually(lambda: connected.cloud.channels.watches == 1)
    third = watch(request, metadata=key)
    await eventually(lambda: connected.cloud.channels.watches == 2)
    for call in (second, third):
        call.cancel()
    await eventually(lambda: not connected.cloud.access.usage._held)


async def test_watch_goes_through_and_wakes(connected: Connected) -> None:
    key = await connected.key(Scope.GENERATE, Scope.PUBLISH)
    publishing = pb.GenerateLoraRequest(description="Sort.", publish=pb.PublishTarget(channel="kitchen", name="mail"))
    await stubs.GeneratorStub(connected.channel).GenerateLora(publishing, metadata=key)
    device = await connected.key(Scope.DEVICE, device="dev-1")
    watch = stubs.ChannelsStub(connected.channel).Watch
    async for changed in watch(pb.WatchRequest(channel="kitchen", device_id="dev-1"), metadata=device):
        assert changed.version == 1
        break


async def test_health_needs_no_key_and_reflection_is_off_without_docs(connected: Connected) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    answer = await health_pb2_grpc.HealthStub(connected.channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
