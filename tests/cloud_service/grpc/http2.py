"""Helper: a few frames of HTTP/2 (RFC 9113), for a client that does what the library of gRPC never would."""

import struct

_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4
_INITIAL_WINDOW_SIZE = 4


def begin(window: int) -> bytes:
    """What a client sends first; of each answer it takes so many bytes until it says more."""
    settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, window)
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, settings)


def call(stream: int, path: str, message: bytes) -> bytes:
    """A whole call of gRPC with its message, without compression of any kind."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost"}
    fields |= {"content-type": "application/grpc", "te": "trailers"}
    head = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())
    data = b"\0" + struct.pack(">I", len(message)) + message
    return _frame(_HEADERS, _END_HEADERS, stream, head) + _frame(_DATA, _END_STREAM, stream, data)


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("ascii")  # up to 126 bytes


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + struct.pack(">I", stream) + payload
