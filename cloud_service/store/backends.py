"""Choice of the store, and of the place for bundles: the scheme of a URL names the adapter.

A new adapter is a line in `BACKENDS` or `BUNDLE_BACKENDS`, and a mention in `STORE_URLS` or `BUNDLE_URLS`.
"""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from cloud_service.store.bundles_apart import ObjectStorage
from cloud_service.store.port import Store, StoreLimits
from loragen.web.errors import ConfigurationError

_SQLITE = "sqlite:///"


def _open_sqlite(url: str, limits: StoreLimits) -> Store:
    from cloud_service.store.sqlite import SqliteStore

    return SqliteStore(Path(url.removeprefix(_SQLITE)), limits)


def _open_redis(url: str, limits: StoreLimits) -> Store:
    from cloud_service.store.redis import RedisStore

    return RedisStore(url, limits)


def _open_s3(url: str, timeout_seconds: float) -> ObjectStorage:
    try:
        from cloud_service.store.s3 import S3Objects
    except ModuleNotFoundError as e:
        raise ConfigurationError(
            f"LORAGEN_CLOUD_BUNDLE_URL: the package {e.name} is not installed", "pip install 'loragen[s3]'"
        ) from e
    return S3Objects(url, timeout_seconds)


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

BUNDLE_BACKENDS: dict[str, Callable[[str, float], ObjectStorage]] = {"s3": _open_s3}
"""By scheme, what opens object storage for bundles, with the time for one call."""

BUNDLE_URLS = "s3://bucket or s3://bucket/prefix"
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


def verify_bundle_url(url: str) -> str:
    """The URL. Raises ValueError when no object storage takes it."""
    parts = urlsplit(url)
    is_bucket = parts.netloc and parts.netloc == parts.hostname
    if parts.scheme not in BUNDLE_BACKENDS or not is_bucket or parts.query or parts.fragment:
        raise ValueError(f"expected {BUNDLE_URLS}, and credentials in the variables AWS_*")
    return url


def open_objects(url: str, timeout_seconds: float) -> ObjectStorage:
    """Object storage at a URL that `verify_bundle_url` passed.

    Raises:
        ConfigurationError: What it needs is not installed, or its variables are no good.
    """
    return BUNDLE_BACKENDS[urlsplit(url).scheme](url, timeout_seconds)
