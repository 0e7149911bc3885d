"""Adapter: HTTP to the cloud. Moves bytes, and bounds how many, how slowly and for how long.

Rules:
- A body is counted while it comes, and is never longer than its limit.
- A body that is compressed is refused: a small one could unfold to gigabytes on the device.
- A download goes to a file that the next attempt resumes. One that cannot be completed on this disk is not begun, and
  what an earlier attempt brought of it is deleted: it would take the place of something smaller.
- What is complete must have the announced sha256, or is deleted.

What to fetch, and what a failure means, is decided by the coordinators.
"""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx2

from edge_runtime.errors import (
    CloudStatusError,
    CloudUnreachableError,
    DigestMismatchError,
    DiskFullError,
    DownloadError,
    OutputError,
    TooLongError,
)
from edge_runtime.free_space import free_bytes
from loragen.client.retries import parse_retry_after
from loragen.contract.digest import file_sha256, sha256_hex
from loragen.contract.limits import MAX_CHANNEL_BYTES
from loragen.visible_text import visible

MAX_ETAG_CHARS = 200
"""Longest ETag to be sent back: a digest has 64 characters, and the header must stay one that any server takes."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_PORTAL = (301, 302, 303, 307, 308, 511)
"""Statuses of a network that wants a login first, and never of a cloud."""

_GATEWAY = (502, 503, 504)
"""Statuses of what stands in front of a cloud and gets no answer of it. The cloud's own 503 has a Retry-After."""

_RESUMES = 5
"""Times that one download is resumed at once, each time having come further, before it is left to the next attempt."""


@dataclass(frozen=True, slots=True)
class ChannelAnswer:
    """A channel as the cloud sent it.

    Attributes:
        document: The channel's JSON.
        etag: For the next request; None when the cloud sent none.
    """

    document: bytes
    etag: str | None


