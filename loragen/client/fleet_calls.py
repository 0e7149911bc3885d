"""The calls of the cloud service about channels, rollouts and devices; the cloud clients have a method for each.

In the examples, `cloud` is a `CloudClient`. With an `AsyncCloudClient` the same calls are awaited.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from loragen.client.call import Answer, ApiCall, as_model, path_of
from loragen.client.cloud_answers import ChannelSnapshot
from loragen.client.cloud_calls import parse_channel_answer
from loragen.contract.limits import MAX_CHANNEL_BYTES
from loragen.fleet_answers import (
    ChannelDifference,
    ChannelEvent,
    ChannelList,
    DeviceList,
    EventList,
    KeptVersion,
    RolloutList,
    RolloutStatus,
    VersionList,
)

_NO_CONTENT = frozenset({204})
_CREATED = frozenset({201})


def channels(after: str = "") -> ApiCall[ChannelList]:
    """A page of the channels, by name.

    Args:
        after: The `next_after` of the page before; empty for the first page.

    Example:
        >>> [channel.name for channel in cloud.channels().channels]
    """
    return ApiCall("GET", "/channels" + _query({"after": after}), as_model(ChannelList))


def versions(channel: str) -> ApiCall[tuple[KeptVersion, ...]]:
    """The versions of a channel that are kept, the newest first.

    Raises:
        RemoteError: No answer, or a refusal: `not_found`.

    Example:
        >>> [(each.version, each.action, each.detail) for each in cloud.versions("kitchen")]
    """
    path = path_of("channels", channel, "versions")
    return ApiCall("GET", path, lambda answer: VersionList.model_validate_json(answer.body).versions)


def channel_at(channel: str, version: int) -> ApiCall[ChannelSnapshot]:
    """A channel as it was at a version.

    Raises:
        RemoteError: No answer, or a refusal: `version_not_found`.

    Example:
        >>> cloud.channel_at("kitchen", 3).specializations["reviews"].bundle_id
    """
    path = path_of("channels", channel, "versions", str(version))
    return ApiCall("GET", path, parse_channel_answer, max_bytes=MAX_CHANNEL_BYTES)


def difference(channel: str, old: int, new: int | None = None) -> ApiCall[ChannelDifference]:
    """What changes from one version of a channel to another, by default to the present one.

    Raises:
        RemoteError: No answer, or a refusal: `version_not_found`.

    Example:
        >>> cloud.difference("kitchen", 3).changed
    """
    path = path_of("channels", channel, "diff") + _query({"from": old, "to": new})
    return ApiCall("GET", path, as_model(ChannelDifference))


def roll_back(channel: str, version: int, *, expected: ChannelSnapshot | None = None) -> ApiCall[ChannelSnapshot]:
    """Give a channel the content that it had at a version, as a new version.

    Args:
        channel: That devices follow.
        version: One that is kept.
        expected: Refuse, with 412 `precondition_failed`, when the channel has changed since.

    Raises:
        RemoteError: No answer, or a refusal: `version_not_found`, `rollout_goes_on`, ...

    Example:
        >>> cloud.roll_back("kitchen", 3).version
    """
    path = path_of("channels", channel, "rollback")
    headers = {} if expected is None else {"if-match": expected.etag}
    # Twice changes nothing: the content is there already.
    repeatable = expected is None
    body = {"version": version}
    return ApiCall("POST", path, parse_channel_answer, body, headers, MAX_CHANNEL_BYTES, repeatable=repeatable)


def delete_channel(channel: str, *, expected: ChannelSnapshot | None = None) -> ApiCall[None]:
    """Delete a channel with its versions. Devices keep what they have.

    Args:
        channel: That devices follow.
        expected: Refuse, with 412 `precondition_failed`, when the channel has changed since.

    Raises:
        RemoteError: No answer, or a refusal: `not_found`, `rollout_goes_on`, ...

    Example:
        >>> cloud.delete_channel("kitchen")
    """
    headers = {} if expected is None else {"if-match": expected.etag}
    path = path_of("channels", channel)
    return ApiCall("DELETE", path, _nothing, headers=headers, accepts=_NO_CONTENT, repeatable=False)


def events(channel: str, limit: int = 100) -> ApiCall[tuple[ChannelEvent, ...]]:
    """What was done to a channel, the newest first; it outlives the channel.

    Example:
        >>> [(each.at, each.action, each.detail) for each in cloud.events("kitchen")]
    """
    path = path_of("channels", channel, "events") + _query({"limit": limit})
    return ApiCall("GET", path, lambda answer: EventList.model_validate_json(answer.body).events)


def start_rollout(
    channel: str,
    name: str | None = None,
    bundle_id: str | None = None,
    *,
    version: int | None = None,
    percent: float = 100,
    labels: Mapping[str, str] | None = None,
    starts_at: datetime | None = None,
    halt_failing_percent: float | None = None,
    halt_slower_percent: float | None = None,
    halt_min_devices: int | None = None,
    expected: ChannelSnapshot | None = None,
) -> ApiCall[RolloutStatus]:
    """Bring a bundle, or the content of a kept version, to some devices first.

    Args:
        channel: That devices follow.
        name: That devices serve the bundle under.
        bundle_id: Of a bundle that the service has.
        version: A kept version, in place of a name and a bundle.
        percent: Of the devices with these labels, so many in a hundred.
        labels: Only devices with all of them.
        starts_at: With a time zone; by default now.
        halt_failing_percent: Halt when so many of the devices that have it could not put it to use; by default 5.
        halt_slower_percent: Halt when so many of them answer clearly more slowly with it than before; by default 25.
        halt_min_devices: With fewer devices that have the candidate, nothing is halted; by default 10.
        expected: Refuse, with 412 `precondition_failed`, when the channel has changed since.

    Raises:
        RemoteError: No answer, or a refusal: `rollout_goes_on`, `bundle_not_found`, ...

    Example:
        >>> rollout = cloud.start_rollout("kitchen", "reviews", answer.id, percent=5)
        >>> rollout.version, rollout.state
    """
    body = {
        "name": name,
        "bundle_id": bundle_id,
        "version": version,
        "percent": percent,
        "labels": dict(labels or {}),
        "starts_at": None if starts_at is None else starts_at.isoformat(),
        "halt_failing_percent": halt_failing_percent,
        "halt_slower_percent": halt_slower_percent,
        "halt_min_devices": halt_min_devices,
    }
    return ApiCall(
        "POST",
        path_of("channels", channel, "rollouts"),
        as_model(RolloutStatus),
        {field: value for field, value in body.items() if value is not None},
        {} if expected is None else {"if-match": expected.etag},
        accepts=_CREATED,
        repeatable=False,
    )


def rollouts(channel: str) -> ApiCall[tuple[RolloutStatus, ...]]:
    """The last rollout of a channel, whether it goes on or not; none when there never was one.

    Example:
        >>> [(each.version, each.state, each.updated) for each in cloud.rollouts("kitchen")]
    """
    path = path_of("channels", channel, "rollouts")
    return ApiCall("GET", path, lambda answer: RolloutList.model_validate_json(answer.body).rollouts)


def change_rollout(
    channel: str,
    version: int,
    *,
    state: str | None = None,
    percent: float | None = None,
    labels: Mapping[str, str] | None = None,
) -> ApiCall[RolloutStatus]:
    """Change a rollout: its state, or who sees it.

    Args:
        channel: That devices follow.
        version: Of the rollout's candidate.
        state: `paused`, `running`, `promoted` (to all devices) or `aborted` (all devices get back what they had).
        percent: Bring it to this percentage of the devices with these labels too; it never gets fewer.
        labels: None means all devices.

    Raises:
        RemoteError: No answer, or a refusal: `rollout_not_found`, `rollout_ended`.

    Example:
        >>> cloud.change_rollout("kitchen", rollout.version, percent=50).updated
        >>> cloud.change_rollout("kitchen", rollout.version, state="promoted")
    """
    body = {"state": state, "percent": percent, "labels": None if labels is None else dict(labels)}
    path = path_of("channels", channel, "rollouts", str(version))
    return ApiCall(
        "PATCH", path, as_model(RolloutStatus), {name: value for name, value in body.items() if value is not None}
    )


def devices(
    channel: str | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    failing: bool | None = None,
    seen_after: datetime | None = None,
    before: int | None = None,
    limit: int | None = None,
) -> ApiCall[DeviceList]:
    """A page of the devices that report over gRPC, the most recent report first.

    Args:
        channel: That they follow; then the answer has a summary of all its devices too.
        labels: That they have.
        failing: Only devices on which a bundle failed, or only the others.
        seen_after: Only devices that reported after this time.
        before: The `next_before` of the page before; None for the first page.
        limit: Most devices on the page.

    Example:
        >>> {device.device_id: device.channel_version for device in cloud.devices("kitchen").devices}
    """
    after = None if seen_after is None else round(seen_after.timestamp() * 1e6)
    query: dict[str, Any] = {
        "channel": channel,
        "label": [f"{name}={value}" for name, value in (labels or {}).items()],
        "failing": None if failing is None else str(failing).lower(),
        "after": after,
        "before": before,
        "limit": limit,
    }
    return ApiCall("GET", "/devices" + _query(query), as_model(DeviceList))


def delete_device(channel: str, device_id: str) -> ApiCall[None]:
    """Forget a device; it is listed again with its next report.

    Raises:
        RemoteError: No answer, or a refusal: `device_not_found`.

    Example:
        >>> cloud.delete_device("kitchen", "node-1")
    """
    path = path_of("channels", channel, "devices", device_id)
    return ApiCall("DELETE", path, _nothing, accepts=_NO_CONTENT, repeatable=False)


def _query(fields: Mapping[str, Any]) -> str:
    given = {name: value for name, value in fields.items() if value not in (None, "", [])}
    return f"?{urlencode(given, doseq=True)}" if given else ""


def _nothing(_answer: Answer) -> None:
    return None
