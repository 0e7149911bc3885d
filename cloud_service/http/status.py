"""What each error is called over HTTP."""

from http import HTTPStatus

from cloud_service import errors
from cloud_service.errors import CloudError
from loragen.web.error_answers import ErrorAnswers

HTTP_STATUS: dict[type[CloudError], HTTPStatus] = {
    CloudError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.RequestError: HTTPStatus.BAD_REQUEST,
    errors.InvalidRequestError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UnknownGeneratorError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UnknownEdgeModelError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.PromptTooLongError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.LowConfidenceError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.MalformedBodyError: HTTPStatus.BAD_REQUEST,
    errors.NotAcceptableError: HTTPStatus.NOT_ACCEPTABLE,
    errors.RangeError: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    errors.UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    errors.ForbiddenError: HTTPStatus.FORBIDDEN,
    errors.UsageLimitError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.ArtifactGoneError: HTTPStatus.GONE,
    errors.ConflictError: HTTPStatus.CONFLICT,
    errors.PreconditionError: HTTPStatus.PRECONDITION_FAILED,
    errors.UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.OverloadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DrainingError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ImportBudgetError: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.StoreUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DeadlineError: HTTPStatus.GATEWAY_TIMEOUT,
    errors.GenerationError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.SigningError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.IntegrityError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""Total over the tree of errors (tested). 429 is for limits of one client: a full queue is nobody's fault."""

ERROR_ANSWERS = ErrorAnswers(HTTP_STATUS, CloudError("internal error", "report the request id to the operator"))
