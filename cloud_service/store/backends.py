"""Choice of the store: the scheme of its URL names the adapter.

A new adapter is a line in `BACKENDS`, and a mention in `STORE_URLS`.
"""

from collections.abc import Callable
from pathlib import Path

from cloud_service.store.port import Store, StoreLimits
from loragen.web.errors import ConfigurationError

_SQLITE = "sqlite:///"


def _open_sqlite(url: str, limits: StoreLimits) -> Store:
    from cloud_service.store.sqlite import SqliteStore

    return SqliteStore(Path(url.removeprefix(_SQLITE)), limits)


def _open_redis(url: str, limits: StoreLimits) -> Store:
    from cloud_service.store.redis import RedisStore

    return RedisStore(url, limits)


BACKENDS: dict[str, Callable[[str, StoreLimits], Store]] = {
    "sqlite": _open_sqlite,
    "redis": _open_redis,
    "rediss": _open_redis,
    "unix": _open_redis,
}
"""By scheme, what opens a store. Each imports its adapter only when it is chosen."""

STORE_URLS = (
    "sqlite:///relative/path or sqlite:////absolute/path for one machine; "
    "redis://..., rediss://... or unix://... for one that replicas share"
)
"""What the settings say of these URLs."""


def verify_store_url(url: str) -> None:
    """Raises ValueError when no adapter takes the URL. The message leaves out the URL, which may hold a password."""
    scheme = url.partition("://")[0]
    if scheme not in BACKENDS or "://" not in url:
        raise ValueError(f"expected a URL that starts with {', '.join(f'{each}://' for each in BACKENDS)}")
    if scheme == "sqlite" and (not url.startswith(_SQLITE) or url == _SQLITE):
        raise ValueError("expected sqlite:///relative/path or sqlite:////absolute/path")


def open_store(url: str, limits: StoreLimits) -> Store:
    """The store at a URL: `sqlite:///path`, or one that redis-py takes.

    Raises:
        ConfigurationError: The URL is malformed.
        StoreUnavailableError: The store cannot be opened.
    """
    try:
        verify_store_url(url)
        return BACKENDS[url.partition("://")[0]](url, limits)
    except ValueError as e:
        # Without the cause's message: it may quote the URL, and a password in it.
        raise ConfigurationError("LORAGEN_CLOUD_STORE_URL: not a URL of a store") from e
