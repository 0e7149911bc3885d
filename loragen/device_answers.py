"""Values: what a device says of itself and of its models, as the device answers it and as its clients read it.

Clients ignore fields that a later device adds.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import GetPydanticSchema
from pydantic_core.core_schema import str_schema

ModelState = Literal["base", "adapter", "merged", "pending", "failed"]


@dataclass(frozen=True, slots=True)
class ServedFunction:
    """A function that a model may call.

    Attributes:
        parameters: JSON Schema of its arguments; None when it takes none.
    """

    name: str
    parameters: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ServedAnswer:
    """What the answers of a model may look like.

    Attributes:
        type: `text`, any text; `choice`, one of `choices`; `json`, JSON of `json_schema`; `tool_calls`, calls of
            `functions`, or `none`. A later device may have more types.
        choices: The closed set of `choice`.
        functions: Those of `tool_calls`.
        none: What stands for calling none of them; None where every answer is a call.
        parallel: Whether an answer may be several calls.
        json_schema: The JSON Schema of `json`.
    """

    type: str
    choices: tuple[str, ...] = ()
    functions: tuple[ServedFunction, ...] = ()
    none: str | None = None
    parallel: bool = False
    json_schema: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One entry of `GET /v1/models`.

    Attributes:
        id: What a request puts into `model`.
        bundle_id: The bundle that answers, or that should; None for the base model.
        recipe_id: The recipe that made it, which a generation is named by; None where the channel, as it was last read,
            does not tell.
        failed_bundle_id: A newer bundle that should serve and does not; `message` says why.
        state: How the LoRA is applied; `pending` or `failed` while nothing serves under this name. A client takes any
            text here, because a later device may have more states.
        message: Why it is not merged, or what failed after it; empty when all is well.
        created: Unix seconds of its activation.
        merge_seconds: What the merge took.
        retained_delta: Smallest share of the LoRA's change, over the tensors, that is left after quantization.
        retained_delta_mean: Mean over the tensors.
        agreement: How far the merged model agreed with the run-time adapter before it replaced it: 1 when both found
            the same next tokens likely over a fixed text.
        tokens_saved_per_call: Tokens of the task description that a request no longer carries.
        resident: Whether it is loaded now.
        pinned: Whether the owner wants no change of it.
        permanent: It failed for good: nothing is tried before the channel names another bundle, or the device restarts.
        answer: What its answers may look like; None while nothing serves under this name.
        context_length: Tokens that prompt and answer may have together; None while nothing serves under this name.
        residual_prompt: What the device puts in front of each chat, as system message; empty for nothing.
    """

    id: str
    state: Annotated[ModelState, GetPydanticSchema(lambda _source, _handler: str_schema())]
    bundle_id: str | None = None
    failed_bundle_id: str | None = None
    message: str = ""
    created: int = 0
    merge_seconds: float | None = None
    retained_delta: float | None = None
    retained_delta_mean: float | None = None
    agreement: float | None = None
    tokens_saved_per_call: int | None = None
    resident: bool = False
    pinned: bool = False
    permanent: bool = False
    answer: ServedAnswer | None = None
    context_length: int | None = None
    residual_prompt: str = ""
    recipe_id: str | None = None


@dataclass(frozen=True, slots=True)
class ChannelTrust:
    """What a device knows of the signatures of its channel.

    Attributes:
        root_version: Version of the root metadata that it trusts; None before the first verification.
        timestamp_expires_at: Unix seconds after which it refuses the channel unless the cloud signs anew; None before
            the first verification.
        last_refusal: Why a document or metadata were refused last, since the device started; empty when none were.
        last_refusal_at: Unix seconds of it.
    """

    root_version: int | None = None
    timestamp_expires_at: float | None = None
    last_refusal: str = ""
    last_refusal_at: float | None = None

    def __str__(self) -> str:
        if self.root_version is None:
            said = "none verified yet"
        else:
            said = f"root version {self.root_version}, good until {_when(self.timestamp_expires_at)}"
        return f"{said}; last refusal {_when(self.last_refusal_at)}: {self.last_refusal}" if self.last_refusal else said


def _when(unix_seconds: float | None) -> str:
    if unix_seconds is None:
        return "an unknown time"
    return f"{datetime.fromtimestamp(unix_seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """The body of `GET /status`.

    Attributes:
        quantization: Type that most matrices of the base have as it is served, whatever was asked for.
        ready: Whether traffic should be sent here.
        reason: Why not, when it should not.
        last_poll: Outcome of the last poll: `ok`, `unchanged` or an error code; empty before the first.
        last_poll_at: Unix seconds of it.
        trust: What it knows of the channel's signatures; None when it follows whatever the cloud sends.
        problem: What is wrong with the device's own disk; empty when nothing is.
        threads: Threads of one slot.
        memory_bytes: What the device's process has in memory now, pages of model files counted that others could use;
            None where the system does not say.
        serving_mode: Which specializations are merged, and what decides it; empty on older devices.
        max_merged: How many specializations may be merged, by settings and memory; the others stay run-time adapters.
        max_resident: Slots in memory at a time.
        sequences: Requests that the loaded slots can answer at a time.
        sequences_in_use: Requests that are being answered.
        requests_waiting: Requests that wait for a sequence.
    """

    device_id: str
    version: str
    edge_model_id: str
    quantization: str
    ready: bool
    channel: str
    edge_model_digest: str | None = None
    reason: str = ""
    channel_version: int | None = None
    last_poll: str = ""
    last_poll_message: str = ""
    last_poll_at: float | None = None
    trust: ChannelTrust | None = None
    problem: str = ""
    threads: int = 0
    memory_bytes: int | None = None
    serving_mode: str = ""
    max_merged: int = 0
    max_resident: int = 0
    sequences: int = 0
    sequences_in_use: int = 0
    requests_waiting: int = 0
    models: tuple[ServedModel, ...] = ()
