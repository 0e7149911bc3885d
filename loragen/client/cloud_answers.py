"""Values: what clients make of answers of the cloud service; the answers themselves are in `loragen.cloud_answers`."""

from collections.abc import Mapping
from dataclasses import dataclass

from loragen.answer_model import AnswerModel
from loragen.contract.channel import Specialization


@dataclass(frozen=True, slots=True)
class GeneratedBundle:
    """A bundle that came with the answer, verified.

    Attributes:
        id: The sha256 of `data`.
        data: A safetensors file that PEFT loads.
    """

    id: str
    recipe_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ChannelSnapshot:
    """A channel as it was when it was asked for.

    Attributes:
        version: Grows with every change.
        specializations: By name.
        etag: Says in a later call which channel is meant.
    """

    name: str
    version: int
    specializations: Mapping[str, Specialization]
    etag: str


class ReportedSpecialization(AnswerModel):
    """What a device said of one specialization: `pending`, `adapter`, `merged` or `failed`."""

    name: str
    bundle_id: str
    state: str
    message: str = ""


class ReportedDevice(AnswerModel):
    """What a device said last of itself; `reported_at` is when the cloud heard it, ISO 8601, UTC."""

    device_id: str
    channel: str
    channel_version: int
    specializations: tuple[ReportedSpecialization, ...] = ()
    runtime_version: str = ""
    edge_model_digest: str = ""
    reported_at: str = ""


class DevicePage(AnswerModel):
    """Devices of a channel; `next_before` asks for those with older reports, and is None on the last page."""

    devices: tuple[ReportedDevice, ...]
    next_before: int | None = None
