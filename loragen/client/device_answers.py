"""What a device answers, as immutable values. Fields that a later device adds are ignored."""

from loragen.client.call import AnswerModel


class ServedModel(AnswerModel):
    """One entry of a device's list of models.

    Attributes:
        id: What a request puts into `model`.
        state: `base`; how a LoRA is applied, `adapter` or `merged`; or `pending` or `failed`, when nothing serves.
        bundle_id: The bundle that answers, or that should; None for the base model.
        failed_bundle_id: A newer bundle that should serve and does not; `message` says why.
        message: Why it is not merged, or what failed after it; empty when all is well.
        merge_seconds: What the merge took.
        retained_delta: Smallest share of the LoRA's change, over the tensors, that is left after quantization.
        prompt_tokens: Tokens of the task description that a request no longer carries.
        resident: Whether it is loaded now.
        pinned: Whether the device's owner keeps newer bundles from replacing it.
    """

    id: str
    state: str
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


class DeviceStatus(AnswerModel):
    """What a device follows, what it serves and what keeps it from more.

    Attributes:
        reason: Why no traffic should be sent to it; empty when it is ready.
        last_poll: Outcome of the last poll: `ok`, `unchanged` or an error code; empty before the first.
        last_poll_at: Unix seconds of it.
        problem: What is wrong with the device's own disk; empty when nothing is.
    """

    device_id: str
    version: str
    edge_model_id: str
    edge_model_digest: str | None = None
    quantization: str
    ready: bool
    reason: str = ""
    channel: str
    channel_version: int | None = None
    last_poll: str = ""
    last_poll_message: str = ""
    last_poll_at: float | None = None
    problem: str = ""
    models: tuple[ServedModel, ...] = ()


class Usage(AnswerModel):
    """Token counts of one answer; `cached_tokens` of the prompt were not computed again."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class Completion(AnswerModel):
    """One answer of a model.

    Attributes:
        finish_reason: `stop`, or `length` when the answer was cut.
        fingerprint: The revision that answered.
    """

    text: str
    finish_reason: str
    usage: Usage
    fingerprint: str = ""


class TextChunk(AnswerModel):
    """The next piece of an answer; the last pieces have a reason for the end, and the token counts."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
