"""The console: channels, rollouts, devices and generation for people, as plain pages.

Each form carries the state of the channel that its page showed, so that nobody overwrites a later change of somebody
else. The forms call the same services as the API.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError

from cloud_service.errors import CloudError, InvalidRequestError, NotFoundError
from cloud_service.fleet.bodies import RollbackBody, RolloutBody, RolloutChangeBody
from cloud_service.fleet.channel_writer import Condition
from cloud_service.fleet.channels import find_difference
from cloud_service.fleet.devices import DeviceFilter
from cloud_service.http.channel_routes import ChannelName, Fleet
from cloud_service.http.console_pages import Pages, verify_own_page
from cloud_service.http.generation_routes import generated
from cloud_service.http.status import HTTP_STATUS
from cloud_service.limits import MAX_CHANNELS_LISTED
from cloud_service.schemas import GenerateLoraBody, PublishSpecializationBody
from cloud_service.service import LoraService
from loragen.contract.errors import ContractError
from loragen.contract.polling import parse_labels
from loragen.web.hanging_up import unless_hung_up
from loragen.web.translation import describe_faults

_Before = Annotated[int | None, Query(ge=0, lt=2**62)]
_Version = Annotated[int | None, Query(ge=1, le=2**53 - 1)]
_EVENTS = 20
_DEVICES = 50

Fields = Mapping[str, str]


class _Actions:
    """What the forms of a channel do; each returns a message for the user."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.table: Mapping[str, Callable[[str, Fields], Awaitable[str]]] = {
            "publish": self.publish,
            "withdraw": self.withdraw,
            "rollback": self.roll_back,
            "start": self.start,
            "widen": self.widen,
            "paused": self.set_state,
            "running": self.set_state,
            "promoted": self.set_state,
            "aborted": self.set_state,
        }

    async def publish(self, channel: str, fields: Fields) -> str:
        body = _body(PublishSpecializationBody, bundle_id=fields.get("bundle_id", ""))
        name = fields.get("name", "")
        done = await self._fleet.channels.publish(channel, name, body.bundle_id, _as_seen(fields))
        return f"{name} is {body.bundle_id} since version {done.channel.version}."

    async def withdraw(self, channel: str, fields: Fields) -> str:
        name = fields.get("name", "")
        done = await self._fleet.channels.withdraw(channel, name, _as_seen(fields))
        return f"{name} is withdrawn since version {done.channel.version}."

    async def roll_back(self, channel: str, fields: Fields) -> str:
        body = _body(RollbackBody, version=_number(fields, "version"))
        done = await self._fleet.channels.roll_back(channel, body.version, _as_seen(fields))
        return f"Version {done.channel.version} has the content of version {body.version}."

    async def start(self, channel: str, fields: Fields) -> str:
        body = _body(
            RolloutBody,
            name=fields.get("name") or None,
            bundle_id=fields.get("bundle_id") or None,
            percent=_number(fields, "percent"),
            labels=_labels(fields),
            halt_failing_percent=_number(fields, "halt_failing_percent"),
        )
        progress = await self._fleet.rollouts.start(channel, body.to_request(), _as_seen(fields))
        return f"The rollout of version {progress.rollout.version} has begun."

    async def widen(self, channel: str, fields: Fields) -> str:
        body = _body(RolloutChangeBody, percent=_number(fields, "percent"), labels=_labels(fields))
        group = body.to_group()
        assert group is not None
        await self._fleet.rollouts.widen(channel, int(_number(fields, "version")), group)
        return "The rollout reaches more devices."

    async def set_state(self, channel: str, fields: Fields) -> str:
        state = _body(RolloutChangeBody, state=fields["action"]).state
        assert state is not None
        reason = "by request" if state == "aborted" else ""
        progress = await self._fleet.rollouts.set_state(channel, int(_number(fields, "version")), state, reason)
        return f"The rollout of version {progress.rollout.version} is {progress.rollout.state}."


