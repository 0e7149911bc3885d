"""An HTTP server that the program starts and stops, with bounded connections, over uvicorn.

Bounds:
- The handshake of TLS must be done within `_HANDSHAKE_SECONDS`.
- A request must be there within `_REQUEST_SECONDS`, head and body; its head has at most 16 KiB.
- An answer of which the client reads less than `_MIN_BYTES_READ` in `_READ_SECONDS` is broken off.
- Connections, those in the handshake among them, take at most half of the file descriptors; the other half is for what
  the service does besides: models, downloads, the store, gRPC. When that half is full, the connection is closed that
  has waited longest for its client. So idle clients and slow readers shut nobody out, health probes least of all.

How long an answer takes has no limit here.
"""

import asyncio
import contextlib
import json
import logging
import os
import resource
import socket
import ssl
import sys
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import h11
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import Server

from loragen.web.error_answers import error_fields
from loragen.web.errors import ConfigurationError, HttpSyntaxError
from loragen.web.joined_writes import JoinedWrites
from loragen.web.scope import new_request_id
from loragen.web.tls import ServerTls

_HANDSHAKE_SECONDS = 10
"""Four messages, none of them long. asyncio allows 60 s, and uvicorn has no setting for it."""

_GOODBYE_SECONDS = 5
"""For a client to answer the end of TLS; asyncio allows 30 s."""

_REQUEST_SECONDS = 30.0
"""For a request to arrive: the longest body, 4 MiB, needs 140 kB/s. Apache allows 20 to 40 s for the head alone."""

_READ_SECONDS = 30.0
_MIN_BYTES_READ = 64 * 1024
"""Of an answer, in `_READ_SECONDS`: 2 kB/s. A client that reads less holds a connection and a buffer for nothing."""

_PATIENCE_SECONDS = 1.0
"""A connection that has waited less than this for its client does not make room for others."""

_MAX_BACKLOG = 2_048
"""Connections that wait to be accepted, uvicorn's own default."""


class HttpServer:
    """Serves an application on a listening socket until `stop`.

    Args:
        app: The application.
        listener: What `listen` returned; closed at the end.
        shutdown_timeout_seconds: For requests in flight after `stop`; then they are cut off.
        tls: For HTTPS; None for HTTP.
        trusted_proxies: Addresses and networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. Anybody
            can send these headers, so nobody's are by default, those of programs on the same machine among them.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        shutdown_timeout_seconds: int,
        tls: ServerTls | None = None,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        self._listener = listener
        self._server = _Server(
            Config(
                app,
                lifespan="off",
                ws="none",
                # Of uvicorn's two parsers only this one bounds the head of a request. TLS is below it, and uvicorn sees
                # none: it looks at a connection when the handshake is done.
                http=_protocol(None if tls is None else tls.context),  # type: ignore[arg-type]
                backlog=_backlog(),
                log_config=None,
                access_log=False,
                server_header=False,
                # Without a list, uvicorn would believe loopback, and a variable of its own.
                proxy_headers=bool(trusted_proxies),
                forwarded_allow_ips=list(trusted_proxies),
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


def end_process() -> None:
    """End this process now. Python itself would wait for threads, and a model's thread cannot be interrupted."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


def _protocol(context: ssl.SSLContext | None) -> Callable[..., asyncio.BaseProtocol]:
    """What makes the protocol of a new connection."""

    def make(**options: Any) -> asyncio.BaseProtocol:
        http = _BoundedH11(**options)
        return http if context is None else _BoundedTls(http, context)

    return make


