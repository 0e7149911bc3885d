"""An HTTP server that the program starts and stops, with bounded connections, over uvicorn.

Bounds: a request must be there within `_REQUEST_SECONDS`, head and body; its head has at most 16 KiB; connections take
at most half of the file descriptors. The other half is for what the service does besides: models, downloads, the store,
gRPC. Answers have no time limit here.
"""

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import Iterator

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from loragen.web.errors import ConfigurationError

_REQUEST_SECONDS = 30.0
"""For a request to arrive: the longest body, 4 MiB, needs 140 kB/s. Apache allows 20 to 40 s for the head alone."""

_MAX_BACKLOG = 2_048
"""Connections that wait to be accepted, uvicorn's own default."""


class HttpServer:
    """Serves an application on a listening socket until `stop`.

    Args:
        app: The application.
        listener: What `listen` returned; closed at the end.
        shutdown_timeout_seconds: For requests in flight after `stop`; then they are cut off.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket, shutdown_timeout_seconds: int) -> None:
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",
                # Of uvicorn's two parsers only this one bounds the head of a request.
                http=_BoundedH11,
                backlog=_backlog(),
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=shutdown_timeout_seconds,
            )
        )

    @property
    def port(self) -> int:
        """The port, which the system may have chosen."""
        port: int = self._listener.getsockname()[1]
        return port

    async def run(self) -> None:
        """Serve until `stop`, then until the requests in flight are answered or cut off."""
        await self._server.serve(sockets=[self._listener])

    def stop(self) -> None:
        """Take no new connections, and let `run` return soon."""
        self._server.should_exit = True


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A TCP socket that listens; port 0 lets the system choose.

    Args:
        host: Address.
        port: Port.
        setting: What the port is set with, for the hint.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it small answers wait 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_backlog())
    except OSError as e:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {e.strerror}", f"set {setting} to a free port"
        ) from e
    return listener


@contextlib.contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _descriptors() -> int | None:
    """Most file descriptors that this process may open; None without a limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit


def _backlog() -> int:
    # asyncio accepts all waiting connections before any of them can be refused. So they must fit into the half of the
    # descriptors that is not for connections.
    limit = _descriptors()
    return _MAX_BACKLOG if limit is None else max(1, min(_MAX_BACKLOG, limit // 16))


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: signals mean the whole process, not this part of it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _BoundedH11(H11Protocol):
    """Hangs up on clients that do not send their request, and on new ones once half of the descriptors are taken.

    The time runs only while the client is to send. uvicorn itself waits for ever for the rest of a request, and looks
    at its own limit of connections when a request has arrived.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        limit = _descriptors()
        if limit is not None and len(self.connections) > limit // 2:
            transport.abort()
        self._watch_request()

    def handle_events(self) -> None:
        super().handle_events()
        self._watch_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _watch_request(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._forget_deadline()
        elif self._deadline is None and not self.transport.is_closing():
            # `close` and not `abort`: the client may still be reading the answer to its request before this one, of
            # which the system's buffers hold the end. Closing sends that first; aborting would throw it away.
            self._deadline = self.loop.call_later(_REQUEST_SECONDS, self.transport.close)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
