"""Routes of channels: devices read them, clients publish to them and withdraw from them."""

from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Header, Path, Request, Response
from pydantic import BaseModel, ValidationError

from cloud_service.channels import ChannelService, PublishedChannel
from cloud_service.http.artifact_routes import REVALIDATE, send_artifact
from cloud_service.schemas import DeviceReport, PublishSpecializationBody
from loragen.contract.names import NAME_PATTERN
from loragen.web.translation import verify_json

_log = structlog.get_logger(__name__)

_JSON = "application/json"

_Name = Annotated[str, Path(pattern=NAME_PATTERN)]
_IfMatch = Annotated[
    str | None, Header(description="Entity tag of the channel as the client saw it; 412 when it has changed since.")
]
_DOCUMENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {_JSON: {"schema": {"type": "object"}}}, "description": "docs/bundle-format.md"}
}


class DeviceList(BaseModel):
    """The devices of a channel, the most recent report first."""

    devices: list[DeviceReport]


def channel_routes(channels: ChannelService) -> APIRouter:
    """`/channels`."""
    router = APIRouter(prefix="/channels/{channel}")

    async def read(request: Request, channel: _Name) -> Response:
        """The channel's document, as devices poll it: send `If-None-Match` and get 304 while nothing changed."""
        published = await channels.load(channel)

        async def load() -> bytes:
            return published.document

        return await send_artifact(request, published.digest, len(published.document), load, REVALIDATE, _JSON)

    router.add_api_route(
        "",
        read,
        methods=["GET"],
        response_class=Response,
        responses={**_DOCUMENT, 304: {"description": "Not modified."}},
    )
    router.add_api_route("", read, methods=["HEAD"], response_class=Response, include_in_schema=False)

    @router.put(
        "/specializations/{name}",
        response_class=Response,
        responses=_DOCUMENT,
        dependencies=[Depends(verify_json)],
    )
    async def publish(
        channel: _Name, name: _Name, body: PublishSpecializationBody, if_match: _IfMatch = None
    ) -> Response:
        """Let a name mean a bundle; answers with the channel's new document. Repeating it changes nothing."""
        return _document(await channels.publish(channel, name, body.bundle_id, expected_digest=_unquoted(if_match)))

    @router.delete("/specializations/{name}", response_class=Response, responses=_DOCUMENT)
    async def withdraw(channel: _Name, name: _Name, if_match: _IfMatch = None) -> Response:
        """Take a name out of the channel; answers with its new document."""
        return _document(await channels.withdraw(channel, name, expected_digest=_unquoted(if_match)))

    @router.get("/devices")
    async def devices(channel: _Name) -> DeviceList:
        """The last reports of the devices that follow the channel."""
        devices = []
        for report in await channels.devices(channel):
            try:
                devices.append(DeviceReport.model_validate_json(report))
            except ValidationError as e:
                # Perhaps another version of this service stored it; the other reports are listed.
                _log.warning("stored_report_unreadable", channel=channel, errors=e.error_count())
        return DeviceList(devices=devices)

    return router


def _document(published: PublishedChannel) -> Response:
    headers = {"etag": f'"{published.digest}"', "cache-control": REVALIDATE}
    return Response(published.document, headers=headers, media_type=_JSON)


def _unquoted(if_match: str | None) -> str | None:
    return None if if_match is None else if_match.strip().strip('"')
