"""Choice of the store: the scheme of its URL names the adapter.

A new adapter is a line in `BACKENDS`, and a mention in `STORE_URLS`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloud_service.store.port import Store
from loragen.web.errors import ConfigurationError

_SQLITE = "sqlite:///"


def _open_sqlite(url: str, **options: Any) -> Store:
    from cloud_service.store.sqlite import SqliteStore

    return SqliteStore(Path(url.removeprefix(_SQLITE)), **options)


def _open_redis(url: str, **options: Any) -> Store:
    from cloud_service.store.redis import RedisStore

    return RedisStore(url, **options)


BACKENDS: dict[str, Callable[..., Store]] = {
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


def open_store(
    url: str,
    *,
    bundle_budget_bytes: int,
    recipe_ttl_seconds: float,
    device_ttl_seconds: float,
    timeout_seconds: float,
) -> Store:
    """The store at a URL.

    Args:
        url: `sqlite:///path`, or one that redis-py takes.
        bundle_budget_bytes: Largest sum of the lengths of all bundles.
        recipe_ttl_seconds: How long an unpublished recipe outlives the last generation request for it.
        device_ttl_seconds: How long a silent device stays listed.
        timeout_seconds: Longest wait for one answer.

    Raises:
        ConfigurationError: The URL is malformed.
        StoreUnavailableError: The store cannot be opened.
    """
    try:
        verify_store_url(url)
        return BACKENDS[url.partition("://")[0]](
            url,
            bundle_budget_bytes=bundle_budget_bytes,
            recipe_ttl_seconds=recipe_ttl_seconds,
            device_ttl_seconds=device_ttl_seconds,
            timeout_seconds=timeout_seconds,
        )
    except ValueError as e:
        # Without the cause's message: it may quote the URL, and a password in it.
        raise ConfigurationError("LORAGEN_CLOUD_STORE_URL: not a URL of a store") from e