def console_routes(service: LoraService, fleet: Fleet) -> APIRouter:
    """`/console`."""
    router = APIRouter(prefix="/console", include_in_schema=False)
    pages, actions = Pages(), _Actions(fleet)

    @router.get("/style.css")
    async def style() -> Response:
        return pages.style()

    @router.get("")
    async def index(after: Annotated[str, Query(max_length=64)] = "") -> Response:
        listed = await fleet.channels.list_channels(MAX_CHANNELS_LISTED, after)
        more = listed[-1].name if len(listed) == MAX_CHANNELS_LISTED else ""
        return pages.page("index.html", {"channels": listed, "more": more})

    @router.post("")
    async def publish(request: Request) -> Response:
        verify_own_page(request)
        fields = await _fields(request)
        channel = fields.get("channel", "")
        try:
            notice = await actions.publish(channel, fields)
        except CloudError as error:
            return await _failed(pages, "index.html", {"channels": [], "more": ""}, error)
        return await _channel_page(channel, notice=notice)

    @router.get("/channels/{channel}")
    async def channel_page(channel: ChannelName) -> Response:
        return await _channel_page(channel)

    @router.post("/channels/{channel}")
    async def change(request: Request, channel: ChannelName) -> Response:
        verify_own_page(request)
        fields = await _fields(request)
        action = actions.table.get(fields.get("action", ""))
        try:
            if action is None:
                raise InvalidRequestError("the form asks for nothing that is known")
            notice = await action(channel, fields)
        except CloudError as error:
            return await _channel_page(channel, error=error)
        return await _channel_page(channel, notice=notice)

    async def _channel_page(channel: str, *, notice: str = "", error: CloudError | None = None) -> Response:
        status = 200 if error is None else int(HTTP_STATUS[type(error)])
        try:
            published = await fleet.channels.load(channel)
            values = {
                "channel": published.channel,
                "digest": published.digest,
                "versions": await fleet.channels.list_versions(channel),
                "events": (await fleet.channels.list_events(channel))[:_EVENTS],
                "progress": await fleet.rollouts.load(channel),
                "count": await fleet.devices.count(channel),
            }
        except NotFoundError as missing:
            return await _failed(pages, "index.html", {"channels": [], "more": ""}, error or missing)
        return pages.page("channel.html", values, notice=notice, error=error, status=status)

    @router.get("/channels/{channel}/diff")
    async def difference(channel: ChannelName, old: _Version = None, new: _Version = None) -> Response:
        before = await fleet.channels.load_version(channel, old or 1)
        after = await (fleet.channels.load(channel) if new is None else fleet.channels.load_version(channel, new))
        found = find_difference(before.channel.specializations, after.channel.specializations)
        values = {"old": before.channel, "new": after.channel, "found": found, "digest": after.digest}
        return pages.page("diff.html", values)

    @router.get("/devices")
    async def devices(
        channel: Annotated[str, Query(max_length=64)] = "",
        labels: Annotated[str, Query(max_length=2_200)] = "",
        failing: Annotated[str, Query(max_length=5)] = "",
        before: _Before = None,
    ) -> Response:
        fields = {"channel": channel, "labels": labels, "failing": failing}
        try:
            wanted = DeviceFilter(channel or None, _labels(fields), bool(failing) or None, seen_before=before)
            page = await fleet.devices.find(wanted, _DEVICES)
            count = await fleet.devices.count(channel) if channel else None
        except InvalidRequestError as error:
            return await _failed(pages, "devices.html", {**fields, "devices": (), "more": None, "count": None}, error)
        entries = tuple(each.entry for each in page.devices)
        return pages.page("devices.html", {**fields, "devices": entries, "more": page.next_before, "count": count})

    @router.get("/generate")
    async def form() -> Response:
        return pages.page("generate.html", {"fields": {}, "made": None})

    @router.post("/generate")
    async def generate(request: Request) -> Response:
        verify_own_page(request)
        fields = await _fields(request)
        try:
            wanted = _task(fields).to_request()
            made = generated(await unless_hung_up(request, service.generate(wanted)), with_gates=False)
        except CloudError as error:
            return await _failed(pages, "generate.html", {"fields": fields, "made": None}, error)
        return pages.page("generate.html", {"fields": fields, "made": made}, notice="The LoRA is ready.")

    return router


async def _failed(pages: Pages, template: str, values: Mapping[str, Any], error: CloudError) -> Response:
    return pages.page(template, values, error=error, status=int(HTTP_STATUS[type(error)]))


async def _fields(request: Request) -> dict[str, str]:
    async with request.form(max_files=0, max_fields=20) as form:
        return {name: value.strip() for name, value in form.items() if isinstance(value, str)}


def _as_seen(fields: Fields) -> Condition:
    seen = fields.get("digest")
    return lambda digest, _exists: seen is None or digest == seen


def _task(fields: Fields) -> GenerateLoraBody:
    examples = []
    for number, line in enumerate(filter(str.strip, fields.get("examples", "").splitlines()), 1):
        given, arrow, answer = (part.strip() for part in line.partition("=>"))
        if not arrow:
            raise InvalidRequestError(f"examples: expected INPUT => OUTPUT in line {number}")
        examples.append({"input": given, "output": answer})
    choices = [choice.strip() for choice in fields.get("choices", "").split(",") if choice.strip()]
    answer_contract = {"type": "choice", "choices": choices} if choices else None
    return _body(GenerateLoraBody, description=fields.get("description", ""), examples=examples, answer=answer_contract)


def _body(schema: type[Any], **fields: Any) -> Any:
    try:
        return schema.model_validate(fields)
    except ValidationError as e:
        raise InvalidRequestError(describe_faults(e.errors())) from e


def _number(fields: Fields, name: str) -> float:
    try:
        number = float(fields.get(name, ""))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequestError(f"{name}: expected a number")
    return number


def _labels(fields: Fields) -> dict[str, str]:
    try:
        return parse_labels(fields.get("labels", ""))
    except ContractError as e:
        raise InvalidRequestError(str(e), e.hint) from e
