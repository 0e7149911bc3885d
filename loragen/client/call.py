"""One call of a service as a value: what is sent, within which limits the answer is taken, and what it means.

Sync and async clients share all of this; only the waiting differs (`loragen.client.session`).
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote, urljoin

import httpx2
from pydantic import TypeAdapter, ValidationError

from loragen.answer_model import AnswerModel
from loragen.client.errors import RemoteError
from loragen.client.retries import DISCONNECTED, UNREACHABLE, Deadline, parse_retry_after
from loragen.contract.atomic import atomic_path
from loragen.contract.errors import ContractError

T = TypeVar("T")

MAX_JSON_BYTES = 16 * 1024 * 1024
"""Longest answer that is JSON: the gates of the largest generator as text take 10 MB."""

MAX_REFUSAL_BYTES = 64 * 1024

_SHOWN_FAULTS = 3


class _ErrorDetail(AnswerModel):
    code: str
    message: str
    hint: str = ""
    request_id: str = ""
    documentation_url: str = ""


class _ErrorBody(AnswerModel):
    error: _ErrorDetail


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the service at `url`; `body` is empty when it went to a file."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = ""


@dataclass(frozen=True, slots=True)
class ApiCall(Generic[T]):
    """One call of a service.

    Attributes:
        path: Below the service's URL.
        parse: What the answer means; for a stream of events, what each of them means. May raise ValueError.
        body: Sent as JSON; None for a request without one.
        form: Fields of a form, sent with the files; empty for a request without one.
        files: Files of a form, by the name of their field.
        max_bytes: Longest body of an answer.
        accepts: Statuses that are an answer, beside 200.
        repeatable: Whether it does no harm when the service carries it out twice.
        file: Where the body of a 200 goes, once its sha256 is found to be what the entity tag says.
    """

    method: str
    path: str
    parse: Callable[[Answer], T]
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = MAX_JSON_BYTES
    accepts: frozenset[int] = frozenset()
    repeatable: bool = True
    file: Path | None = None
    form: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def path_of(*parts: str) -> str:
    """A path of which each part is quoted."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def as_model(model: type[T]) -> Callable[[Answer], T]:
    """The parser of an answer that is JSON; the model is a pydantic model or a dataclass."""
    return lambda answer: TypeAdapter(model).validate_json(answer.body)


def entity_digest(headers: Mapping[str, str]) -> str:
    """The sha256 that the entity tag of a bundle, a recipe, a bank or a channel is."""
    return headers.get("etag", "").removeprefix("W/").strip('"')


def verify_sha256(found: str, expected: str, what: object) -> None:
    """Do nothing when the digests are equal.

    Raises:
        RemoteError: They are not.
    """
    if found != expected:
        raise RemoteError(f"{what}: expected sha256 {expected}, found {found}", "fetch it again", code="integrity")


