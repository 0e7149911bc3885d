"""Pages of channels: what they list, how their rollouts go, and what they were."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from cloud_service.errors import CloudError, InvalidRequestError, NotFoundError
from cloud_service.fleet.bodies import RollbackBody, RolloutBody, RolloutChangeBody
from cloud_service.fleet.difference import find_difference
from cloud_service.fleet.group_progress import GroupProgress, count_groups
from cloud_service.http.channel_routes import ChannelName, Fleet
from cloud_service.http.console.browser import CONSOLE
from cloud_service.http.console.forms import FormFields, Word, as_seen, body_of, labels_of, number_of, read_form
from cloud_service.http.console.pages import Pages
from cloud_service.schemas import PublishSpecializationBody

_Version = Annotated[int | None, Query(ge=1, le=2**53 - 1)]
_After = Annotated[str, Query(max_length=64)]
_CHANNELS = 100
_ENTRIES = 100
_EVENTS = 20

_HALT = ("halt_failing_percent", "halt_slower_percent", "halt_min_devices")
"""Fields that say when a rollout halts by itself."""


class _Actions:
    """What the forms of a channel do; each returns a message for the user."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.table: Mapping[str, Callable[[str, FormFields], Awaitable[str]]] = {
            "publish": self.publish,
            "withdraw": self.withdraw,
            "rollback": self.roll_back,
            "delete": self.delete,
            "start": self.start,
            "widen": self.widen,
            "forget": self.forget,
            "paused": self.set_state,
            "running": self.set_state,
            "promoted": self.set_state,
            "aborted": self.set_state,
        }

    async def publish(self, channel: str, fields: FormFields) -> str:
        body = body_of(PublishSpecializationBody, bundle_id=fields.get("bundle_id", ""))
        name = fields.get("name", "")
        done = await self._fleet.channels.publish(channel, name, body.bundle_id, as_seen(fields))
        bundle_id = next(each.bundle_id for each in done.channel.specializations if each.name == name)
        return f"{name} is {bundle_id} since version {done.channel.version}."

    async def withdraw(self, channel: str, fields: FormFields) -> str:
        name = fields.get("name", "")
        done = await self._fleet.channels.withdraw(channel, name, as_seen(fields))
        return f"{name} is withdrawn since version {done.channel.version}."

    async def roll_back(self, channel: str, fields: FormFields) -> str:
        body = body_of(RollbackBody, version=number_of(fields, "version"))
        done = await self._fleet.channels.roll_back(channel, body.version, as_seen(fields))
        return f"Version {done.channel.version} has the content of version {body.version}."

    async def delete(self, channel: str, fields: FormFields) -> str:
        await self._fleet.channels.delete(channel, as_seen(fields))
        return f"Channel {channel} is deleted."

    async def start(self, channel: str, fields: FormFields) -> str:
        body = body_of(
            RolloutBody,
            name=fields.get("name") or None,
            bundle_id=fields.get("bundle_id") or None,
            version=number_of(fields, "version") if "version" in fields else None,
            percent=number_of(fields, "percent"),
            labels=labels_of(fields),
            starts_at=f"{begin}Z" if (begin := fields.get("starts_at")) else None,
            **{name: number_of(fields, name) for name in _HALT if name in fields},
        )
        progress = await self._fleet.rollouts.start(channel, body.to_request(), as_seen(fields))
        return f"The rollout of version {progress.rollout.version} has begun."

    async def widen(self, channel: str, fields: FormFields) -> str:
        body = body_of(RolloutChangeBody, percent=number_of(fields, "percent"), labels=labels_of(fields))
        group = body.to_group()
        assert group is not None
        await self._fleet.rollouts.widen(channel, int(number_of(fields, "version")), group)
        return "The rollout reaches more devices."

    async def forget(self, channel: str, fields: FormFields) -> str:
        device = fields.get("device_id", "")
        await self._fleet.devices.delete(channel, device)
        return f"{device} is forgotten until it reports again."

    async def set_state(self, channel: str, fields: FormFields) -> str:
        state = body_of(RolloutChangeBody, state=fields["action"]).state
        assert state is not None
        reason = "by request" if state == "aborted" else ""
        progress = await self._fleet.rollouts.set_state(channel, int(number_of(fields, "version")), state, reason)
        return f"The rollout of version {progress.rollout.version} is {progress.rollout.state}."


