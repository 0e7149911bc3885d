"""Objects in S3, or in anything that speaks its protocol. The only file that imports obstore.

Endpoint, region and credentials come from the variables that AWS's own clients read (`AWS_ENDPOINT_URL`, `AWS_REGION`,
`AWS_ACCESS_KEY_ID`, ...), or from what the machine or pod was given: a role, a web identity. A request is repeated when
the server cannot be reached or answers 5xx, and all its tries together have the time of one call of the store.
"""

import os
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import S3Store

from cloud_service.store.bundles_apart import StoredObject
from cloud_service.store.failures import StoreFailures
from cloud_service.store.waiting import waiting
from loragen.contract.limits import MAX_BUNDLE_BYTES
from loragen.web.errors import ConfigurationError
from loragen.web.tracing import span

_T = TypeVar("_T")

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")

_RETRIES = 2
_FIRST_PAUSE = timedelta(milliseconds=100)

_PAGE = 1000
"""Objects in one answer to a listing, and in one request to delete: the most that S3 takes."""

_log = structlog.get_logger(__name__)


class S3Objects:
    """`ObjectStorage` over obstore.

    Args:
        url: `s3://bucket` or `s3://bucket/prefix`.
        timeout_seconds: For one call, with its repetitions.

    Raises:
        ConfigurationError: The URL or a variable is none that obstore takes.
    """

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._failures = StoreFailures("s3")
        most = timedelta(seconds=timeout_seconds)
        try:
            self._store = S3Store.from_url(
                url,
                client_options={
                    "timeout": most,
                    "connect_timeout": most,
                    # An operator who names an endpoint without TLS means it.
                    "allow_http": any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS),
                },
                retry_config={
                    "max_retries": _RETRIES,
                    "retry_timeout": most,
                    "backoff": {"init_backoff": _FIRST_PAUSE, "max_backoff": most, "base": 2},
                },
            )
        except (BaseError, ValueError) as e:
            reason = str(e).partition("\n")[0]
            raise ConfigurationError(f"LORAGEN_CLOUD_BUNDLE_URL: {reason}", "check it, and the variables AWS_*") from e

    async def put(self, name: str, data: bytes) -> None:
        await self._run(obstore.put_async(self._store, name, data, use_multipart=False))

    async def get(self, name: str) -> bytes | None:
        return await self._run(self._get(name))

    async def list_folder(self, folder: str) -> list[StoredObject]:
        pages = obstore.list(self._store, folder, chunk_size=_PAGE)
        found: list[StoredObject] = []
        while page := await self._run(anext(pages, [])):
            found += [StoredObject(each["path"], each["size"], each["last_modified"].timestamp()) for each in page]
        return found

    async def delete(self, names: list[str]) -> None:
        for start in range(0, len(names), _PAGE):
            await self._run(obstore.delete_async(self._store, names[start : start + _PAGE]))

    async def _get(self, name: str) -> bytes | None:
        try:
            found = await obstore.get_async(self._store, name)
        except FileNotFoundError as e:
            # S3 answers 404 for both, and only one of them means that a bundle was evicted.
            if "NoSuchBucket" in str(e):
                raise
            return None
        if found.meta["size"] > MAX_BUNDLE_BYTES:
            _log.error("stored_bundle_damaged", name=name, bytes=found.meta["size"])
            return None
        return bytes(await found.bytes_async())

    async def _run(self, call: Awaitable[_T]) -> _T:
        try:
            with span("s3", **{"rpc.system": "s3"}):
                async with waiting(self._timeout):
                    return await call
        except (BaseError, OSError, TimeoutError) as e:
            raise self._failures.unavailable(e, _reason(e)) from e


def _reason(error: Exception) -> str:
    """What obstore says of the request and of its answer, without the introduction and the notes for developers."""
    paragraph = str(error).partition("\n\nDebug source")[0]
    return " ".join(paragraph.rpartition("Error performing ")[2].split())
