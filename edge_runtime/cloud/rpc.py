"""Adapter: gRPC to the cloud. Hears that a channel changed, and reports what the device runs.

What did not change is reported about once an hour, so that the cloud knows that the device is there: in a large fleet
reports cost more than polls. A report that did not arrive is sent again with the next one.

Both are optional: a change is only a reason to poll now, and a missing report is only missing from a list. So every
failure here is logged at debug level and otherwise ignored.
"""

import random
import time
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

import grpc
import structlog

from edge_runtime.cloud.api_key import NO_KEY, ApiKeySource
from loragen.contract.keepalive import PING_SECONDS, client_options
from loragen.contract.limits import MAX_STATUS_MESSAGE_CHARS
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as pb_grpc
from loragen.device_answers import DeviceStatus, ModelState

_log = structlog.get_logger(__name__)

_REPORT_SECONDS = 5.0
"""For one report."""

REPORT_AGAIN_SECONDS = 3_600.0
"""At most, between two reports of the same; the upper half of it is drawn, so that a fleet does not report at once."""

_STATES: dict[ModelState, pb.SpecializationState] = {
    "adapter": pb.SPECIALIZATION_STATE_ADAPTER,
    "merged": pb.SPECIALIZATION_STATE_MERGED,
    "pending": pb.SPECIALIZATION_STATE_PENDING,
    "failed": pb.SPECIALIZATION_STATE_FAILED,
}


class GrpcLink:
    """The link over gRPC.

    Args:
        address: host:port.
        channel: Channel to watch.
        device_id: Name of this device.
        ping_seconds: Between two pings while nothing else is sent.
        labels: Of this device.
        key: Says the API key of this device.
        credentials: Of TLS; None for a connection in the clear.
        slower: Names that answer more slowly than before.
        monotonic: Seconds that never jump.
        draw: Uniform in [0, 1).
    """

    def __init__(
        self,
        address: str,
        channel: str,
        device_id: str,
        ping_seconds: float = PING_SECONDS,
        labels: Mapping[str, str] = MappingProxyType({}),
        key: ApiKeySource = NO_KEY,
        credentials: Any = None,
        slower: Callable[[], Collection[str]] = frozenset,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._slower = slower
        self._monotonic = monotonic
        self._draw = draw
        self._arrived: pb.DeviceReport | None = None
        self._again_at = 0.0
        self._key = key
        self._labels = labels
        self._channel_name = channel
        self._device_id = device_id
        # By default gRPC waits up to two minutes before it tries a cloud again that was away.
        options = (*client_options(ping_seconds), ("grpc.max_reconnect_backoff_ms", 10_000))
        self._connection = (
            grpc.aio.insecure_channel(address, options=options)
            if credentials is None
            else grpc.aio.secure_channel(address, credentials, options=options)
        )
        self._stub = pb_grpc.ChannelsStub(self._connection)  # type: ignore[no-untyped-call]

    async def watch(self, known_version: int) -> bool:
        request = pb.WatchRequest(channel=self._channel_name, device_id=self._device_id, known_version=known_version)
        call = self._stub.Watch(request, metadata=self._metadata())
        try:
            async for changed in call:
                if changed is None:
                    # What gRPC makes of a message that does not parse.
                    _log.debug("watch_ended", reason="a message that does not parse")
                    return False
                if changed.version != known_version:
                    return True
        except grpc.aio.AioRpcError as error:
            _log.debug("watch_ended", reason=str(error.code()))
        finally:
            # Else it would go on at the cloud, one more after each change.
            call.cancel()
        return False

    async def report(self, status: DeviceStatus) -> None:
        report = device_report(status, self._labels, self._slower())
        if report == self._arrived and self._monotonic() < self._again_at:
            return
        try:
            await self._stub.ReportStatus(report, timeout=_REPORT_SECONDS, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            _log.debug("report_failed", reason=str(error.code()))
            return
        self._arrived = report
        self._again_at = self._monotonic() + REPORT_AGAIN_SECONDS * (0.5 + 0.5 * self._draw())

    async def close(self) -> None:
        await self._connection.close()

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        key = self._key()
        return (("authorization", f"Bearer {key}"),) if key else ()


def device_report(
    status: DeviceStatus, labels: Mapping[str, str] = MappingProxyType({}), slower: Collection[str] = ()
) -> pb.DeviceReport:
    """A report in the words of the protocol; the base model, which every device has, is left out."""
    return pb.DeviceReport(
        device_id=status.device_id,
        channel=status.channel,
        channel_version=status.channel_version or 0,
        specializations=[
            pb.RunningSpecialization(
                name=model.id,
                bundle_id=model.bundle_id or "",
                state=_STATES[model.state],
                message=_within_limit(model.message),
                failed_bundle_id=model.failed_bundle_id or "",
                slower=model.id in slower,
            )
            for model in status.models
            if model.state != "base"
        ],
        runtime_version=status.version,
        edge_model_digest=status.edge_model_digest or "",
        labels=labels,
    )


def _within_limit(message: str) -> str:
    # One message too long would have the cloud refuse the whole report.
    return message if len(message) <= MAX_STATUS_MESSAGE_CHARS else message[: MAX_STATUS_MESSAGE_CHARS - 1] + "…"