def descriptor_limit() -> int | None:
    """Most file descriptors that this process may open; None without a limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit


def _backlog() -> int:
    # asyncio accepts all waiting connections before any of them can be refused. So they must fit into the half of the
    # descriptors that is not for connections.
    limit = descriptor_limit()
    return _MAX_BACKLOG if limit is None else max(1, min(_MAX_BACKLOG, limit // 16))


class _Server(Server):
    """uvicorn without signal handlers: signals mean the whole process, not this part of it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _BoundedH11(H11Protocol):
    """Hangs up on clients that do not send their request or do not read their answer.

    The time runs only while the client is to do something. uvicorn itself waits for ever for the rest of a request and
    for a client to read, and looks at its own limit of connections when a request has arrived.
    """

    _deadline: asyncio.TimerHandle | None = None
    _request_since: float | None = None
    _reading: asyncio.TimerHandle | None = None
    _waits_since: float | None = None

    def accepted(self, transport: asyncio.Transport) -> None:
        """There is a connection; over TLS the handshake is still to come."""
        self.transport = transport
        self.connections.add(self)
        limit = descriptor_limit()
        if limit is not None and len(self.connections) > limit // 2 and not self._make_room():
            transport.abort()
        self._waits_since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if self not in self.connections:
            self.accepted(transport)
        super().connection_made(transport)
        self._writes = JoinedWrites(transport, self.loop)
        self.transport = cast(asyncio.Transport, self._writes)
        self._watch_request()

    def handle_events(self) -> None:
        super().handle_events()
        self._watch_request()

    def on_response_complete(self) -> None:
        self._writes.flush()
        super().on_response_complete()
        self._watch_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._waits_since = self.loop.time()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget_reader()

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()  # amid an answer
            return
        error, request_id = HttpSyntaxError(), new_request_id(None)
        body = json.dumps({"error": error_fields(error, request_id)}).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), "x-request-id": request_id}
        headers |= {"cache-control": "no-store", **error.headers}
        for event in (
            h11.Response(status_code=error.status, headers=list(headers.items()), reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        self._forget_reader()
        super().connection_lost(exc)

    def _watch_request(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            if self._request_since is not None:
                self._request_since = self._waits_since = None
        elif self._request_since is None and not self.transport.is_closing():
            self._request_since = self._waits_since = self.loop.time()
            if self._deadline is None:
                self._deadline = self.loop.call_later(_REQUEST_SECONDS, self._verify_request)

    def _verify_request(self) -> None:
        # One timer for many requests: to set and cancel one for each takes longer than to look again later.
        self._deadline = None
        if self._request_since is None:
            return
        left = self._request_since + _REQUEST_SECONDS - self.loop.time()
        if left > 0:
            self._deadline = self.loop.call_later(left, self._verify_request)
            return
        # `close` and not `abort`: the client may still be reading the answer to its request before this one, of which
        # the system's buffers hold the end. Closing sends that first; aborting would throw it away.
        self.transport.close()

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = self._request_since = self._waits_since = None

    def _watch_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(_READ_SECONDS, self._verify_reader, unread)

    def _verify_reader(self, unread_before: int) -> None:
        if self.transport.get_write_buffer_size() > unread_before - _MIN_BYTES_READ:
            self.transport.abort()
        else:
            self._watch_reader()

    def _forget_reader(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = self._waits_since = None

    def _make_room(self) -> bool:
        """Close the connection that has waited longest for its client; False when none waits."""
        latest = self.loop.time() - _PATIENCE_SECONDS
        waiting = [
            (other._waits_since, id(other), other)
            for other in self.connections
            if isinstance(other, _BoundedH11) and other._waits_since is not None and other._waits_since <= latest
        ]
        if not waiting:
            return False
        _, _, longest = min(waiting)
        longest.transport.abort()
        return True


class _BoundedTls(SSLProtocol):
    """TLS below a connection, which counts from its beginning on and not from the end of the handshake."""

    def __init__(self, http: _BoundedH11, context: ssl.SSLContext) -> None:
        super().__init__(
            http.loop,
            http,
            context,
            None,  # type: ignore[arg-type] # nobody waits for the end of the handshake
            server_side=True,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=_GOODBYE_SECONDS,
        )
        self._http = http

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._http.accepted(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        # `http` hears of it only when there was a whole handshake.
        self._http.connections.discard(self._http)
