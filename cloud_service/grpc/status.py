"""What each error is called over gRPC."""

from grpc import StatusCode

from cloud_service import errors
from cloud_service.errors import CloudError
from loragen.web.errors import BodyTimeoutError, ServiceError

GRPC_STATUS: dict[type[ServiceError], StatusCode] = {
    BodyTimeoutError: StatusCode.DEADLINE_EXCEEDED,
    CloudError: StatusCode.INTERNAL,
    errors.RequestError: StatusCode.INVALID_ARGUMENT,
    errors.InvalidRequestError: StatusCode.INVALID_ARGUMENT,
    errors.UnknownGeneratorError: StatusCode.INVALID_ARGUMENT,
    errors.UnknownEdgeModelError: StatusCode.INVALID_ARGUMENT,
    errors.PromptTooLongError: StatusCode.INVALID_ARGUMENT,
    errors.LowConfidenceError: StatusCode.INVALID_ARGUMENT,
    errors.MalformedBodyError: StatusCode.INVALID_ARGUMENT,
    errors.NotAcceptableError: StatusCode.INVALID_ARGUMENT,
    errors.RangeError: StatusCode.OUT_OF_RANGE,
    errors.UnauthenticatedError: StatusCode.UNAUTHENTICATED,
    errors.ForbiddenError: StatusCode.PERMISSION_DENIED,
    errors.UsageLimitError: StatusCode.RESOURCE_EXHAUSTED,
    errors.NotFoundError: StatusCode.NOT_FOUND,
    errors.ArtifactGoneError: StatusCode.NOT_FOUND,
    errors.ConflictError: StatusCode.ABORTED,
    errors.PreconditionError: StatusCode.FAILED_PRECONDITION,
    errors.UnavailableError: StatusCode.UNAVAILABLE,
    errors.OverloadedError: StatusCode.RESOURCE_EXHAUSTED,
    errors.ImportBudgetError: StatusCode.RESOURCE_EXHAUSTED,
    errors.DrainingError: StatusCode.UNAVAILABLE,
    errors.StoreUnavailableError: StatusCode.UNAVAILABLE,
    errors.DeadlineError: StatusCode.DEADLINE_EXCEEDED,
    errors.GenerationError: StatusCode.INTERNAL,
    errors.SigningError: StatusCode.INTERNAL,
    errors.IntegrityError: StatusCode.DATA_LOSS,
}
"""Total over the tree of errors (tested)."""


def grpc_status(error: CloudError | BodyTimeoutError) -> StatusCode:
    """The status code of an error."""
    return GRPC_STATUS[type(error)]