class Receiver(Generic[T]):
    """Takes the body of one answer, piece by piece, in memory or in the call's file.

    Left without `finish`, it leaves the file as it was.
    """

    def __init__(self, call: ApiCall[T], response: httpx2.Response, deadline: Deadline) -> None:
        self._call = call
        self._response = response
        self._deadline = deadline
        self._body = bytearray()
        self._bytes = 0
        self._sha256 = hashlib.sha256()
        self._accepted = response.status_code == httpx2.codes.OK or response.status_code in call.accepts
        self._max_bytes = call.max_bytes if self._accepted else MAX_REFUSAL_BYTES
        self._stack = ExitStack()
        self._write = self._body.extend
        if call.file is not None and response.status_code == httpx2.codes.OK:
            temporary = self._stack.enter_context(atomic_path(call.file))
            self._write = self._stack.enter_context(temporary.open("wb")).write  # type: ignore[assignment]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def write(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            RemoteError: The answer is too long, or its time is over.
            OSError: The file cannot be written.
        """
        self._deadline.verify()
        self._bytes += len(piece)
        if self._bytes > self._max_bytes:
            message = f"{self._call}: expected at most {self._max_bytes} bytes, the answer has more"
            raise RemoteError(message, code="unexpected_answer", status=self._response.status_code)
        self._sha256.update(piece)
        self._write(piece)

    def finish(self) -> T:
        """What the answer means.

        Raises:
            RemoteError: It is a refusal, it is not as documented, or its bytes do not match its entity tag.
            OSError: The file cannot be written.
        """
        response = self._response
        answer = Answer(response.status_code, response.headers, bytes(self._body))
        if not self._accepted:
            raise refusal(replace(answer, url=str(response.url)))
        if self._call.file is not None and answer.status == httpx2.codes.OK:
            verify_sha256(self._sha256.hexdigest(), entity_digest(answer.headers), self._call)
        result = parse(self._call, answer)
        self._stack.close()
        return result


class EventReader(Generic[T]):
    """Reads server-sent events, line by line."""

    def __init__(self, call: ApiCall[T], deadline: Deadline) -> None:
        self._call = call
        self._deadline = deadline
        self._ended = False

    def read(self, line: str) -> list[T]:
        """The event in a line, if there is one.

        Raises:
            RemoteError: The event is an error, or not as documented, or the time is over.
        """
        self._deadline.verify()
        data = line.removeprefix("data:").strip()
        if data == line.strip() or self._ended:  # a blank line, a comment or another field
            return []
        if data == "[DONE]":
            self._ended = True
            return []
        answer = Answer(httpx2.codes.OK, {}, data.encode())
        if data.startswith('{"error"'):
            raise refusal(answer)
        return [parse(self._call, answer)]

    def finish(self) -> None:
        """Do nothing when the stream came to its end.

        Raises:
            RemoteError: It was cut short.
        """
        if not self._ended:
            raise RemoteError(f"{self._call}: the stream ended before its last event", code=DISCONNECTED)


def parse(call: ApiCall[T], answer: Answer) -> T:
    """What an answer means.

    Raises:
        RemoteError: It is not as documented.
    """
    try:
        return call.parse(answer)
    except (ValueError, ContractError) as error:
        message = f"{call}: unexpected answer: {_describe(error)}"
        raise RemoteError(message, code="unexpected_answer", status=answer.status) from error


def refusal(answer: Answer) -> RemoteError:
    """The error that a service's answer stands for."""
    retry_after = parse_retry_after(answer.headers.get("retry-after"), time.time())
    try:
        detail = _ErrorBody.model_validate_json(answer.body).error
    except ValidationError:  # a proxy's page, or another service
        return RemoteError(
            "the answer has no error body",
            "does the URL name the service?",
            code="unexpected_answer",
            status=answer.status,
            retry_after_seconds=retry_after,
        )
    return RemoteError(
        detail.message,
        detail.hint,
        code=detail.code,
        status=answer.status,
        request_id=detail.request_id,
        documentation_url=detail.documentation_url and urljoin(answer.url, detail.documentation_url),
        retry_after_seconds=retry_after,
    )


@contextmanager
def translated(url: httpx2.URL) -> Iterator[None]:
    """Turn what the transport raises into `RemoteError`."""
    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
        raise RemoteError(
            f"{url} does not answer: {_describe(error)}", "is the service up?", code=UNREACHABLE
        ) from error
    except httpx2.TimeoutException as error:
        raise RemoteError(f"{url} did not answer in time: {_describe(error)}", code="timeout") from error
    except httpx2.HTTPError as error:
        raise RemoteError(f"{url} broke off: {_describe(error)}", code=DISCONNECTED) from error


def _describe(error: Exception) -> str:
    if isinstance(error, ValidationError):
        faults = error.errors(include_url=False, include_input=False)[:_SHOWN_FAULTS]
        return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in faults)
    return f"{type(error).__name__}{': ' if str(error) else ''}{error}"
