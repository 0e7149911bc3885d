"""What can go wrong for a client.

ClientError
├── RemoteError    a service refused, did not answer, or answered otherwise than documented
├── WaitError      something did not happen in time
└── StackError     a service of a local stack did not start, or ended
"""


class ClientError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: What happened.
        hint: What can be done about it; empty when there is nothing to say.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class RemoteError(ClientError):
    """A service refused a call, did not answer it, or answered otherwise than documented.

    Attributes:
        code: A stable word for programs: the service's own (`overloaded`, `not_found`, ...), or one of this package's:
            `unreachable` (no connection), `disconnected` (it ended before the answer did), `timeout`, `integrity`
            (other bytes than the digest names) and `unexpected_answer`.
        message: What happened, as the service says it.
        hint: What can be done about it, as the service says it.
        status: HTTP status; None when there was no answer.
        documentation_url: Where the service says what the code means; empty when it did not say.
        request_id: What the service's log calls the request; empty when it did not say.
        retry_after_seconds: When the service wants to be asked again; None when it did not say.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        code: str,
        status: int | None = None,
        request_id: str = "",
        retry_after_seconds: float | None = None,
        documentation_url: str = "",
    ) -> None:
        answer = f" (HTTP {status}{', request ' if request_id else ''}{request_id})" if status else ""
        super().__init__(f"{message}{answer}", hint)
        self.code = code
        self.message = message
        self.status = status
        self.request_id = request_id
        self.documentation_url = documentation_url
        self.retry_after_seconds = retry_after_seconds


class WaitError(ClientError):
    """Something did not happen in time; the message says how far it came."""


class StackError(ClientError):
    """A service of a local stack did not start, or ended; the message has the end of its log."""
