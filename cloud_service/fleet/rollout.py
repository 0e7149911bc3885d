"""Values and rules: a staged rollout of a channel's next version, and which devices see it. No I/O, no clock.

While a rollout goes on, a channel has two documents: its own, and the candidate with the version after it.
- A device sees the candidate when it belongs to one of the rollout's groups: it has all labels of the group, and its
  place is below the group's percentage. The place is a hash of its name, the channel and the version. So a growing
  percentage only adds devices, and the next rollout begins with other devices.
- A device that has seen the candidate keeps it even when its labels change, because devices refuse a channel that goes
  back to an older version.
- Groups are added and widened, never narrowed.
- When a candidate is aborted, the channel's old content gets a version above the candidate's.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cloud_service.errors import ConflictError, IntegrityError
from loragen.contract.channel import Channel, Specialization, parse_channel
from loragen.contract.digest import sha256_hex
from loragen.contract.errors import ContractError
from loragen.contract.polling import PollingDevice
from loragen.fleet_answers import RolloutState

State = RolloutState

GOING_ON: tuple[State, ...] = ("running", "paused")

_PLACES = 10_000
"""Places of devices: percentages count in steps of a hundredth."""


@dataclass(frozen=True, slots=True)
class Group:
    """Devices that a rollout reaches: this percentage of those that have all these labels."""

    percent: float
    labels: Mapping[str, str] = field(default_factory=dict)

    def has(self, device: PollingDevice, place: float) -> bool:
        """Whether a device at a place, in percent, belongs to it."""
        return place < self.percent and self.labels.items() <= device.labels.items()


@dataclass(frozen=True, slots=True)
class HaltRule:
    """When a rollout is halted without anybody's command.

    Attributes:
        failing_percent: It is halted when the candidate fails on at least this share of the devices that have it.
        min_devices: With fewer devices that have the candidate, it goes on.
        slower_percent: It is halted when the candidate is slower than what was there before on at least this share.
    """

    failing_percent: float
    min_devices: int
    slower_percent: float = 25.0

    def reason(self, devices: int, failing: int, slower: int) -> str:
        """Why to halt, for people; empty while these devices are too few, or most of them do well."""
        if devices < self.min_devices:
            return ""
        if failing and failing * 100 >= self.failing_percent * devices:
            return f"failed on {failing} of {devices} devices"
        if slower and slower * 100 >= self.slower_percent * devices:
            return f"slower on {slower} of {devices} devices"
        return ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout.

    Attributes:
        about: What the candidate changes, for people.
        document: The candidate (`loragen.contract.channel`).
        version: Its version.
        bundles: Those that it brings: a device that cannot put one of them to use fails.
        groups: Who sees it.
        halt: When it is given up.
        starts_at: Nobody sees it before this time, in microseconds since 1970.
        created_at: In microseconds since 1970.
        state: Where it stands.
        reason: Why it ended; empty while it goes on.
    """

    about: str
    document: bytes
    version: int
    bundles: tuple[str, ...]
    groups: tuple[Group, ...]
    halt: HaltRule
    starts_at: int
    created_at: int
    state: State = "running"
    reason: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether it was neither promoted nor given up."""
        return self.state in GOING_ON

    def includes(self, channel: str, device: PollingDevice, now: int) -> bool:
        """Whether a device that polls now, in microseconds since 1970, sees the candidate."""
        if device.version >= self.version:
            return True
        if not device.device_id or self.state != "running" or now < self.starts_at:
            return False
        place = device_place(channel, self.version, device.device_id)
        return any(group.has(device, place) for group in self.groups)

    def widened(self, group: Group) -> "Rollout":
        """The same for another group too, or for more of one that it has."""
        others = tuple(each for each in self.groups if each.labels != group.labels)
        percent = max([group.percent, *(each.percent for each in self.groups if each.labels == group.labels)])
        return replace(self, groups=(*others, replace(group, percent=percent)))

    def ended(self, state: State, reason: str) -> "Rollout":
        """The same after its end; the candidate is left out, which the channel's versions have when it was promoted."""
        return replace(self, state=state, reason=reason, document=b"")


def device_place(channel: str, version: int, device_id: str) -> float:
    """The place of a device among all, in [0, 100)."""
    digest = sha256_hex(f"{channel}/{version}/{device_id}".encode())
    return int(digest[:16], 16) % _PLACES * 100 / _PLACES


def new_bundles(old: Channel, new: tuple[Specialization, ...]) -> tuple[str, ...]:
    """The bundles that a channel brings under a name that had another one, or none."""
    known = {(each.name, each.bundle_id) for each in old.specializations}
    return tuple(sorted({each.bundle_id for each in new if (each.name, each.bundle_id) not in known}))


def verify_going_on(rollout: Rollout) -> None:
    """Return when a rollout can be changed.

    Raises:
        ConflictError: It has ended.
    """
    if not rollout.goes_on:
        raise ConflictError(
            f"the rollout of version {rollout.version} is {rollout.state} already",
            "start another",
            code="rollout_ended",
        )


def encode_rollout(rollout: Rollout) -> bytes:
    """A rollout as the store has it."""
    fields = asdict(rollout) | {"document": rollout.document.decode("ascii")}
    return json.dumps(fields, allow_nan=False).encode("ascii")


def parse_rollout(data: bytes) -> Rollout:
    """What `encode_rollout` wrote.

    Raises:
        IntegrityError: The stored bytes are damaged.
    """
    try:
        fields: dict[str, Any] = json.loads(data)
        rollout = Rollout(
            **fields
            | {
                "document": fields["document"].encode("ascii"),
                "bundles": tuple(fields["bundles"]),
                "groups": tuple(Group(**group) for group in fields["groups"]),
                "halt": HaltRule(**fields["halt"]),
            }
        )
        if rollout.goes_on:
            parse_channel(rollout.document)
    except (ContractError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise IntegrityError(f"a stored rollout is damaged: {e}", "restore the store from a backup") from e
    return rollout
