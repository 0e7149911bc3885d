"""Routes of devices: what they reported, found and counted; and forgetting one."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Query
from pydantic import ValidationError

from cloud_service.errors import InvalidRequestError
from cloud_service.fleet.devices import DeviceCount, DeviceFilter
from cloud_service.http.channel_routes import ChannelName, Fleet
from cloud_service.limits import MAX_DEVICES_LISTED
from loragen.contract.errors import ContractError
from loragen.contract.limits import MAX_LABELS
from loragen.contract.names import DEVICE_NAME_PATTERN, NAME_PATTERN
from loragen.contract.polling import parse_labels
from loragen.fleet_answers import DeviceList, DeviceSummary, ReportedDevice, VersionCount

_log = structlog.get_logger(__name__)

_Channel = Annotated[str | None, Query(pattern=NAME_PATTERN, description="Only devices that follow this channel.")]
_Label = Annotated[
    list[str] | None,
    Query(max_length=MAX_LABELS, description="Only devices with this label, `ring=canary`; may be repeated."),
]
_Failing = Annotated[bool | None, Query(description="Only devices on which a bundle failed, or only the others.")]
_Limit = Annotated[int, Query(ge=1, le=MAX_DEVICES_LISTED, description="Most devices on a page.")]
_Before = Annotated[
    int | None,
    Query(ge=0, lt=2**62, description="Only reports that came before this time, in microseconds since 1970."),
]
_After = Annotated[
    int, Query(ge=0, lt=2**62, description="Only reports that came after this time, in microseconds since 1970.")
]


def device_routes(fleet: Fleet) -> APIRouter:
    """`/devices`, and `/channels/{channel}/devices` for forgetting one."""
    router = APIRouter(tags=["devices"])

    @router.get("/devices")
    async def find(
        channel: _Channel = None,
        label: _Label = None,
        failing: _Failing = None,
        limit: _Limit = MAX_DEVICES_LISTED,
        before: _Before = None,
        after: _After = 0,
    ) -> DeviceList:
        """The last reports of devices, the most recent first, page by page."""
        wanted = DeviceFilter(channel, _parse_labels(label or []), failing, after, before)
        page = await fleet.devices.find(wanted, limit)
        devices = []
        for each in filter(lambda each: each.report, page.devices):
            try:
                devices.append(ReportedDevice.model_validate_json(each.report))
            except ValidationError as e:
                # Perhaps another version of this service stored it; the other reports are listed.
                _log.warning("stored_report_unreadable", channel=each.entry.channel, errors=e.error_count())
        summary = None if channel is None else _summary(await fleet.devices.count(channel))
        return DeviceList(devices=tuple(devices), next_before=page.next_before, summary=summary)

    @router.delete("/channels/{channel}/devices/{device_id}", status_code=204)
    async def delete(channel: ChannelName, device_id: Annotated[str, Path(pattern=DEVICE_NAME_PATTERN)]) -> None:
        """Forget a device; it is listed again with its next report."""
        await fleet.devices.delete(channel, device_id)

    return router


def _parse_labels(texts: list[str]) -> dict[str, str]:
    try:
        return parse_labels(",".join(texts))
    except ContractError as e:
        raise InvalidRequestError(f"label: {e}", e.hint) from e


def _summary(count: DeviceCount) -> DeviceSummary:
    versions = tuple(VersionCount(version=version, devices=devices) for version, devices in count.versions.items())
    return DeviceSummary(devices=count.devices, failing=count.failing, versions=versions)
