"""Schemas of requests that change channels and rollouts."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, model_validator

from cloud_service.body import Body, Number, Whole
from cloud_service.fleet.rollout import Group, HaltRule
from cloud_service.fleet.rollouts import RolloutRequest
from cloud_service.schemas import Digest, Labels, Name
from loragen.contract.limits import MAX_CHANNEL_VERSION

Version = Annotated[Whole, Field(ge=1, le=MAX_CHANNEL_VERSION)]
_Percent = Annotated[Number, Field(ge=0.01, le=100)]
_LAST_SECOND = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


def _as_text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"expected a time as ISO 8601 writes it, found {type(value).__name__}")
    return value


def _verify_in_utc(time: datetime) -> datetime:
    # Times are kept, and answered, in UTC, which knows no year 10000.
    if not 0 <= time.timestamp() <= _LAST_SECOND:
        raise ValueError("expected a time from 1970 to 9999, in UTC")
    return time


_Time = Annotated[AwareDatetime, BeforeValidator(_as_text), AfterValidator(_verify_in_utc)]


class RollbackBody(Body):
    """The version whose content a channel gets back."""

    version: Version


class RolloutBody(Body):
    """What is brought to some devices first: a bundle under a name, or the content of a kept version."""

    name: Name | None = None
    bundle_id: Digest | None = None
    version: Version | None = None
    percent: _Percent = Field(default=100, description="Of the devices with these labels, so many in a hundred.")
    labels: Labels = Field(default={}, description="Only devices with all of them; none means all devices.")
    starts_at: _Time | None = Field(default=None, description="With a time zone; by default now.")
    halt_failing_percent: _Percent = Field(
        default=5,
        description="Halt when so many percent of the devices that have the candidate could not put it to use.",
    )
    halt_slower_percent: _Percent = Field(
        default=25, description="Halt when so many percent of them answer clearly more slowly with it than before."
    )
    halt_min_devices: Whole = Field(
        default=10, ge=1, le=10_000, description="With fewer devices that have the candidate, nothing is halted."
    )

    @model_validator(mode="after")
    def _verify_subject(self) -> Self:
        named = (self.name is not None, self.bundle_id is not None)
        if named not in ((True, True), (False, False)) or named[0] == (self.version is not None):
            raise ValueError("expected name and bundle_id, or version")
        return self

    def to_request(self) -> RolloutRequest:
        """The same as a value of the service."""
        return RolloutRequest(
            group=Group(self.percent, self.labels),
            halt=HaltRule(self.halt_failing_percent, self.halt_min_devices, self.halt_slower_percent),
            name=self.name or "",
            bundle_id=self.bundle_id or "",
            version=self.version or 0,
            starts_at=0 if self.starts_at is None else round(self.starts_at.timestamp() * 1e6),
        )


class RolloutChangeBody(Body):
    """How a rollout goes on: another state, or more devices."""

    state: Literal["running", "paused", "promoted", "aborted"] | None = None
    percent: _Percent | None = Field(
        default=None, description="Of the devices with these labels, so many in a hundred."
    )
    labels: Labels = Field(default={}, description="Only devices with all of them.")

    @model_validator(mode="after")
    def _verify_one(self) -> Self:
        if (self.state is None) == (self.percent is None) or (self.labels and self.percent is None):
            raise ValueError("expected a state, or a percent and perhaps labels")
        return self

    def to_group(self) -> Group | None:
        """The devices that are added; None for none."""
        return None if self.percent is None else Group(self.percent, self.labels)
