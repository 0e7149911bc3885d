"""The page of devices: what they reported last, found by channel, labels and failures."""

from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError

from cloud_service.errors import InvalidRequestError, NotFoundError
from cloud_service.fleet.devices import DeviceFilter, FoundDevice
from cloud_service.http.channel_routes import Fleet
from cloud_service.http.console.browser import CONSOLE
from cloud_service.http.console.forms import Before, labels_of
from cloud_service.http.console.pages import Pages
from loragen.fleet_answers import ReportedDevice

_log = structlog.get_logger(__name__)

_DEVICES = 50


def device_pages(pages: Pages, fleet: Fleet) -> APIRouter:
    """`/console/devices`."""
    router = APIRouter(prefix=CONSOLE, include_in_schema=False)

    @router.get("/devices")
    async def devices(
        request: Request,
        channel: Annotated[str, Query(max_length=64)] = "",
        labels: Annotated[str, Query(max_length=2_200)] = "",
        failing: Annotated[str, Query(max_length=5)] = "",
        before: Before = None,
    ) -> Response:
        fields = {"channel": channel.strip(), "labels": labels.strip(), "failing": failing}
        shown: dict[str, Any] = {**fields, "before": before, "devices": (), "more": None, "count": None}
        try:
            wanted = DeviceFilter(
                fields["channel"] or None, labels_of(fields), bool(failing) or None, seen_before=before
            )
            found = await fleet.devices.find(wanted, _DEVICES)
            count = await fleet.devices.count(fields["channel"]) if fields["channel"] else None
        except (InvalidRequestError, NotFoundError) as error:
            return pages.page(request, "devices.html", shown, error=error)
        listed = [(each.entry, _reported(each)) for each in found.devices]
        shown |= {"devices": listed, "more": found.next_before, "count": count}
        return pages.page(request, "devices.html", shown)

    return router


def _reported(device: FoundDevice) -> ReportedDevice | None:
    try:
        return ReportedDevice.model_validate_json(device.report) if device.report else None
    except ValidationError as e:
        # Perhaps another version of this service stored it.
        _log.warning("stored_report_unreadable", channel=device.entry.channel, errors=e.error_count())
        return None
