"""The API key that a device shows to its cloud, from the settings or from a file that may change.

The key is never in a log, a message or a `repr`.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Protocol

import httpx2
import structlog

from edge_runtime.config import EdgeSettings
from loragen.web.errors import ConfigurationError

_log = structlog.get_logger(__name__)

_MAX_CHARS = 8_192
"""A bearer token of an identity provider may have some thousand characters."""


class ApiKeySource(Protocol):
    """Where the key comes from."""

    def __call__(self) -> str | None:
        """The key as it is now; None for none."""
        ...


class FixedKey:
    """A key that stays the same."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self) -> str | None:
        return self._key


NO_KEY = FixedKey(None)


class KeyFile:
    """A key in a file, which is read again when it was written.

    Args:
        path: The file. One that cannot be read later on leaves the last key in force.

    Raises:
        ConfigurationError: The file has no key now.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._key = ""
        try:
            self._read()
        except (OSError, ValueError) as error:
            # Without the error's text: that of a ValueError may quote the file.
            reason = error.strerror if isinstance(error, OSError) else "expected one key on one line"
            raise ConfigurationError(
                f"LORAGEN_EDGE_CLOUD_API_KEY_FILE: {path}: {reason}", "write the API key of this device into the file"
            ) from None

    def __call__(self) -> str | None:
        try:
            self._read()
        except (OSError, ValueError) as error:
            _log.warning("api_key_file_unreadable", path=str(self._path), reason=type(error).__name__)
        return self._key

    def _read(self) -> None:
        about = self._path.stat()
        seen = (about.st_mtime_ns, about.st_size)
        if seen == self._seen:
            return
        self._key = verify_key(self._path.read_text(encoding="ascii").strip())
        self._seen = seen


class BearerAuth(httpx2.Auth):
    """Shows the key with each request to the cloud."""

    def __init__(self, source: ApiKeySource) -> None:
        self._source = source

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """What httpx2 asks for: the request with its header."""
        if key := self._source():
            request.headers["Authorization"] = f"Bearer {key}"
        yield request


def key_source(settings: EdgeSettings) -> ApiKeySource:
    """The key that the settings name.

    Raises:
        ConfigurationError: It cannot be one.
    """
    if settings.cloud_api_key_file is not None:
        return KeyFile(settings.cloud_api_key_file)
    if settings.cloud_api_key is None:
        return NO_KEY
    try:
        return FixedKey(verify_key(settings.cloud_api_key.get_secret_value()))
    except ValueError:
        raise ConfigurationError(
            "LORAGEN_EDGE_CLOUD_API_KEY: expected printable ASCII without spaces", "was the key quoted?"
        ) from None


def verify_key(key: str) -> str:
    """The key itself.

    Raises:
        ValueError: It cannot stand in a header.
    """
    if not key or len(key) > _MAX_CHARS or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("expected one API key")
    return key
