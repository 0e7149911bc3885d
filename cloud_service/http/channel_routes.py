"""Routes of channels: devices read them, clients publish to them, withdraw from them, list and delete them."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from cloud_service.errors import InvalidRequestError
from cloud_service.fleet.channel_writer import PublishedChannel
from cloud_service.fleet.channels import ChannelService
from cloud_service.fleet.devices import DeviceService
from cloud_service.fleet.rollouts import ActiveRollout, RolloutService
from cloud_service.http.artifact_routes import REVALIDATE, send_artifact
from cloud_service.http.conditional import change_condition
from cloud_service.limits import MAX_CHANNELS_LISTED
from cloud_service.schemas import PublishSpecializationBody
from loragen.contract.errors import ContractError
from loragen.contract.names import NAME_PATTERN
from loragen.contract.polling import POLL_HEADERS, parse_poll
from loragen.fleet_answers import ChannelList, ListedChannel, time_text
from loragen.web.translation import verify_json

JSON = "application/json"

PRIVATE = "private, no-cache"
"""While a rollout goes on, devices have different answers: no shared cache may keep one."""

ChannelName = Annotated[str, Path(pattern=NAME_PATTERN)]
IfMatch = Annotated[
    str | None,
    Header(
        description="Entity tags of the channel as the client saw it, 412 when it has changed since; or `*`, 412 when "
        "the channel has no such name."
    ),
]
_IfNoneMatch = Annotated[str | None, Header(description="`*`: 412 when the channel has such a name already.")]
_After = Annotated[str, Query(max_length=64, description="Only channels behind this name.")]
_Limit = Annotated[int, Query(ge=1, le=MAX_CHANNELS_LISTED, description="Most channels on a page.")]
DOCUMENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {JSON: {"schema": {"type": "object"}}}, "description": "docs/bundle-format.md"}
}


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the routes of channels, rollouts and devices are over.

    Attributes:
        cache_seconds: How long shared caches may answer polls by themselves.
    """

    channels: ChannelService
    rollouts: RolloutService
    devices: DeviceService
    cache_seconds: int = 0

    @property
    def cache_control(self) -> str:
        """What polls say to caches, while no rollout goes on."""
        return f"public, max-age=0, s-maxage={self.cache_seconds}" if self.cache_seconds else REVALIDATE

    async def find_digest(self, channel: str) -> str | None:
        """The digest of a channel; None while a rollout goes on, since the device decides then what it gets.

        Raises:
            InvalidRequestError, NotFoundError, StoreUnavailableError: As for `ChannelService.load_digest`.
        """
        return None if self.rollouts.find(channel) is not None else await self.channels.load_digest(channel)


def channel_routes(fleet: Fleet) -> APIRouter:
    """`/channels`."""
    router = APIRouter(prefix="/channels", tags=["channels"])
    channels = fleet.channels

    @router.get("")
    async def list_channels(after: _After = "", limit: _Limit = MAX_CHANNELS_LISTED) -> ChannelList:
        """The channels by name, page by page."""
        listed = await channels.list_channels(limit, after)
        return ChannelList(
            channels=tuple(
                ListedChannel(
                    name=each.name,
                    version=each.version,
                    digest=each.digest,
                    changed_at=time_text(each.changed_at),
                    rollout=each.rolling,
                )
                for each in listed
            ),
            next_after=listed[-1].name if len(listed) == limit else None,
        )

    @router.get("/{channel}", response_class=Response, responses={**DOCUMENT, 304: {"description": "Not modified."}})
    async def read(request: Request, channel: ChannelName) -> Response:
        """The channel's document, as devices poll it: send `If-None-Match` and get 304 while nothing changed.

        While a rollout goes on, a device gets the candidate or not by the headers `X-LoRAGen-Device`,
        `X-LoRAGen-Labels` (`ring=canary,site=berlin`) and `X-LoRAGen-Version`, the newest version that it has seen.
        """
        candidate = fleet.rollouts.find(channel)
        if candidate is None:
            return await _send(request, channel, fleet.cache_control)
        response = await _send_candidate(request, candidate)
        response.headers["vary"] = ", ".join(POLL_HEADERS)
        return response

    async def _send(request: Request, channel: str, cache_control: str) -> Response:
        # Polls that find nothing new do not come here (`known_answers`).
        published = await channels.load(channel)

        async def load() -> bytes:
            return published.document

        return await send_artifact(request, published.digest, len(published.document), load, cache_control, JSON)

    async def _send_candidate(request: Request, candidate: ActiveRollout) -> Response:
        try:
            device = parse_poll(request.headers)
        except ContractError as e:
            raise InvalidRequestError(str(e), e.hint) from e
        if not candidate.is_for(device):
            return await _send(request, candidate.channel, PRIVATE)
        document = candidate.rollout.document

        async def load() -> bytes:
            return document

        return await send_artifact(request, candidate.digest, len(document), load, PRIVATE, JSON)

    @router.delete("/{channel}", status_code=204)
    async def delete(channel: ChannelName, if_match: IfMatch = None) -> None:
        """Delete a channel with its versions; devices keep what they have. A new channel of the name counts on."""
        await channels.delete(channel, change_condition(if_match, None))

    @router.put(
        "/{channel}/specializations/{name}",
        response_class=Response,
        responses=DOCUMENT,
        dependencies=[Depends(verify_json)],
    )
    async def publish(
        channel: ChannelName,
        name: ChannelName,
        body: PublishSpecializationBody,
        if_match: IfMatch = None,
        if_none_match: _IfNoneMatch = None,
    ) -> Response:
        """Let a name mean a bundle; answers with the channel's new document. Repeating it changes nothing."""
        condition = change_condition(if_match, if_none_match)
        return document_answer(await channels.publish(channel, name, body.bundle_id, condition))

    @router.delete("/{channel}/specializations/{name}", response_class=Response, responses=DOCUMENT)
    async def withdraw(channel: ChannelName, name: ChannelName, if_match: IfMatch = None) -> Response:
        """Take a name out of the channel; answers with its new document."""
        return document_answer(await channels.withdraw(channel, name, change_condition(if_match, None)))

    return router


def document_answer(published: PublishedChannel) -> Response:
    """The answer to a change of a channel: what it is now."""
    headers = {"etag": f'"{published.digest}"', "cache-control": REVALIDATE}
    return Response(published.document, headers=headers, media_type=JSON)
