"""A client of the service's HTTP API for the command line: retries what may be retried, verifies what it downloads."""

from collections.abc import Mapping
from typing import Any, Self

import httpx2
import stamina

from cloud_service.errors import RemoteError
from cloud_service.schemas import ErrorBody, GenerateLoraAnswer
from loragen.contract.bundle import content_id
from loragen.contract.limits import MAX_BUNDLE_BYTES

_ATTEMPTS = 5
_MAX_PAUSE_SECONDS = 60.0


class CloudClient:
    """Talks to one service.

    Args:
        url: Base URL, such as http://127.0.0.1:8080.
        timeout_seconds: Longest wait for an answer.
        transport: Replaces the network in tests.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 60, transport: httpx2.BaseTransport | None = None) -> None:
        self._http = httpx2.Client(base_url=url, timeout=timeout_seconds, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def generate(self, request: Mapping[str, Any]) -> GenerateLoraAnswer:
        """Generate a LoRA; `request` is the body of `POST /generate-lora`.

        Raises:
            RemoteError: No answer, or a refusal.
        """
        return GenerateLoraAnswer.model_validate_json(self._send("POST", "/generate-lora", json=request).content)

    def fetch(self, path: str, digest: str) -> bytes:
        """Download a bundle or a recipe.

        Raises:
            RemoteError: No answer, a refusal, or other bytes than the digest names.
        """
        data = self._send("GET", path).content
        if len(data) > MAX_BUNDLE_BYTES or content_id(data) != digest:
            raise RemoteError(f"expected bytes with sha256 {digest}, found others", "fetch again", code="integrity")
        return data

    def publish(self, channel: str, name: str, bundle_id: str) -> int:
        """Let `name` mean a bundle; returns the channel's version.

        Raises:
            RemoteError: No answer, or a refusal.
        """
        path = f"/channels/{channel}/specializations/{name}"
        version: int = self._send("PUT", path, json={"bundle_id": bundle_id}).json()["version"]
        return version

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        for attempt in stamina.retry_context(on=_pause, attempts=_ATTEMPTS, timeout=None):
            with attempt:
                return self._send_once(method, path, **options)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _send_once(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx2.TransportError as e:
            raise RemoteError(
                f"{self._http.base_url} does not answer: {type(e).__name__}",
                "is the service up? see --url",
                code="unreachable",
            ) from e
        if response.is_success:
            return response
        retry_after = response.headers.get("retry-after", "")
        raise _refusal(response, float(retry_after) if retry_after.isdecimal() else None)


def _refusal(response: httpx2.Response, retry_after_seconds: float | None) -> RemoteError:
    try:
        detail = ErrorBody.model_validate_json(response.content).error
    except ValueError:  # a proxy's page, or another service
        return RemoteError(
            f"HTTP {response.status_code} without an error body", retry_after_seconds=retry_after_seconds
        )
    message = f"{detail.message} (HTTP {response.status_code}, request {detail.request_id})"
    return RemoteError(message, detail.hint, code=detail.code, retry_after_seconds=retry_after_seconds)


def _pause(error: Exception) -> bool | float:
    # A number is how long to wait before the next attempt.
    if isinstance(error, RemoteError) and error.retry_after_seconds is not None:
        return min(error.retry_after_seconds, _MAX_PAUSE_SECONDS)
    return False
