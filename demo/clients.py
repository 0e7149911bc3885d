"""Adapters: the cloud service and a device over HTTP, as any client would use them.

They know the two services' JSON and nothing of tasks files, scores or tables.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx2

from demo.errors import ServiceError, WaitError

REQUEST_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Generated:
    """What the cloud service answered for one task description.

    Attributes:
        generate_ms: The forward pass alone, in milliseconds; 0 when nothing was generated for this answer.
        cached: The answer came from the store.
    """

    bundle_id: str
    bundle_bytes: int
    recipe_bytes: int
    generate_ms: float
    cached: bool


@dataclass(frozen=True, slots=True)
class Merged:
    """A specialization that a device serves from merged weights.

    Attributes:
        delta_survival: Share of the LoRA's change that survived quantization, the smallest over the tensors.
    """

    bundle_id: str
    merge_seconds: float
    delta_retained_delta: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a device; `seconds` is the client's clock around the whole request."""

    text: str
    prompt_tokens: int
    seconds: float


class _Client:
    def __init__(self, service: str, url: str, transport: httpx2.BaseTransport | None = None) -> None:
        self._service = service
        self._http = httpx2.Client(base_url=url, timeout=REQUEST_TIMEOUT_SECONDS, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def is_ready(self) -> bool:
        """Whether `/health/ready` answers 200 right now."""
        try:
            return self._http.get("/health/ready").status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """The JSON answer.

        Raises:
            ServiceError: No answer, an error status, or an answer that is no JSON.
        """
        try:
            response = self._http.request(method, path, json=body)
            if response.is_error:
                raise ServiceError(f"{self._service}: {method} {path}: {response.status_code}: {_reason(response)}")
            return response.json()
        except (httpx2.TransportError, json.JSONDecodeError) as error:
            raise ServiceError(f"{self._service}: {method} {path}: {type(error).__name__}: {error}") from error

    def _unexpected(self, answer: object, error: Exception) -> ServiceError:
        return ServiceError(f"{self._service}: unexpected answer ({type(error).__name__}: {error}): {answer!s:.500}")


class CloudClient(_Client):
    """The cloud service."""

    def __init__(self, url: str, transport: httpx2.BaseTransport | None = None) -> None:
        super().__init__(f"cloud service at {url}", url, transport)

    def generate(self, request: Mapping[str, object], channel: str, name: str) -> Generated:
        """Posts a task description and publishes its bundle to a channel.

        Raises:
            ServiceError: The service refused or did not answer as documented.
        """
        body = {**request, "publish": {"channel": channel, "name": name}}
        answer = self._call("POST", "/generate-lora", body)
        try:
            return Generated(
                bundle_id=str(answer["id"]),
                bundle_bytes=int(answer["bundle_bytes"]),
                recipe_bytes=int(answer["recipe_bytes"]),
                generate_ms=float(answer["timings"]["generate_ms"]),
                cached=bool(answer["cached"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._unexpected(answer, error) from error


class DeviceClient(_Client):
    """A device's OpenAI-compatible API."""

    def __init__(self, url: str, transport: httpx2.BaseTransport | None = None) -> None:
        super().__init__(f"device at {url}", url, transport)

    def wait_until_merged(self, name: str, bundle_id: str, timeout_seconds: float) -> Merged:
        """Waits until the device serves exactly this bundle under this name, from merged weights.

        Raises:
            ServiceError: The device does not answer as documented.
            WaitError: It did not happen in time; the message tells how far it got.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            models = self._call("GET", "/v1/models")
            try:
                entry = next((model for model in models["data"] if model["id"] == name), None)
                if entry and entry["state"] == "merged" and entry["bundle_id"] == bundle_id:
                    return Merged(bundle_id, float(entry["merge_seconds"]), float(entry["retained_delta"]))
            except (KeyError, TypeError, ValueError) as error:
                raise self._unexpected(models, error) from error
            if time.monotonic() > deadline:
                seen = f"bundle {entry['bundle_id']}, {entry['state']}: {entry.get('message')}" if entry else "absent"
                wanted = f"{name!r} merged with bundle {bundle_id}"
                raise WaitError(f"{self._service}: no {wanted} after {timeout_seconds:g} s; it is {seen}")
            time.sleep(POLL_SECONDS)

    def answer(
        self, model: str, user: str, max_tokens: int, system: str | None = None, choices: Sequence[str] = ()
    ) -> Answer:
        """One greedy answer of a model to a user's input, one of the choices where there are any.

        Raises:
            ServiceError: The device refused or did not answer as documented.
        """
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": user})
        body: dict[str, object] = {"model": model, "messages": messages, "temperature": 0, "max_tokens": max_tokens}
        if choices:
            body["structured_outputs"] = {"choice": list(choices)}
        start = time.perf_counter()
        answer = self._call("POST", "/v1/chat/completions", body)
        seconds = time.perf_counter() - start
        try:
            text = answer["choices"][0]["message"]["content"]
            return Answer(str(text), int(answer["usage"]["prompt_tokens"]), seconds)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._unexpected(answer, error) from error


def _reason(response: httpx2.Response) -> str:
    try:
        error = response.json()["error"]
        return f"{error['message']} ({error['hint']})" if error.get("hint") else str(error["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.text[:500]
