"""gRPC to a real server on the loopback interface, and to none."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import grpc
import pytest

from edge_runtime.cloud.rpc import REPORT_AGAIN_SECONDS, GrpcLink, device_report
from loragen.contract.limits import MAX_STATUS_MESSAGE_CHARS
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as pb_grpc
from loragen.device_answers import DeviceStatus, ServedModel
from tests.edge_runtime.fakes import eventually


@dataclass
class FakeChannels:
    """A cloud that has one version of the channel at a time."""

    version: int = 1
    watched: list[pb.WatchRequest] = field(default_factory=list)
    reported: list[pb.DeviceReport] = field(default_factory=list)
    refuses: bool = False
    refused: int = 0
    ended: int = 0

    async def Watch(self, request: pb.WatchRequest, context: object) -> AsyncIterator[pb.ChannelChanged]:
        self.watched.append(request)
        try:
            while True:
                sent = self.version
                yield pb.ChannelChanged(channel=request.channel, version=sent)
                await eventually(lambda sent=sent: self.version != sent, seconds=600)
        finally:
            self.ended += 1

    async def ReportStatus(
        self, request: pb.DeviceReport, context: grpc.aio.ServicerContext[pb.DeviceReport, pb.ReportStatusResponse]
    ) -> pb.ReportStatusResponse:
        if self.refuses:
            self.refused += 1
            await context.abort(grpc.StatusCode.UNAVAILABLE)
        self.reported.append(request)
        return pb.ReportStatusResponse()


@pytest.fixture
async def cloud_and_link() -> AsyncIterator[tuple[FakeChannels, GrpcLink]]:
    channels = FakeChannels()
    server = grpc.aio.server()
    pb_grpc.add_ChannelsServicer_to_server(channels, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    link = GrpcLink(f"127.0.0.1:{port}", "default", "dev-1")
    yield channels, link
    await link.close()
    await server.stop(None)


def report(*models: ServedModel) -> DeviceStatus:
    return DeviceStatus(
        "dev-1", "0.1.0", "tiny", "Q4_K", True, "default", edge_model_digest="e" * 64, channel_version=7, models=models
    )


async def test_watch_returns_when_the_version_differs(cloud_and_link: tuple[FakeChannels, GrpcLink]) -> None:
    channels, link = cloud_and_link
    assert await link.watch(0) is True
    watching = asyncio.create_task(link.watch(1))
    await eventually(lambda: len(channels.watched) == 2)
    channels.version = 2
    assert await watching is True
    assert channels.watched[-1] == pb.WatchRequest(channel="default", device_id="dev-1", known_version=1)


async def test_watch_that_has_heard_of_a_change_is_ended_at_the_cloud(
    cloud_and_link: tuple[FakeChannels, GrpcLink],
) -> None:
    channels, link = cloud_and_link
    for _ in range(3):
        assert await link.watch(0) is True
    await eventually(lambda: channels.ended == 3)


async def test_report_says_what_runs(cloud_and_link: tuple[FakeChannels, GrpcLink]) -> None:
    channels, link = cloud_and_link
    await link.report(
        report(
            ServedModel("tiny", "base"),
            ServedModel("a", "merged", "1" * 64),
            ServedModel("b", "adapter", "2" * 64, message="kept"),
            ServedModel("c", "failed", "3" * 64, message="NaN"),
            ServedModel("d", "pending", "4" * 64),
        )
    )
    (status,) = channels.reported
    assert (status.device_id, status.channel, status.channel_version) == ("dev-1", "default", 7)
    assert (status.runtime_version, status.edge_model_digest) == ("0.1.0", "e" * 64)
    assert [(each.name, each.state, each.message) for each in status.specializations] == [
        ("a", pb.SPECIALIZATION_STATE_MERGED, ""),
        ("b", pb.SPECIALIZATION_STATE_ADAPTER, "kept"),
        ("c", pb.SPECIALIZATION_STATE_FAILED, "NaN"),
        ("d", pb.SPECIALIZATION_STATE_PENDING, ""),
    ]


async def test_report_is_sent_when_something_changed_and_about_once_an_hour(
    cloud_and_link: tuple[FakeChannels, GrpcLink],
) -> None:
    channels, link = cloud_and_link
    seconds = 100.0
    link._monotonic, link._draw = lambda: seconds, lambda: 0.0
    same = report(ServedModel("a", "adapter", "1" * 64))
    for _ in range(3):
        await link.report(replace(same, memory_bytes=int(seconds), requests_waiting=3, last_poll_at=seconds))
        seconds += 30
    assert len(channels.reported) == 1
    await link.report(report(ServedModel("a", "merged", "1" * 64)))
    await link.report(same)
    assert [each.specializations[0].state for each in channels.reported[1:]] == [
        pb.SPECIALIZATION_STATE_MERGED,
        pb.SPECIALIZATION_STATE_ADAPTER,
    ]
    seconds += REPORT_AGAIN_SECONDS / 2 - 1
    await link.report(same)
    assert len(channels.reported) == 3
    seconds += 1
    await link.report(same)
    assert len(channels.reported) == 4


async def test_report_that_did_not_arrive_is_sent_again(cloud_and_link: tuple[FakeChannels, GrpcLink]) -> None:
    channels, link = cloud_and_link
    channels.refuses = True
    for _ in range(2):
        await link.report(report())
    channels.refuses = False
    for _ in range(2):
        await link.report(report())
    assert len(channels.reported) == 1
    assert channels.refused == 2


async def test_message_over_the_limit_is_cut_so_that_the_cloud_takes_the_report(
    cloud_and_link: tuple[FakeChannels, GrpcLink],
) -> None:
    channels, link = cloud_and_link
    longest = "x" * MAX_STATUS_MESSAGE_CHARS
    messages = ("short", longest, longest + "y")
    await link.report(
        report(*(ServedModel(f"m{i}", "failed", "1" * 64, message=text) for i, text in enumerate(messages)))
    )
    (status,) = channels.reported
    assert [each.message for each in status.specializations] == ["short", longest, longest[:-1] + "…"]


async def test_message_that_does_not_parse_is_harmless() -> None:
    async def watch(request: bytes, context: object) -> AsyncIterator[bytes]:
        yield b"\xff"

    server = grpc.aio.server()
    handlers = {"Watch": grpc.unary_stream_rpc_method_handler(watch)}
    service = pb.DESCRIPTOR.services_by_name["Channels"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    link = GrpcLink(f"127.0.0.1:{port}", "default", "dev-1")
    assert await link.watch(0) is False
    await link.close()
    await server.stop(None)


async def test_cloud_that_is_not_there_is_harmless() -> None:
    link = GrpcLink("127.0.0.1:9", "default", "dev-1")
    assert await link.watch(0) is False
    await link.report(report())
    await link.close()


async def test_report_has_the_labels_and_the_newer_bundle_that_failed() -> None:
    failed = ServedModel("a", "merged", "1" * 64, failed_bundle_id="2" * 64)
    status = device_report(report(failed, ServedModel("b", "merged", "3" * 64)), {"ring": "canary"})
    assert dict(status.labels) == {"ring": "canary"}
    assert [each.failed_bundle_id for each in status.specializations] == ["2" * 64, ""]


async def test_report_says_what_got_slower() -> None:
    models = (ServedModel("a", "merged", "1" * 64), ServedModel("b", "merged", "3" * 64))
    status = device_report(report(*models), slower={"b", "gone"})
    assert [each.slower for each in status.specializations] == [False, True]
