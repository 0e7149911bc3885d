"""Values: how both ends of a quiet gRPC connection notice that the other is gone, as options of channels and servers.

A watch is silent for days, and networks forget silent connections without a word. So each end pings the other, and
gives up when no answer comes. A server takes pings that it does not expect for an attack and hangs up, so it has to
permit them: both ends take their options from here.
"""

from collections.abc import Sequence

PING_SECONDS = 20.0
"""Between two pings on a silent connection; networks forget one after a minute at the earliest."""

_ANSWER_SHARE = 0.5
"""Of that time, an answer may take: the other end is given up after 30 s."""

_PERMITTED_SHARE = 0.5
"""Of that time, must lie between two pings of a client, so that one that came late is not followed too early."""

Options = Sequence[tuple[str, int]]


def client_options(ping_seconds: float = PING_SECONDS) -> Options:
    """Options of a channel to a server that has `server_options`."""
    answer_ms = round(1_000 * ping_seconds * _ANSWER_SHARE)
    return (
        ("grpc.keepalive_time_ms", round(1_000 * ping_seconds)),
        ("grpc.keepalive_timeout_ms", answer_ms),
        # Without this one, newer versions wait a minute for the answer to a ping and ignore the line above.
        ("grpc.http2.ping_timeout_ms", answer_ms),
        # By default gRPC ends its pings after two of them without data between.
        ("grpc.http2.max_pings_without_data", 0),
    )


def server_options(ping_seconds: float = PING_SECONDS) -> Options:
    """Options of a server: it pings as well, so that the watches of devices that vanished are ended."""
    return (
        *client_options(ping_seconds),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", round(1_000 * ping_seconds * _PERMITTED_SHARE)),
    )
