"""Errors of the cloud service.

    CloudError
    ├── RequestError                   the client must change something
    │   ├── InvalidRequestError        a field is missing, malformed or over its limit
    │   │   ├── UnknownGeneratorError  no generator of this name is loaded
    │   │   ├── UnknownEdgeModelError  no loaded generator serves this edge model
    │   │   ├── PromptTooLongError     the rendered prompt does not fit the prompt encoder
    │   │   └── LowConfidenceError     a strict request on which the generator has low confidence
    │   ├── MalformedBodyError         the body is not JSON, or not UTF-8
    │   ├── NotAcceptableError         the client accepts none of the media types on offer
    │   ├── RangeError                 a range outside the artifact
    │   ├── UnauthenticatedError       no key, or none that is known
    │   ├── ForbiddenError             the key is not good for this
    │   ├── UsageLimitError            the key has used up what it may use for now
    │   ├── NotFoundError              no such resource
    │   │   └── ArtifactGoneError      a bundle that was evicted, and whose bank is not loaded
    │   ├── ConflictError              other writers were always faster, or what there is forbids it
    │   └── PreconditionError          the channel is not at the version the client named
    ├── UnavailableError               try again later
    │   ├── OverloadedError            the queue is full
    │   ├── DrainingError              the process is shutting down
    │   ├── ImportBudgetError         no room for another of the users' own LoRAs
    │   └── StoreUnavailableError      the store does not answer
    ├── DeadlineError                  no answer in time
    ├── GenerationError                the model failed on this request
    ├── SigningError                   the keys of a signed channel will not do
    └── IntegrityError                 stored bytes are not those of their id

`loragen.contract.errors.ContractError` is translated where it is caught: only the caller knows whose fault it is.
Codes are part of the interface; messages are not. `http.status` and `grpc.status` decide which status an error becomes.
What the front of an HTTP service refuses by itself, and what stops the start, is in `loragen.web.errors`.
"""

from collections.abc import Mapping
from typing import Literal, Self

from loragen.web.errors import ServiceError


class CloudError(ServiceError):
    """Base of every error this package raises on purpose."""


class RequestError(CloudError):
    """The request cannot be carried out as it is."""

    code = "bad_request"


class InvalidRequestError(RequestError):
    """A field is missing, malformed or over its limit."""

    code = "invalid_request"


class UnknownGeneratorError(InvalidRequestError):
    """No generator of this name is loaded."""

    code = "unknown_generator"


class UnknownEdgeModelError(InvalidRequestError):
    """No loaded generator serves this edge model."""

    code = "unknown_edge_model"


class PromptTooLongError(InvalidRequestError):
    """The rendered prompt does not fit the prompt encoder, or costs more to read than a prompt that does."""

    code = "prompt_too_long"

    def __init__(self, found: int, limit: int, unit: Literal["tokens", "characters"]) -> None:
        super().__init__(
            f"expected a prompt of at most {limit} {unit}, found {found}",
            "shorten the description, or send fewer examples or tools",
        )


class LowConfidenceError(InvalidRequestError):
    """A strict request on which the generator has low confidence."""

    code = "low_confidence"


class MalformedBodyError(RequestError):
    """The body is not JSON, or not UTF-8."""

    code = "malformed_body"


class NotAcceptableError(RequestError):
    """The client accepts none of the media types on offer."""

    code = "not_acceptable"


class RangeError(RequestError):
    """The range lies outside the artifact.

    Attributes:
        size: Length of the artifact in bytes.
    """

    code = "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"expected a range within 0-{size - 1}, found one outside")
        self.size = size

    @property
    def headers(self) -> Mapping[str, str]:
        return {"content-range": f"bytes */{self.size}"}


class UnauthenticatedError(RequestError):
    """The call shows no API key, or none that is known."""

    code = "unauthenticated"

    @property
    def headers(self) -> Mapping[str, str]:
        # RFC 6750: no error code when there was no key at all.
        error = "" if self.code == "unauthenticated" else ', error="invalid_token"'
        return {"www-authenticate": f'Bearer realm="loragen"{error}'}


class ForbiddenError(RequestError):
    """The API key is known, and not good for this.

    Attributes:
        scopes: Those of which one is missing; empty when that is not the reason.
    """

    code = "forbidden"
    scopes: tuple[str, ...] = ()

    @classmethod
    def of_scope(cls, *scopes: str) -> Self:
        """The key has none of these scopes."""
        wanted = " or ".join(scopes)
        error = cls(f"expected a key with the scope {wanted}", "ask an admin for one", code="missing_scope")
        error.scopes = scopes
        return error

    @property
    def headers(self) -> Mapping[str, str]:
        scope = f', error="insufficient_scope", scope="{" ".join(self.scopes)}"' if self.scopes else ""
        return {"www-authenticate": f'Bearer realm="loragen"{scope}'}


class UsageLimitError(RequestError):
    """The API key has used up what it may use for now.

    Attributes:
        policy: The limit, as the header `RateLimit-Policy` says it; empty for one that no time lifts.
        state: What is left of it, as the header `RateLimit` says it.
    """

    code = "rate_limited"
    policy: str = ""
    state: str = ""

    @property
    def headers(self) -> Mapping[str, str]:
        limits = {"ratelimit-policy": self.policy, "ratelimit": self.state} if self.policy else {}
        return {**super().headers, **limits}


class NotFoundError(RequestError):
    """No such resource."""

    code = "not_found"


class ArtifactGoneError(NotFoundError):
    """A bundle that was evicted and cannot be rebuilt, because no loaded generator has its bank."""

    code = "bundle_gone"


class ConflictError(RequestError):
    """Other writers were faster, each time that the change was tried; or what there is already forbids it."""

    code = "conflict"


class PreconditionError(RequestError):
    """The channel is not at the version that the client named."""

    code = "precondition_failed"


class UnavailableError(CloudError):
    """The service cannot take the request now."""

    code = "unavailable"
    retry_after_seconds: float = 1


class OverloadedError(UnavailableError):
    """The queue in front of the model, or another bounded resource, is full."""

    code = "overloaded"


class DrainingError(UnavailableError):
    """The process is shutting down: it finishes accepted requests and takes no new ones."""

    code = "draining"


class ImportBudgetError(UnavailableError):
    """The budget for users' own LoRAs is used up."""

    code = "import_budget_used_up"
    retry_after_seconds: float = 3600


class StoreUnavailableError(UnavailableError):
    """The store does not answer, or refuses to write."""

    code = "store_unavailable"


class DeadlineError(CloudError):
    """The answer was not ready in time."""

    code = "deadline_exceeded"


class GenerationError(CloudError):
    """The model failed on this request; others are not affected."""

    code = "generation_failed"


class SigningError(CloudError):
    """The keys of a signed channel are missing, damaged or of another root."""

    code = "signing_failed"


class IntegrityError(CloudError):
    """Stored or rebuilt bytes are not those that their id names."""

    code = "integrity"
