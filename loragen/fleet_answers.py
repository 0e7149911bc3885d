"""Values: what the cloud service answers about channels, rollouts and devices, for the service and for its clients.

Times are ISO 8601 in UTC, as the cloud's clock has them.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field, GetPydanticSchema
from pydantic_core.core_schema import str_schema

from loragen.answer_model import AnswerModel

RolloutState = Literal["running", "paused", "promoted", "aborted", "halted"]


def time_text(microseconds: int) -> str:
    """A time in microseconds since 1970 as these answers have it."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="milliseconds")


class ListedChannel(AnswerModel):
    """A channel without its document."""

    name: str
    version: int
    digest: str
    changed_at: str
    rollout: bool = Field(description="Whether one goes on.")


class ChannelList(AnswerModel):
    """Channels by name."""

    channels: tuple[ListedChannel, ...]
    next_after: str | None = Field(description="Asks for the next page, as `after`; null on the last one.")


class KeptVersion(AnswerModel):
    """A version of a channel that is kept, and what made it."""

    version: int
    digest: str
    action: str
    detail: str
    stored_at: str


class VersionList(AnswerModel):
    """Versions, the newest first."""

    versions: tuple[KeptVersion, ...]


class ListedEntry(AnswerModel):
    """A name in a channel, and the bundle that it means."""

    name: str
    bundle_id: str


class ChangedEntry(AnswerModel):
    """A name that means another bundle."""

    name: str
    old_bundle_id: str
    new_bundle_id: str


class ChannelDifference(AnswerModel):
    """What changes from one version of a channel to another."""

    old: int
    new: int
    added: tuple[ListedEntry, ...]
    removed: tuple[ListedEntry, ...]
    changed: tuple[ChangedEntry, ...]


class ChannelEvent(AnswerModel):
    """What was done to a channel; `version` is the channel's or the candidate's afterwards."""

    action: str
    detail: str
    version: int
    at: str


class EventList(AnswerModel):
    """Events, the newest first."""

    events: tuple[ChannelEvent, ...]


class RolloutGroup(AnswerModel):
    """This percentage of the devices that have all these labels."""

    percent: float
    labels: dict[str, str] = Field(default={})


class RolloutStatus(AnswerModel):
    """A rollout, and how far it has come."""

    version: int = Field(description="Of the candidate; it names the rollout.")
    about: str
    state: Annotated[RolloutState, GetPydanticSchema(lambda _source, _handler: str_schema())]
    reason: str = Field(description="Why it ended; empty while it goes on.")
    groups: tuple[RolloutGroup, ...]
    starts_at: str
    created_at: str
    halt_failing_percent: float
    halt_slower_percent: float
    halt_min_devices: int
    devices: int = Field(description="Devices of the channel that are known.")
    updated: int = Field(description="Those that have the candidate's version or a newer one.")
    failing: int = Field(description="Those of them on which one of the candidate's bundles failed.")
    slower: int = Field(description="Those of them on which one of its bundles is slower than what was there before.")


class RolloutList(AnswerModel):
    """The last rollout of a channel; earlier ones are among its events."""

    rollouts: tuple[RolloutStatus, ...]


class ReportedSpecialization(AnswerModel):
    """What a device said of one specialization: `pending`, `adapter`, `merged` or `failed`."""

    name: str
    bundle_id: str
    state: str
    message: str = ""
    failed_bundle_id: str = Field(default="", description="A newer bundle that should serve and does not.")
    slower: bool = Field(
        default=False, description="Whether it answers clearly more slowly than what was under its name before."
    )


class ReportedDevice(AnswerModel):
    """What a device said last of itself; `reported_at` is when the cloud heard it."""

    device_id: str
    channel: str
    channel_version: int
    specializations: tuple[ReportedSpecialization, ...] = ()
    runtime_version: str = ""
    edge_model_digest: str = ""
    labels: dict[str, str] = Field(default={})
    reported_at: str = ""


class VersionCount(AnswerModel):
    """How many devices have a version."""

    version: int
    devices: int


class DeviceSummary(AnswerModel):
    """All known devices of a channel, or the most recent 10,000."""

    devices: int
    failing: int
    versions: tuple[VersionCount, ...]


class DeviceList(AnswerModel):
    """Devices, the most recent report first."""

    devices: tuple[ReportedDevice, ...]
    next_before: int | None = Field(
        default=None,
        description="Asks for the next page, as `before`; null on the last one. A page may be empty and not the last.",
    )
    summary: DeviceSummary | None = Field(default=None, description="Of the channel, when the request names one.")
