"""Sends calls, sync and async: connections, attempts and waiting. What is sent and what it means is in `call`."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any, ClassVar, Generic, ParamSpec, Self, TypeVar

import httpx2
import stamina

from loragen.answer_model import AnswerModel
from loragen.client.call import Answer, ApiCall, EventReader, Receiver, refusal, translated
from loragen.client.errors import ClientError, RemoteError, WaitError
from loragen.client.retries import Deadline, pause_before_retry

P = ParamSpec("P")
T = TypeVar("T")
ClientT = TypeVar("ClientT")
TransportT = TypeVar("TransportT")

ATTEMPTS = 5
TIMEOUT_SECONDS = 60.0
DEADLINE_SECONDS = 300.0
POLL_SECONDS = 0.1


class Readiness(AnswerModel):
    """Whether a service takes requests, and why not."""

    ready: bool
    reason: str = ""


def _parse_readiness(answer: Answer) -> Readiness:
    if answer.status == httpx2.codes.OK:
        return Readiness(ready=True)
    return Readiness(ready=False, reason=str(refusal(answer)))


_READY = ApiCall("GET", "/health/ready", _parse_readiness, accepts=frozenset({503}))


class _Base(Generic[ClientT, TransportT]):
    """What both kinds of session share: the address, the limits and the form of requests.

    What differs between them in `await` alone stands in both: Python writes neither for the other.
    """

    _api_key_variable: ClassVar[str] = ""
    """Environment variable of the key that is shown when no other is given."""

    _make_http: ClassVar[Callable[..., Any]]
    """Makes the client of HTTP that sends the calls."""

    def __init__(
        self,
        url: str,
        *,
        attempts: int = ATTEMPTS,
        timeout_seconds: float = TIMEOUT_SECONDS,
        deadline_seconds: float = DEADLINE_SECONDS,
        api_key: str | None = None,
        tls: ssl.SSLContext | None = None,
        transport: TransportT | None = None,
    ) -> None:
        try:
            self.url = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise ClientError(f"expected a URL like http://127.0.0.1:8080, found {url!r}: {error}") from error
        if self.url.scheme not in ("http", "https") or not self.url.host:
            raise ClientError(f"expected a URL like http://127.0.0.1:8080, found {url!r}")
        self._most_attempts = attempts
        self._timeout_seconds = timeout_seconds
        self._deadline_seconds = deadline_seconds
        if api_key is None and self._api_key_variable:
            api_key = os.environ.get(self._api_key_variable)
        self._http: ClientT = self._make_http(
            base_url=self.url,
            timeout=timeout_seconds,
            # Bodies are taken as they are sent: nothing unfolds here, and lengths are what they seem.
            headers={"accept-encoding": "identity", **_authorization(api_key)},
            verify=tls or True,
            transport=transport,
        )

    def _attempts(self, call: ApiCall[Any], deadline: Deadline) -> Any:
        def pause(error: Exception) -> bool | float:
            return pause_before_retry(error, repeatable=call.repeatable, remaining_seconds=deadline.remaining_seconds)

        return stamina.retry_context(
            pause, attempts=self._most_attempts, timeout=None, wait_initial=0.2, wait_jitter=0.2
        )

    def _request(self, call: ApiCall[Any], deadline: Deadline) -> dict[str, Any]:
        deadline.verify()
        return {
            "method": call.method,
            "url": call.path,
            "json": call.body,
            "data": dict(call.form) or None,
            "files": {name: (name, data) for name, data in call.files.items()} or None,
            "headers": dict(call.headers),
            "timeout": min(self._timeout_seconds, deadline.remaining_seconds),
        }

    def _not_ready(self, readiness: Readiness, timeout_seconds: float) -> WaitError:
        return WaitError(f"{self.url} is not ready after {timeout_seconds:g} s: {readiness.reason}")


def _authorization(api_key: str | None) -> dict[str, str]:
    if not api_key:
        return {}
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        # Without the key itself: messages are shown and logged.
        raise ClientError("expected an API key of printable ASCII without spaces, found another", "was it quoted?")
    return {"authorization": f"Bearer {api_key}"}


class Session(_Base[httpx2.Client, httpx2.BaseTransport]):
    """A connection to one service; close it, or use it as a context manager.

    Args:
        url: Of the service, such as http://127.0.0.1:8080.
        attempts: How often one call is sent at most.
        timeout_seconds: Longest wait for a connection, and between two pieces of an answer.
        deadline_seconds: Longest time for one call in all, its repetitions and pauses included.
        api_key: Shown to the service with each call; never logged.
        tls: Whom to trust and what to show, as `ssl.create_default_context(cafile=...)` makes it; by default whom the
            system trusts, or the variable `SSL_CERT_FILE`.
        transport: Replaces the network, in tests for example.

    Raises:
        ClientError: It is not a URL, or the key cannot stand in a header.
    """

    _make_http = httpx2.Client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def readiness(self) -> Readiness:
        """Whether the service takes requests right now; a service that is not reached does not."""
        try:
            return self._send_once(_READY, Deadline(self._timeout_seconds))
        except RemoteError as error:
            return Readiness(ready=False, reason=str(error))

    def wait_until_ready(self, timeout_seconds: float = 60) -> None:
        """Return when the service takes requests.

        Raises:
            WaitError: It does not, after this time; the message says why.
        """
        deadline = Deadline(timeout_seconds)
        while not (readiness := self.readiness()).ready:
            if deadline.remaining_seconds <= 0:
                raise self._not_ready(readiness, timeout_seconds)
            time.sleep(POLL_SECONDS)

    def send(self, call: ApiCall[T]) -> T:
        """Send a call, again if need be.

        Raises:
            RemoteError: No answer, a refusal, or another answer than documented.
        """
        deadline = Deadline(self._deadline_seconds)
        for attempt in self._attempts(call, deadline):
            with attempt:
                return self._send_once(call, deadline)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def stream(self, call: ApiCall[T]) -> Iterator[T]:
        """Send a call, again if need be, and hand on the events of its answer as they come.

        Raises:
            RemoteError: As for `send`, or the stream ended early.
        """
        deadline = Deadline(self._deadline_seconds)
        with ExitStack() as stack:
            response = self._connect(call, deadline, stack)
            reader = EventReader(call, deadline)
            with translated(self.url):
                for line in response.iter_lines():
                    yield from reader.read(line)
            reader.finish()

    def _connect(self, call: ApiCall[Any], deadline: Deadline, stack: ExitStack) -> httpx2.Response:
        for attempt in self._attempts(call, deadline):
            with attempt, translated(self.url):
                response = stack.enter_context(self._open(call, deadline))
                if response.status_code != httpx2.codes.OK:
                    self._receive(call, response, deadline)  # raises the refusal
                return response
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _send_once(self, call: ApiCall[T], deadline: Deadline) -> T:
        with self._open(call, deadline) as response:
            return self._receive(call, response, deadline)

    def _receive(self, call: ApiCall[T], response: httpx2.Response, deadline: Deadline) -> T:
        with Receiver(call, response, deadline) as receiver:
            for piece in response.iter_bytes():
                receiver.write(piece)
            return receiver.finish()

    @contextmanager
    def _open(self, call: ApiCall[Any], deadline: Deadline) -> Iterator[httpx2.Response]:
        with translated(self.url), self._http.stream(**self._request(call, deadline)) as response:
            yield response


class AsyncSession(_Base[httpx2.AsyncClient, httpx2.AsyncBaseTransport]):
    """The same as `Session`, for asyncio."""

    _make_http = httpx2.AsyncClient

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def readiness(self) -> Readiness:
        """Whether the service takes requests right now; a service that is not reached does not."""
        try:
            return await self._send_once(_READY, Deadline(self._timeout_seconds))
        except RemoteError as error:
            return Readiness(ready=False, reason=str(error))

    async def wait_until_ready(self, timeout_seconds: float = 60) -> None:
        """Return when the service takes requests.

        Raises:
            WaitError: It does not, after this time; the message says why.
        """
        deadline = Deadline(timeout_seconds)
        while not (readiness := await self.readiness()).ready:
            if deadline.remaining_seconds <= 0:
                raise self._not_ready(readiness, timeout_seconds)
            await asyncio.sleep(POLL_SECONDS)

    async def send(self, call: ApiCall[T]) -> T:
        """Send a call, again if need be.

        Raises:
            RemoteError: No answer, a refusal, or another answer than documented.
        """
        deadline = Deadline(self._deadline_seconds)
        async for attempt in self._attempts(call, deadline):
            with attempt:
                return await self._send_once(call, deadline)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def stream(self, call: ApiCall[T]) -> AsyncIterator[T]:
        """Send a call, again if need be, and hand on the events of its answer as they come.

        Raises:
            RemoteError: As for `send`, or the stream ended early.
        """
        deadline = Deadline(self._deadline_seconds)
        async with AsyncExitStack() as stack:
            response = await self._connect(call, deadline, stack)
            reader = EventReader(call, deadline)
            with translated(self.url):
                async for line in response.aiter_lines():
                    for event in reader.read(line):
                        yield event
            reader.finish()

    async def _connect(self, call: ApiCall[Any], deadline: Deadline, stack: AsyncExitStack) -> httpx2.Response:
        async for attempt in self._attempts(call, deadline):
            with attempt, translated(self.url):
                response = await stack.enter_async_context(self._open(call, deadline))
                if response.status_code != httpx2.codes.OK:
                    await self._receive(call, response, deadline)  # raises the refusal
                return response
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _send_once(self, call: ApiCall[T], deadline: Deadline) -> T:
        async with self._open(call, deadline) as response:
            return await self._receive(call, response, deadline)

    async def _receive(self, call: ApiCall[T], response: httpx2.Response, deadline: Deadline) -> T:
        with Receiver(call, response, deadline) as receiver:
            # What goes to a file is written on a thread.
            do = _at_once if call.file is None else asyncio.to_thread
            async for piece in response.aiter_bytes():
                await do(receiver.write, piece)
            return await do(receiver.finish)

    @asynccontextmanager
    async def _open(self, call: ApiCall[Any], deadline: Deadline) -> AsyncIterator[httpx2.Response]:
        with translated(self.url):
            async with self._http.stream(**self._request(call, deadline)) as response:
                yield response


async def _at_once(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    return work(*args, **kwargs)
