"""Values and the port through which the HTTP interface sees the device. `updates` implements it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

ModelState = Literal["base", "adapter", "merged", "pending", "failed"]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One entry of `GET /v1/models`.

    Attributes:
        id: What a request puts into `model`.
        bundle_id: The bundle that answers, or that should; None for the base model.
        failed_bundle_id: A newer bundle that should serve and does not; `message` says why.
        state: How the LoRA is applied; `pending` or `failed` while nothing serves under this name.
        message: Why it is not merged, or what failed after it; empty when all is well.
        created: Unix seconds of its activation.
        merge_seconds: What the merge took.
        retained_delta: Smallest retained delta of a tensor.
        retained_delta_mean: Mean over the tensors.
        prompt_tokens: Tokens of the task description that a request no longer carries.
        resident: Whether it is loaded now.
        pinned: Whether the owner wants no change of it.
    """

    id: str
    state: ModelState
    bundle_id: str | None = None
    failed_bundle_id: str | None = None
    message: str = ""
    created: int = 0
    merge_seconds: float | None = None
    retained_delta: float | None = None
    retained_delta_mean: float | None = None
    prompt_tokens: int | None = None
    resident: bool = False
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """The body of `GET /status`.

    Attributes:
        quantization: Type that most matrices of the base have as it is served, whatever was asked for.
        ready: Whether traffic should be sent here.
        reason: Why not, when it should not.
        last_poll: Outcome of the last poll: `ok`, `unchanged` or an error code; empty before the first.
        last_poll_at: Unix seconds of it.
        problem: What is wrong with the device's own disk; empty when nothing is.
    """

    device_id: str
    version: str
    edge_model_id: str
    edge_model_digest: str | None
    quantization: str
    ready: bool
    reason: str
    channel: str
    channel_version: int | None = None
    last_poll: str = ""
    last_poll_message: str = ""
    last_poll_at: float | None = None
    problem: str = ""
    models: tuple[ServedModel, ...] = ()


class DeviceView(Protocol):
    """What serving needs to know of the device beside its slots."""

    def slot_name(self, model: str) -> str:
        """The slot that a request for `model` means."""
        ...

    def models(self) -> Sequence[ServedModel]:
        """The base model, then all specializations by name."""
        ...

    def not_ready_reason(self) -> str | None:
        """Why no traffic should be sent here; None when it should."""
        ...

    def status(self) -> DeviceStatus:
        """The device's state, for `/status` and for the cloud."""
        ...
