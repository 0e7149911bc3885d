"""The connection to Redis or Valkey (7 or later). The only file that imports redis.

All keys begin with `{loragen}:`, and scripts make the names of some, so it has to be one server: not a cluster, nor
Dragonfly, which refuses such scripts. What the keys are is decided by `redis` and by the modules beside it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import RedisError

from cloud_service.errors import StoreUnavailableError
from cloud_service.store.failures import StoreFailures
from cloud_service.store.waiting import waiting
from loragen.web.errors import ConfigurationError
from loragen.web.tracing import span

PREFIX = "{loragen}:"

_OLDEST = 7

_MAX_CONNECTIONS = 32
"""Of one process. Redis answers one command at a time, so with more connections calls would only wait there."""


class RedisServer:
    """A pool of connections.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        timeout_seconds: For one call: for a free connection, a new one and the answer together.

    Attributes:
        client: Makes the calls that `run` awaits.
    """

    def __init__(self, url: str, timeout_seconds: float) -> None:
        # A call that finds no free connection waits; with the plain pool it would fail at once.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            health_check_interval=30,
            # A connection of the pool may have ended meanwhile, with the server for example. Then the call is made once
            # more, on a new one. Every script may run twice.
            retry=Retry(NoBackoff(), 1, supported_errors=(LostConnectionError,)),
        )
        # redis-py types its blocking and its asyncio client alike, so mypy cannot know what is awaitable.
        self.client: Any = Redis.from_pool(pool)
        self._timeout = timeout_seconds
        self._failures = StoreFailures("redis")

    def script(self, source: str) -> Callable[..., Any]:
        """A Lua script; called with `keys` and `args`."""
        return cast(Callable[..., Any], self.client.register_script(source))

    async def run(self, call: Any) -> Any:
        """Await a call of the client or of a script.

        Raises:
            StoreUnavailableError: It failed, or was not answered in time.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        cancelling = task.cancelling()
        try:
            with span("redis", **{"db.system.name": "redis"}):
                async with waiting(self._timeout):
                    answer = await cast(Awaitable[Any], call)
                    # redis-py sends by `asyncio.wait_for`, which before Python 3.12 loses a cancellation, that of a
                    # time-out too, when it comes just after the command was sent. Whoever waits for the end of what
                    # it cancelled would wait for ever.
                    if task.cancelling() > cancelling:
                        raise asyncio.CancelledError
                    return answer
        except (RedisError, OSError, TimeoutError) as e:
            raise self._failures.unavailable(e) from e

    async def verify_supported(self) -> None:
        """Return when this code works with the server, or the server does not say what it is.

        Raises:
            ConfigurationError: It does not.
        """
        try:
            about = await self.run(self.client.info("server"))
        except StoreUnavailableError:
            return  # it is away, which readiness tells, or may not be asked
        mode, version = about.get("redis_mode", "standalone"), str(about.get("redis_version", ""))
        major = version.partition(".")[0]
        if any(name.startswith("dragonfly") for name in about):
            found = "Dragonfly"
        elif mode != "standalone":
            found = f"Redis {mode.capitalize()}"
        elif major.isdecimal() and int(major) < _OLDEST:
            found = f"Redis {version}"
        else:
            return
        raise ConfigurationError(
            f"expected one server of Redis or Valkey, {_OLDEST} or later, found {found}",
            "point LORAGEN_CLOUD_STORE_URL at one without cluster mode; replicas of it may take over",
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self.client.aclose()


def key(kind: str, name: str) -> str:
    """The key of something."""
    return f"{PREFIX}{kind}:{name}"
