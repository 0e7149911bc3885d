"""Errors of the edge runtime.

    EdgeError
    ├── StateError                  the state file cannot be read as state
    ├── UpdateError                 bringing a specialization to the device failed
    │   ├── CloudUnreachableError   no answer, or none in time
    │   ├── CloudStatusError        an answer with a status that is no success
    │   ├── ChannelWentBackError    the channel has an older version than was seen
    │   ├── ChannelRefusedError     the channel is not what its owner signed
    │   ├── DownloadError           the body was cut short
    │   ├── TooLongError            the body is longer than announced or allowed
    │   ├── DigestMismatchError     the bytes are not the announced ones
    │   ├── CanaryError             the new slot loaded, but does not answer sanely
    │   ├── CanaryUnfinishedError   the new slot did not come to an answer: too slow now, or closed meanwhile
    │   └── DeadlyAttemptError      the device ended too often while it tried this
    ├── MergeError                  the merge could not be carried out (a full disk, an unsuitable model)
    │   ├── BaseGgufError           the base GGUF is damaged, of another model or not admitted
    │   ├── BaseGgufUnreadableError the base GGUF cannot be read now
    │   ├── ConversionError         a Hugging Face directory cannot become a base GGUF
    │   ├── RetainedDeltaError      quantization would lose the delta
    │   ├── OutputError             the result cannot be written: disk full, no permission
    │   │   └── DiskFullError       a download does not fit the disk
    │   └── MergeCancelledError     the device is shutting down
    └── ServingError                a request cannot be answered
        ├── InvalidRequestError     malformed, or asks for what this server does not do
        ├── ContextLengthError      the prompt does not fit the context
        ├── UnauthorizedError       without the device's API key
        ├── UnknownModelError       no such specialization
        ├── BusyError               the queue is full, or the device is starting or draining
        ├── ModelLoadError          llama.cpp refused a file
        │   └── AnswerContractError its answer contract or residual prompt is malformed
        └── ModelOutputError        the model produced NaN or infinity

`loragen.contract.errors.ContractError` passes through the update code untranslated: it already says expected and
actual, and carries a code and a hint. Names and codes are part of the interface; messages are not. The status of
each over HTTP is in `serving.status`; what the front of the service refuses by itself, and what stops the start, is in
`loragen.web.errors`.
"""

from collections.abc import Mapping

from loragen.web.errors import ServiceError


class EdgeError(ServiceError):
    """Base of every error this package raises on purpose."""

    code = "edge_error"


class StateError(EdgeError):
    """The state file is not the state of this format."""

    code = "state_corrupt"


class UpdateError(EdgeError):
    """A specialization could not be brought to the device."""

    code = "update_failed"


class CloudUnreachableError(UpdateError):
    """The cloud did not answer, or not in time."""

    code = "cloud_unreachable"


class CloudStatusError(UpdateError):
    """The cloud answered with a status that is no success.

    Attributes:
        status: The HTTP status.
    """

    code = "cloud_status"

    def __init__(self, message: str, hint: str = "", *, status: int, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, hint, retry_after_seconds=retry_after_seconds)
        self.status = status


class ChannelWentBackError(UpdateError):
    """The cloud sends an older version of the channel than this device has seen: a backup was restored, or it lies."""

    code = "channel_went_back"


class ChannelRefusedError(UpdateError):
    """What the cloud sends is not what the channel's owner signed, or is signed for other devices or another time."""

    code = "channel_refused"


class DownloadError(UpdateError):
    """A body was cut short; what came is kept and resumed."""

    code = "download_incomplete"


class TooLongError(UpdateError):
    """A body is longer than announced or allowed; reading stopped there."""

    code = "download_too_long"


class DigestMismatchError(UpdateError):
    """Bytes that are complete, and not those that were announced."""

    code = "digest_mismatch"


class CanaryError(UpdateError):
    """A new slot loads, but its answers are not finite."""

    code = "canary_failed"


class CanaryUnfinishedError(UpdateError):
    """A new slot did not come to an answer: the device is too busy now, or the slot was closed meanwhile."""

    code = "canary_unfinished"


class DeadlyAttemptError(UpdateError):
    """The process ended several times in a row while it tried this."""

    code = "device_ended"


class MergeError(EdgeError):
    """A merge could not be carried out; nothing was left behind."""

    code = "merge_failed"


class BaseGgufError(MergeError):
    """The base GGUF is damaged, of another model, or not admitted."""

    code = "base_invalid"


class BaseGgufUnreadableError(MergeError):
    """The base GGUF cannot be read now: it is missing, the disk fails, or too many files are open."""

    code = "base_unreadable"


class ConversionError(MergeError):
    """A Hugging Face directory cannot become a base GGUF: another architecture, tokenizer or kind of file."""

    code = "conversion_unsupported"


class OutputError(MergeError):
    """The result cannot be written; whatever stood there before still does."""

    code = "output_not_written"


class DiskFullError(OutputError):
    """There is no room on the disk for a download, nor for the rest of what came of it."""

    code = "disk_full"


class RetainedDeltaError(MergeError):
    """Too little of the delta would be left after quantization; the LoRA stays a run-time adapter."""

    code = "retained_delta_too_low"


class MergeCancelledError(MergeError):
    """The merge was abandoned because the device is shutting down."""

    code = "merge_cancelled"


class ServingError(EdgeError):
    """A request could not be answered."""

    code = "serving_failed"


class InvalidRequestError(ServingError):
    """The request is malformed, or asks for what this server does not do."""

    code = "invalid_request"


class ContextLengthError(ServingError):
    """The prompt does not leave room for a single token in the context."""

    code = "context_length_exceeded"


class UnauthorizedError(ServingError):
    """The request has not the API key of this device; `scheme` says how it is to be shown."""

    code = "unauthorized"

    def __init__(self, message: str, hint: str = "", *, scheme: str = "Bearer") -> None:
        super().__init__(message, hint)
        self._scheme = scheme

    @property
    def headers(self) -> Mapping[str, str]:
        return {"www-authenticate": 'Basic realm="LoRA-Gen device"' if self._scheme == "Basic" else "Bearer"}


class UnknownModelError(ServingError):
    """No specialization has this name."""

    code = "model_not_found"


class BusyError(ServingError):
    """The device cannot take the request now."""

    code = "overloaded"
    retry_after_seconds: float = 1


class ModelLoadError(ServingError):
    """llama.cpp refused a model or an adapter."""

    code = "model_load_failed"


class AnswerContractError(ModelLoadError):
    """The answer contract or the residual prompt of a file is malformed, or a code is no token of the model."""

    code = "answer_contract_invalid"


class ModelOutputError(ServingError):
    """The model produced logits that are not finite, or decoding failed."""

    code = "model_output_invalid"


MAX_MESSAGE_CHARS = 1_000
"""Of one message in the state, which has three for a name; foreign bytes that it quotes can be of any length."""


def error_code(error: Exception) -> str:
    """The stable code of one of our errors; `internal_error` for any other."""
    return str(getattr(error, "code", "internal_error"))


def describe_error(error: Exception) -> str:
    """An error's message for the status, with its notes and its hint, cut to `MAX_MESSAGE_CHARS`."""
    parts = [str(error), *getattr(error, "__notes__", ())]
    if hint := getattr(error, "hint", ""):
        parts.append(f"hint: {hint}")
    text = "; ".join(parts) if isinstance(error, EdgeError) or hint else f"{type(error).__name__}: {error}"
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"
