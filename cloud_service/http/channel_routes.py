"""Routes of channels: devices read them, clients publish to them and withdraw from them."""

from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field, ValidationError

from cloud_service.channels import ChannelService, PublishedChannel
from cloud_service.http.artifact_routes import REVALIDATE, send_artifact
from cloud_service.http.conditional import change_condition, is_known
from cloud_service.limits import MAX_DEVICES_LISTED
from cloud_service.schemas import DeviceReport, PublishSpecializationBody
from loragen.contract.names import NAME_PATTERN
from loragen.web.translation import verify_json

_log = structlog.get_logger(__name__)

_JSON = "application/json"

_Name = Annotated[str, Path(pattern=NAME_PATTERN)]
_IfMatch = Annotated[
    str | None,
    Header(
        description="Entity tags of the channel as the client saw it, 412 when it has changed since; or `*`, 412 when "
        "the channel has no such name."
    ),
]
_IfNoneMatch = Annotated[str | None, Header(description="`*`: 412 when the channel has such a name already.")]
_Limit = Annotated[int, Query(ge=1, le=MAX_DEVICES_LISTED, description="Most devices on a page.")]
_Before = Annotated[
    int | None,
    Query(ge=0, lt=2**62, description="Only reports that came before this time, in microseconds since 1970."),
]
_DOCUMENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {_JSON: {"schema": {"type": "object"}}}, "description": "docs/bundle-format.md"}
}


class DeviceList(BaseModel):
    """Devices of a channel, the most recent report first."""

    devices: list[DeviceReport]
    next_before: int | None = Field(description="Asks for the next page, as `before`; null on the last one.")


def channel_routes(channels: ChannelService) -> APIRouter:
    """`/channels`."""
    router = APIRouter(prefix="/channels/{channel}", tags=["channels"])

    @router.get("", response_class=Response, responses={**_DOCUMENT, 304: {"description": "Not modified."}})
    async def read(request: Request, channel: _Name) -> Response:
        """The channel's document, as devices poll it: send `If-None-Match` and get 304 while nothing changed."""
        # Most polls find nothing new, and that takes no more than the digest.
        if "if-none-match" in request.headers and "if-match" not in request.headers:
            etag = f'"{await channels.load_digest(channel)}"'
            if is_known(etag, request.headers["if-none-match"]):
                return Response(status_code=304, headers={"etag": etag, "cache-control": REVALIDATE})
        published = await channels.load(channel)

        async def load() -> bytes:
            return published.document

        return await send_artifact(request, published.digest, len(published.document), load, REVALIDATE, _JSON)

    @router.put(
        "/specializations/{name}",
        response_class=Response,
        responses=_DOCUMENT,
        dependencies=[Depends(verify_json)],
    )
    async def publish(
        channel: _Name,
        name: _Name,
        body: PublishSpecializationBody,
        if_match: _IfMatch = None,
        if_none_match: _IfNoneMatch = None,
    ) -> Response:
        """Let a name mean a bundle; answers with the channel's new document. Repeating it changes nothing."""
        condition = change_condition(if_match, if_none_match)
        return _document(await channels.publish(channel, name, body.bundle_id, condition))

    @router.delete("/specializations/{name}", response_class=Response, responses=_DOCUMENT)
    async def withdraw(channel: _Name, name: _Name, if_match: _IfMatch = None) -> Response:
        """Take a name out of the channel; answers with its new document."""
        return _document(await channels.withdraw(channel, name, change_condition(if_match, None)))

    @router.get("/devices")
    async def devices(channel: _Name, limit: _Limit = MAX_DEVICES_LISTED, before: _Before = None) -> DeviceList:
        """The last reports of the devices that follow the channel, page by page."""
        stored = await channels.devices(channel, limit, before)
        devices = []
        for each in filter(lambda each: each.report, stored):
            try:
                devices.append(DeviceReport.model_validate_json(each.report))
            except ValidationError as e:
                # Perhaps another version of this service stored it; the other reports are listed.
                _log.warning("stored_report_unreadable", channel=channel, errors=e.error_count())
        return DeviceList(devices=devices, next_before=stored[-1].stored_at if len(stored) == limit else None)

    return router


def _document(published: PublishedChannel) -> Response:
    headers = {"etag": f'"{published.digest}"', "cache-control": REVALIDATE}
    return Response(published.document, headers=headers, media_type=_JSON)