def channel_pages(pages: Pages, fleet: Fleet) -> APIRouter:
    """`/console` and `/console/channels`."""
    router = APIRouter(prefix=CONSOLE, include_in_schema=False)
    actions = _Actions(fleet)
    halt = {name: RolloutBody.model_fields[name].default for name in _HALT}

    @router.get("")
    async def index(request: Request, after: _After = "") -> Response:
        listed = await fleet.channels.list_channels(_CHANNELS, after)
        more = listed[-1].name if len(listed) == _CHANNELS else ""
        return pages.page(request, "index.html", {"channels": listed, "after": after, "more": more})

    @router.post("")
    async def publish(request: Request) -> Response:
        fields = await read_form(request)
        channel = fields.get("channel", "")
        try:
            if fields.get("action") == "start":  # the channel's page asks for the rest
                return await _show(request, channel, fields=fields)
            notice = await actions.publish(channel, fields)
        except CloudError as error:
            return _nothing(request, error)
        return await _show(request, channel, notice=notice)

    @router.get("/channels/{channel}")
    async def show(request: Request, channel: ChannelName, after: _After = "", find: Word = "") -> Response:
        return await _show(request, channel, after=after, find=find)

    @router.post("/channels/{channel}")
    async def change(request: Request, channel: ChannelName) -> Response:
        fields = await read_form(request)
        action = actions.table.get(fields.get("action", ""))
        try:
            if action is None:
                raise InvalidRequestError("the form asks for nothing that is known")
            notice = await action(channel, fields)
        except CloudError as error:
            return await _show(request, channel, error=error, fields=fields)
        if fields["action"] == "delete":
            return _nothing(request, notice=notice)
        return await _show(request, channel, notice=notice)

    @router.get("/channels/{channel}/diff")
    async def difference(
        request: Request, channel: ChannelName, old: _Version = None, new: _Version = None
    ) -> Response:
        before = await fleet.channels.load_version(channel, old or 1)
        after = await (fleet.channels.load(channel) if new is None else fleet.channels.load_version(channel, new))
        found = find_difference(before.channel.specializations, after.channel.specializations)
        values = {"old": before.channel, "new": after.channel, "found": found, "digest": after.digest, "halt": halt}
        return pages.page(request, "diff.html", {**values, "is_present": new is None})

    async def _show(
        request: Request,
        channel: str,
        *,
        after: str = "",
        find: str = "",
        fields: FormFields | None = None,
        notice: str = "",
        error: CloudError | None = None,
    ) -> Response:
        try:
            published = await fleet.channels.load(channel)
            progress = await fleet.rollouts.load(channel)
            groups: tuple[GroupProgress, ...] = ()
            if progress is not None:
                groups = await count_groups(channel, progress.rollout, fleet.devices.entries(channel))
            values: dict[str, Any] = {
                "channel": published.channel,
                "digest": published.digest,
                "versions": await fleet.channels.list_versions(channel),
                "events": (await fleet.channels.list_events(channel))[:_EVENTS],
                "progress": progress,
                "groups": groups,
                "count": await fleet.devices.count(channel),
                "halt": halt,
            }
        except NotFoundError as missing:
            return _nothing(request, error or missing)
        listed = published.channel.specializations
        fitting = [each for each in listed if find in each.name and each.name > after]
        shown = fitting[:_ENTRIES]
        more = shown[-1].name if len(fitting) > _ENTRIES else ""
        paging = {"entries": shown, "total": len(listed), "find": find, "after": after, "more": more}
        return pages.page(
            request, "channel.html", values | paging | {"fields": fields or {}}, notice=notice, error=error
        )

    def _nothing(request: Request, error: CloudError | None = None, notice: str = "") -> Response:
        values: dict[str, Any] = {"channels": None, "after": "", "more": ""}
        return pages.page(request, "index.html", values, error=error, notice=notice)

    return router
