"""The base of what a service answers with as an error, and the errors that the front of a service raises itself.

    ServiceError                base of each service's own tree
    ├── ConfigurationError      the start is refused
    └── FrontError              a request that no route answered
        ├── HttpSyntaxError     what came is no request of HTTP/1.1
        ├── PathError           nothing has this path
        ├── MethodError         the path exists and does not know the method
        ├── HostError           a request to a host that this service does not answer for
        ├── OriginError         a request by a page of another site
        ├── HeadTooLargeError   a head over the limit
        ├── MediaTypeError      a body of another type than JSON in UTF-8
        ├── BodyEncodingError   a compressed body
        ├── JsonError           JSON of which readers make different things
        ├── BodyTooLargeError   a body over the limit
        ├── BodyTimeoutError    a body that did not arrive in time
        ├── CutOffError         a request that was not answered when the time for the shutdown was over
        └── ClientGoneError     the client closed its connection before it had an answer

A front error carries its own status, which HTTP defines. The status of every other error stands in the table of its
service (`answers`). Codes and statuses are part of the interface; messages are not.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar


class ServiceError(Exception):
    """An error that a service raises on purpose.

    Args:
        message: What happened, with expected and actual. Never quotes a prompt.
        hint: What the client or operator can do about it; empty when there is nothing to say.
        code: Overrides the class's code where one class covers several conditions.
        retry_after_seconds: When to ask again; by default what the class says, which is None when that will not help.
        field: The field of the request's body that is at fault; None where none is, or none alone.
    """

    code: str = "internal"
    retry_after_seconds: float | None = None

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        code: str | None = None,
        retry_after_seconds: float | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.field = field
        if code is not None:
            self.code = code
        if retry_after_seconds is not None:
            self.retry_after_seconds = retry_after_seconds

    @property
    def headers(self) -> Mapping[str, str]:
        """What an answer over HTTP carries besides the body."""
        return {} if self.retry_after_seconds is None else {"retry-after": str(int(self.retry_after_seconds))}


class ConfigurationError(ServiceError):
    """The settings do not describe a service that can run; the message has one line for each problem."""

    code = "configuration_invalid"


class FrontError(ServiceError):
    """The front of the service ended the request."""

    status: ClassVar[int]


class HttpSyntaxError(FrontError):
    """What came is no request of HTTP/1.1."""

    code = "malformed_request"
    status = HTTPStatus.BAD_REQUEST

    def __init__(self) -> None:
        super().__init__(
            "expected a request as HTTP/1.1 has it, found something else",
            "one Host, one length of the body, and a path in ASCII; TLS only where the service has it",
        )

    @property
    def headers(self) -> Mapping[str, str]:
        # Where the next request begins is not known.
        return {"connection": "close"}


class PathError(FrontError):
    """Nothing has this path."""

    code = "not_found"
    status = HTTPStatus.NOT_FOUND


class MethodError(FrontError):
    """The path exists and does not know the method.

    Attributes:
        allowed: The methods it knows, as in the header `Allow`.
    """

    code = "method_not_allowed"
    status = HTTPStatus.METHOD_NOT_ALLOWED

    def __init__(self, allowed: str) -> None:
        super().__init__(f"expected method {allowed}, found another", "the methods of each path are at /docs")
        self.allowed = allowed

    @property
    def headers(self) -> Mapping[str, str]:
        return {"allow": self.allowed}


class HostError(FrontError):
    """The request is addressed to a host that this service does not answer for."""

    code = "host_not_allowed"
    status = HTTPStatus.MISDIRECTED_REQUEST


class OriginError(FrontError):
    """A page of another site sent the request."""

    code = "origin_not_allowed"
    status = HTTPStatus.FORBIDDEN


class HeadTooLargeError(FrontError):
    """Path and headers are longer than the limit."""

    code = "head_too_large"
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class MediaTypeError(FrontError):
    """The body has a content type that the service does not read."""

    code = "unsupported_media_type"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class BodyEncodingError(FrontError):
    """The body is compressed, or encoded otherwise."""

    code = "unsupported_content_encoding"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE

    def __init__(self, coding: str) -> None:
        super().__init__(f"expected a body as it is, found content encoding {coding[:40]!a}", "send it uncompressed")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"accept-encoding": "identity"}


class JsonError(FrontError):
    """The body is not JSON in UTF-8 that every reader understands alike."""

    code = "malformed_body"
    status = HTTPStatus.BAD_REQUEST


class BodyTooLargeError(FrontError):
    """The body is longer than the limit."""

    code = "body_too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class BodyTimeoutError(FrontError):
    """The body did not arrive in time."""

    code = "body_timeout"
    status = HTTPStatus.REQUEST_TIMEOUT


class CutOffError(FrontError):
    """The service shuts down, and this request had no answer in time."""

    code = "draining"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after_seconds = 1

    def __init__(self) -> None:
        super().__init__("the service shut down before the answer was ready", "ask again")


class ClientGoneError(FrontError):
    """The client closed its connection. Nobody reads the answer, and the status, nginx's, is only for the record."""

    code = "client_gone"
    status = 499