class HttpFetcher:
    """How the coordinators reach the cloud.

    Args:
        client: Its base URL is the cloud's; its time limits are those between two pieces of an answer.
        deadline_seconds: For one transfer in all.
        now: Unix seconds, to read a Retry-After that names a date.
        identify: Headers that say who asks for a channel; without them a rollout reaches this device last.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        deadline_seconds: float,
        now: Callable[[], float],
        identify: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._identify = identify
        self._client = client
        self._deadline_seconds = deadline_seconds
        self._now = now

    async def fetch_channel(self, channel: str, known: ChannelAnswer | None) -> ChannelAnswer:
        """The channel; `known` itself when it is unchanged.

        Raises:
            UpdateError: It could not be had.
        """
        etag = None if known is None else known.etag
        headers = {**self._identify(), **({"If-None-Match": etag} if etag else {})}
        async with self._get(f"/channels/{channel}", headers) as answer:
            if answer.status_code == 304 and known is not None and etag:
                return known
            self._verify_success(answer, 200)
            document = b"".join([piece async for piece in _body(answer, MAX_CHANNEL_BYTES)])
            return ChannelAnswer(document, _usable_etag(answer.headers.get("ETag")))

    async def fetch_metadata(self, url: str, max_bytes: int) -> bytes:
        """A file of a signed channel's metadata, which has yet to be verified.

        Raises:
            UpdateError: It could not be had.
        """
        async with self._get(url, {}) as answer:
            self._verify_success(answer, 200)
            return b"".join([piece async for piece in _body(answer, max_bytes)])

    async def fetch_recipe(self, recipe_id: str, size: int) -> bytes:
        """A recipe of `size` bytes; its digest is verified.

        Raises:
            UpdateError: It could not be had.
        """
        async with self._get(f"/recipes/{recipe_id}", {}) as answer:
            self._verify_success(answer, 200)
            data = b"".join([piece async for piece in _body(answer, size)])
        if len(data) < size:
            raise DownloadError(f"recipe: expected {size} bytes, got {len(data)}")
        _verify_sha256(sha256_hex(data), recipe_id, "recipe")
        return data

    async def download_bundle(self, bundle_id: str, size: int, destination: Path, spare_bytes: int = 0) -> None:
        """Bring a bundle of `size` bytes to `destination`; its digest is verified.

        Raises:
            UpdateError: It could not be had.
            OutputError: It could not be written, or would leave less than `spare_bytes` on the disk.
        """
        await self._download(f"/bundles/{bundle_id}", digest=bundle_id, limits=(size, spare_bytes), to=destination)

    async def download_bank(
        self, generator_id: str, digest: str, max_bytes: int, destination: Path, spare_bytes: int = 0
    ) -> None:
        """Bring a generator's bank to `destination`; its digest is verified.

        Raises:
            UpdateError: It could not be had, or is longer than `max_bytes`.
            OutputError: It could not be written, or would leave less than `spare_bytes` on the disk.
        """
        url = f"/generators/{generator_id}/bank"
        await self._download(url, digest=digest, limits=(max_bytes, spare_bytes), to=destination)

    async def _download(self, url: str, *, digest: str, limits: tuple[int, int], to: Path) -> None:
        partial = to.with_name(f"{digest}.part")
        try:
            async with asyncio.timeout(self._deadline_seconds):
                await self._complete(_Download(url, digest, *limits, partial), to)
        except (TooLongError, DiskFullError):
            _drop(partial)
            raise
        except TimeoutError as error:
            raise CloudUnreachableError(
                f"{url}: not complete within {self._deadline_seconds:g} s, to be resumed later",
                "the cloud or the network is slow",
            ) from error

    async def _complete(self, wanted: "_Download", destination: Path) -> None:
        partial = wanted.partial
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(_RESUMES):
                before = _size(partial)
                try:
                    await self._append(wanted)
                    break
                except (CloudUnreachableError, DownloadError):
                    if _size(partial) <= before:
                        raise
            else:
                raise DownloadError(
                    f"{wanted.url}: cut short {_RESUMES} times at {_size(partial)} bytes, to be resumed later"
                )
            found = await asyncio.to_thread(file_sha256, partial)
            if found != wanted.digest:
                partial.unlink()
                _verify_sha256(found, wanted.digest, wanted.url)
            partial.replace(destination)
        except OSError as error:
            kind = DiskFullError if error.errno in _NO_SPACE else OutputError
            raise kind(f"cannot write {destination.name}: {error.strerror or error}", "free some space") from error
        finally:
            if partial.exists() and _size(partial) == 0:
                _drop(partial)

    async def _append(self, wanted: "_Download") -> None:
        """Fetch what the partial file lacks.

        Raises:
            DownloadError: The body was cut short; what came is in the file.
            TooLongError: It is longer than allowed.
            OutputError: The disk has no room for it.
        """
        url, partial = wanted.url, wanted.partial
        have = _size(partial)
        if have > wanted.max_bytes:
            have = 0
        # The ETag of each of these files is its digest in quotes: a download of another body starts again.
        headers = {"Range": f"bytes={have}-", "If-Range": f'"{wanted.digest}"'} if have else {}
        async with self._get(url, headers) as answer:
            if answer.status_code == 416 and have:
                # Nothing is left to fetch; the digest is compared below.
                return
            if answer.status_code != 206:
                self._verify_success(answer, 200)
                have = 0
            missing = int(answer.headers.get("Content-Length", "0"))
            if have + missing > wanted.max_bytes:
                raise TooLongError(
                    f"{url}: expected at most {wanted.max_bytes} bytes, the cloud announces {have + missing}"
                )
            _verify_space(wanted, missing - (_size(partial) if have == 0 else 0))
            # Opened here: an error status must leave what an earlier attempt brought.
            with partial.open("r+b" if have else "wb") as file:
                file.seek(have)
                async for piece in _body(answer, wanted.max_bytes - have):
                    await asyncio.to_thread(file.write, piece)
                await asyncio.to_thread(_flush, file)

    @asynccontextmanager
    async def _get(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[httpx2.Response]:
        """An answer whose body has not been read.

        Raises:
            CloudUnreachableError: No answer, or none in time.
            DownloadError: The connection ended inside the body.
        """
        answered = False
        try:
            async with (
                asyncio.timeout(self._deadline_seconds),
                self._client.stream("GET", url, headers={"Accept-Encoding": "identity", **headers}) as answer,
            ):
                answered = True
                yield answer
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise CloudUnreachableError(f"{url}: no answer in time", "the cloud or the network is slow") from error
        except httpx2.HTTPError as error:
            if answered:
                raise DownloadError(f"{url}: the answer was cut short: {error}") from error
            hint = "check LORAGEN_EDGE_CLOUD_URL and the network"
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                hint = (
                    "is this device's clock right, the cloud's certificate good, and its authority known to the device?"
                )
            raise CloudUnreachableError(f"{url}: {str(error) or type(error).__name__}", hint) from error

    def _verify_success(self, answer: httpx2.Response, expected: int) -> None:
        status = answer.status_code
        found = f"{answer.request.url.path}: expected status {expected}, the cloud answers {status}"
        is_page = status == expected and answer.headers.get("Content-Type", "").startswith("text/html")
        if is_page or status in _PORTAL:
            raise CloudUnreachableError(
                f"{found}{', with a page' if is_page else ''}",
                "does something in between want a login, as in a hotel, or has the cloud's address changed?",
            )
        if status == expected:
            return
        if status in (401, 403):
            hint = "is LORAGEN_EDGE_CLOUD_API_KEY a key of this device, and still good? "
        else:
            hint = ""
        request_id = visible(answer.headers.get("X-Request-ID", "(none)")[:64])
        wait = parse_retry_after(answer.headers.get("Retry-After"), self._now())
        if status in _GATEWAY and wait is None:
            raise CloudUnreachableError(found, "what stands in front of the cloud gets no answer of it")
        raise CloudStatusError(
            found if wait is None else f"{found} and asks for a pause of {wait:.0f} s",
            f"{hint}the cloud's log has more, under its request id {request_id}",
            status=status,
            retry_after_seconds=wait,
        )


@dataclass(frozen=True, slots=True)
class _Download:
    """What is fetched into which partial file.

    Attributes:
        max_bytes: Longest body.
        spare_bytes: What must be left on the disk afterwards.
    """

    url: str
    digest: str
    max_bytes: int
    spare_bytes: int
    partial: Path


def _verify_space(wanted: _Download, more_bytes: int) -> None:
    free = free_bytes(wanted.partial.parent)
    if more_bytes + wanted.spare_bytes > free:
        raise DiskFullError(
            f"{wanted.url}: {more_bytes} bytes more, beside {wanted.spare_bytes} that are needed for other files, do "
            f"not fit the {free} that are free",
            "free some space; a bank that does not fit is not fetched, and bundles are fetched instead",
        )


def _drop(partial: Path) -> None:
    with suppress(OSError):
        partial.unlink(missing_ok=True)


async def _body(answer: httpx2.Response, max_bytes: int) -> AsyncIterator[bytes]:
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise DownloadError(f"expected a body as it is, the cloud sends it encoded as {encoding[:40]!r}")
    count = 0
    async for piece in answer.aiter_raw():
        count += len(piece)
        if count > max_bytes:
            raise TooLongError(f"{answer.request.url.path}: expected at most {max_bytes} bytes, there are more")
        yield piece
    announced = answer.headers.get("Content-Length")
    if announced is not None and count != int(announced):
        raise DownloadError(f"{answer.request.url.path}: expected {announced} bytes, got {count}")


def _usable_etag(etag: str | None) -> str | None:
    """An ETag that can be sent back; without one the channel is asked for in full."""
    return etag if etag and len(etag) <= MAX_ETAG_CHARS and etag.isascii() and etag.isprintable() else None


def _verify_sha256(found: str, expected: str, what: str) -> None:
    if found != expected:
        raise DigestMismatchError(f"{what}: expected sha256 {expected}, found {found}", "it is fetched anew")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
