"""Errors of the edge runtime, and the one table that says which HTTP status each answers with.

    EdgeError
    ├── ConfigurationError          the start is refused
    ├── StateError                  the state file cannot be read as state
    ├── UpdateError                 bringing a specialization to the device failed
    │   ├── CloudUnreachableError   no answer, or none in time
    │   ├── CloudStatusError        an answer with a status that is no success
    │   ├── DownloadError           the body was cut short
    │   ├── TooLongError            the body is longer than announced or allowed
    │   ├── IntegrityError          the bytes are not the announced ones
    │   ├── CanaryError             the new slot loaded, but does not answer sanely
    │   └── CanaryUnfinishedError   the new slot did not come to an answer: too slow now, or closed meanwhile
    ├── MergeError                  the merge could not be carried out (a full disk, an unsuitable model)
    │   ├── BaseGgufError             the base GGUF is damaged, of another model or not admitted
    │   ├── BaseGgufUnreadableError   the base GGUF cannot be read now
    │   ├── ConversionError         a Hugging Face directory cannot become a base GGUF
    │   ├── RetainedDeltaError           quantization would lose the delta
    │   ├── OutputError             the result cannot be written: disk full, no permission
    │   └── MergeCancelledError     the device is shutting down
    └── ServingError                a request cannot be answered
        ├── InvalidRequestError     malformed, or asks for what this server does not do
        ├── BodyTooLargeError       longer than the limit
        ├── MediaTypeError          a body of another type than JSON
        ├── ContextLengthError      the prompt does not fit the context
        ├── UnknownModelError       no such specialization
        ├── BusyError               the queue is full, or the device is starting or draining
        ├── ModelLoadError          llama.cpp refused a file
        ├── ModelOutputError        the model produced NaN or infinity
        └── ClientGoneError         the connection was closed before the answer was complete

`loragen.contract.errors.ContractError` passes through the update code untranslated: it already says expected and
actual, and carries a code and a hint. Names, codes and statuses are part of the interface; messages are not.
"""


class EdgeError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: What happened, with expected and actual.
        hint: What an operator or client can do about it; empty when there is nothing to say.
        code: Overrides the class's code where one class covers several conditions.
    """

    code: str = "edge_error"

    def __init__(self, message: str, hint: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        if code is not None:
            self.code = code


class ConfigurationError(EdgeError):
    """The settings do not describe a device that can run."""

    code = "configuration_invalid"


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
        retry_after_seconds: What the cloud asked for, None when it said nothing.
    """

    code = "cloud_status"

    def __init__(self, message: str, hint: str = "", *, status: int, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, hint)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class DownloadError(UpdateError):
    """A body was cut short; what came is kept and resumed."""

    code = "download_incomplete"


class TooLongError(UpdateError):
    """A body is longer than announced or allowed; reading stopped there."""

    code = "download_too_long"


class IntegrityError(UpdateError):
    """Bytes that are complete, and not those that were announced."""

    code = "digest_mismatch"


class CanaryError(UpdateError):
    """A new slot loads, but its answers are not finite."""

    code = "canary_failed"


class CanaryUnfinishedError(UpdateError):
    """A new slot did not come to an answer: the device is too busy now, or the slot was closed meanwhile."""

    code = "canary_unfinished"


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


class RetainedDeltaError(MergeError):
    """Too little of the delta would survive quantization; the LoRA stays a run-time adapter."""

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


class BodyTooLargeError(ServingError):
    """The request body is longer than the limit."""

    code = "body_too_large"


class MediaTypeError(ServingError):
    """The request body is of another type than the one that is read."""

    code = "unsupported_media_type"


class ContextLengthError(ServingError):
    """The prompt does not leave room for a single token in the context."""

    code = "context_length_exceeded"


class UnknownModelError(ServingError):
    """No specialization has this name."""

    code = "model_not_found"


class BusyError(ServingError):
    """The device cannot take the request now.

    Attributes:
        retry_after_seconds: When to ask again; whole seconds, at least 1.
    """

    code = "overloaded"

    def __init__(self, message: str, hint: str = "", *, retry_after_seconds: int = 1, code: str | None = None) -> None:
        super().__init__(message, hint, code=code)
        self.retry_after_seconds = retry_after_seconds


class ModelLoadError(ServingError):
    """llama.cpp refused a model or an adapter."""

    code = "model_load_failed"


class ModelOutputError(ServingError):
    """The model produced logits that are not finite, or decoding failed."""

    code = "model_output_invalid"


class ClientGoneError(ServingError):
    """The client closed the connection; nobody reads the answer, and the status is only for the record."""

    code = "client_gone"


HTTP_STATUS: dict[type[EdgeError], int] = {
    EdgeError: 500,
    ConfigurationError: 500,
    StateError: 500,
    UpdateError: 502,
    CloudUnreachableError: 504,
    CloudStatusError: 502,
    DownloadError: 502,
    TooLongError: 502,
    IntegrityError: 502,
    CanaryError: 500,
    CanaryUnfinishedError: 500,
    MergeError: 500,
    BaseGgufError: 500,
    BaseGgufUnreadableError: 500,
    ConversionError: 500,
    RetainedDeltaError: 500,
    OutputError: 500,
    MergeCancelledError: 503,
    ServingError: 500,
    InvalidRequestError: 400,
    BodyTooLargeError: 413,
    MediaTypeError: 415,
    ContextLengthError: 400,
    UnknownModelError: 404,
    BusyError: 503,
    ModelLoadError: 503,
    ModelOutputError: 500,
    ClientGoneError: 499,
}
"""Total over the tree above (tested); the edge speaks no gRPC of its own, so there is no second column."""


def http_status(error: EdgeError) -> int:
    """The status that `error` answers with."""
    return HTTP_STATUS[type(error)]


MAX_MESSAGE_CHARS = 1_000
"""Of one message in the state, which has three for a name; foreign bytes that it quotes can be of any length."""


def error_code(error: Exception) -> str:
    """The stable code of one of our errors; `internal_error` for any other."""
    return str(getattr(error, "code", "internal_error"))


def describe(error: Exception) -> str:
    """An error's message for the status, with its notes and its hint, cut to `MAX_MESSAGE_CHARS`."""
    parts = [str(error), *getattr(error, "__notes__", ())]
    if hint := getattr(error, "hint", ""):
        parts.append(f"hint: {hint}")
    text = "; ".join(parts) if isinstance(error, EdgeError) or hint else f"{type(error).__name__}: {error}"
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"
