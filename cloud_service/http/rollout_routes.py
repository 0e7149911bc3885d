"""Routes of rollouts: start one, see how far it has come, and change it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from cloud_service.errors import NotFoundError
from cloud_service.fleet.bodies import RolloutBody, RolloutChangeBody
from cloud_service.fleet.rollouts import RolloutProgress
from cloud_service.http.channel_routes import ChannelName, Fleet, IfMatch
from cloud_service.http.conditional import change_condition
from loragen.contract.limits import MAX_CHANNEL_VERSION
from loragen.fleet_answers import RolloutGroup, RolloutList, RolloutStatus, time_text
from loragen.web.translation import verify_json

_Version = Annotated[int, Path(ge=1, le=MAX_CHANNEL_VERSION)]


def rollout_routes(fleet: Fleet) -> APIRouter:
    """`/channels/{channel}/rollouts`."""
    router = APIRouter(prefix="/channels/{channel}/rollouts", tags=["rollouts"])
    rollouts = fleet.rollouts

    @router.post("", status_code=201, dependencies=[Depends(verify_json)])
    async def start(channel: ChannelName, body: RolloutBody, if_match: IfMatch = None) -> RolloutStatus:
        """Bring a bundle or a kept version to some devices first. One rollout of a channel goes on at a time."""
        return _answer(await rollouts.start(channel, body.to_request(), change_condition(if_match, None)))

    @router.get("")
    async def last(channel: ChannelName) -> RolloutList:
        """The last rollout, whether it goes on or not; earlier ones are among the channel's events."""
        progress = await rollouts.load(channel)
        return RolloutList(rollouts=() if progress is None else (_answer(progress),))

    @router.get("/{version}")
    async def one(channel: ChannelName, version: _Version) -> RolloutStatus:
        """A rollout, by the version of its candidate."""
        progress = await rollouts.load(channel)
        if progress is None or progress.rollout.version != version:
            raise NotFoundError(f"channel {channel!r} has no rollout of version {version}", code="rollout_not_found")
        return _answer(progress)

    @router.patch("/{version}", dependencies=[Depends(verify_json)])
    async def change(channel: ChannelName, version: _Version, body: RolloutChangeBody) -> RolloutStatus:
        """Pause it, let it run again, promote it to all devices, abort it, or bring it to more devices.

        When it is aborted, the channel's content comes back as a new version, which all devices follow.
        """
        group = body.to_group()
        if group is not None:
            return _answer(await rollouts.widen(channel, version, group))
        assert body.state is not None
        reason = "by request" if body.state == "aborted" else ""
        return _answer(await rollouts.set_state(channel, version, body.state, reason))

    return router


def _answer(progress: RolloutProgress) -> RolloutStatus:
    rollout = progress.rollout
    return RolloutStatus(
        version=rollout.version,
        about=rollout.about,
        state=rollout.state,
        reason=rollout.reason,
        groups=tuple(RolloutGroup(percent=group.percent, labels=dict(group.labels)) for group in rollout.groups),
        starts_at=time_text(rollout.starts_at or rollout.created_at),
        created_at=time_text(rollout.created_at),
        halt_failing_percent=rollout.halt.failing_percent,
        halt_slower_percent=rollout.halt.slower_percent,
        halt_min_devices=rollout.halt.min_devices,
        devices=progress.devices,
        updated=progress.updated,
        failing=progress.failing,
        slower=progress.slower,
    )
