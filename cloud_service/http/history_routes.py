"""Routes of what a channel was: its versions, what differs between them, the way back, and its events."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from cloud_service.fleet.bodies import RollbackBody
from cloud_service.fleet.difference import find_difference
from cloud_service.http.artifact_routes import REVALIDATE, send_artifact
from cloud_service.http.channel_routes import DOCUMENT, JSON, ChannelName, Fleet, IfMatch, document_answer
from cloud_service.http.conditional import change_condition
from cloud_service.limits import MAX_EVENTS_KEPT
from loragen.contract.channel import Specialization
from loragen.contract.limits import MAX_CHANNEL_VERSION
from loragen.fleet_answers import (
    ChangedEntry,
    ChannelDifference,
    ChannelEvent,
    EventList,
    KeptVersion,
    ListedEntry,
    VersionList,
    time_text,
)
from loragen.web.translation import verify_json

_Version = Annotated[int, Path(ge=1, le=MAX_CHANNEL_VERSION)]
_Old = Annotated[int, Query(alias="from", ge=1, le=MAX_CHANNEL_VERSION, description="A kept version.")]
_New = Annotated[
    int | None, Query(alias="to", ge=1, le=MAX_CHANNEL_VERSION, description="Another; by default the present one.")
]
_Limit = Annotated[int, Query(ge=1, le=MAX_EVENTS_KEPT, description="Most events.")]


def history_routes(fleet: Fleet) -> APIRouter:
    """`/channels/{channel}/versions`, `diff`, `rollback` and `events`."""
    router = APIRouter(prefix="/channels/{channel}", tags=["channels"])
    channels = fleet.channels

    @router.get("/versions")
    async def versions(channel: ChannelName) -> VersionList:
        """The versions that are kept, the newest first, with what made each of them."""
        return VersionList(
            versions=tuple(
                KeptVersion(
                    version=each.version,
                    digest=each.digest,
                    action=each.event.action,
                    detail=each.event.detail,
                    stored_at=time_text(each.event.at),
                )
                for each in await channels.list_versions(channel)
            )
        )

    @router.get("/versions/{version}", response_class=Response, responses=DOCUMENT)
    async def version(request: Request, channel: ChannelName, version: _Version) -> Response:
        """The channel's document as it was at a version."""
        kept = await channels.load_version(channel, version)

        async def load() -> bytes:
            return kept.document

        return await send_artifact(request, kept.digest, len(kept.document), load, REVALIDATE, JSON)

    @router.get("/diff")
    async def difference(channel: ChannelName, old: _Old, new: _New = None) -> ChannelDifference:
        """What changes from one version to another."""
        before = (await channels.load_version(channel, old)).channel
        after = (await (channels.load(channel) if new is None else channels.load_version(channel, new))).channel
        found = find_difference(before.specializations, after.specializations)
        return ChannelDifference(
            old=before.version,
            new=after.version,
            added=_entries(found.added),
            removed=_entries(found.removed),
            changed=tuple(
                ChangedEntry(name=one.name, old_bundle_id=one.bundle_id, new_bundle_id=other.bundle_id)
                for one, other in found.changed
            ),
        )

    @router.post("/rollback", response_class=Response, responses=DOCUMENT, dependencies=[Depends(verify_json)])
    async def rollback(channel: ChannelName, body: RollbackBody, if_match: IfMatch = None) -> Response:
        """Give the channel the content of a kept version, as a new version; answers with the new document."""
        return document_answer(await channels.roll_back(channel, body.version, change_condition(if_match, None)))

    @router.get("/events")
    async def events(channel: ChannelName, limit: _Limit = 100) -> EventList:
        """What was done to the channel, the newest first; it outlives the channel."""
        return EventList(
            events=tuple(
                ChannelEvent(action=each.action, detail=each.detail, version=each.version, at=time_text(each.at))
                for each in (await channels.list_events(channel))[:limit]
            )
        )

    return router


def _entries(specializations: tuple[Specialization, ...]) -> tuple[ListedEntry, ...]:
    return tuple(ListedEntry(name=each.name, bundle_id=each.bundle_id) for each in specializations)
