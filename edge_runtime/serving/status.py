"""What each error is called over HTTP."""

from edge_runtime import errors
from edge_runtime.errors import EdgeError
from loragen.web.error_answers import ErrorAnswers

HTTP_STATUS: dict[type[EdgeError], int] = {
    EdgeError: 500,
    errors.StateError: 500,
    errors.UpdateError: 502,
    errors.CloudUnreachableError: 504,
    errors.CloudStatusError: 502,
    errors.ChannelWentBackError: 502,
    errors.ChannelRefusedError: 502,
    errors.DownloadError: 502,
    errors.TooLongError: 502,
    errors.DigestMismatchError: 502,
    errors.CanaryError: 500,
    errors.CanaryUnfinishedError: 500,
    errors.DeadlyAttemptError: 500,
    errors.MergeError: 500,
    errors.BaseGgufError: 500,
    errors.BaseGgufUnreadableError: 500,
    errors.ConversionError: 500,
    errors.RetainedDeltaError: 500,
    errors.OutputError: 500,
    errors.DiskFullError: 500,
    errors.MergeCancelledError: 503,
    errors.ServingError: 500,
    errors.InvalidRequestError: 400,
    errors.ContextLengthError: 400,
    errors.UnauthorizedError: 401,
    errors.UnknownModelError: 404,
    errors.BusyError: 503,
    errors.ModelLoadError: 503,
    errors.AnswerContractError: 503,
    errors.ModelOutputError: 500,
}
"""Total over the tree of errors (tested), though those of updates and merges are not answers to requests."""


ERROR_ANSWERS = ErrorAnswers(
    HTTP_STATUS,
    EdgeError("internal error", "the device's log says why", code="internal_error"),
    # OpenAI's clients look for it.
    more_fields=lambda error, status: {
        "type": "invalid_request_error" if status < 500 else "server_error",
        "param": error.field,
    },
    # As Ollama's do.
    text_under=("/api/",),
)
