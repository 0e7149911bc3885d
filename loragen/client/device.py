"""Clients of a device. What each method takes and gives is in `loragen.client.device_calls`."""

import asyncio
import time

from loragen.client import device_calls as calls
from loragen.client.errors import WaitError
from loragen.client.methods import sends, sends_async, streams, streams_async
from loragen.client.retries import Deadline
from loragen.client.session import POLL_SECONDS, AsyncSession, Session
from loragen.device_answers import ServedModel

SERVING_SECONDS = 120.0


class DeviceClient(Session):
    """Asks a device for answers, and what it serves.

    Example:
        >>> with DeviceClient("http://127.0.0.1:8090") as device:
        ...     device.wait_until_serving("reviews", answer.id)
        ...     print(device.chat("reviews", "Dull from start to finish.").text)
    """

    models = sends(calls.models)
    model = sends(calls.model)
    status = sends(calls.status)
    chat = sends(calls.chat)
    stream_chat = streams(calls.stream_chat)
    complete = sends(calls.complete)
    stream_complete = streams(calls.stream_complete)

    def wait_until_serving(
        self, name: str, either_id: str, *, merged: bool = False, timeout_seconds: float = SERVING_SECONDS
    ) -> ServedModel:
        """Return when the device serves exactly this bundle under this name.

        Args:
            name: Of the specialization.
            either_id: Of the bundle, or of the recipe that made it: what `CloudClient.generate` answered with.
            merged: Wait for merged weights. Otherwise a LoRA that is attached at run time is enough: a device merges
                some of its specializations only.
            timeout_seconds: Longest wait.

        Raises:
            WaitError: It did not happen in time; the message says how far the device came.
            RemoteError: The device does not answer.
        """
        deadline = Deadline(timeout_seconds)
        while True:
            found, seen = calls.find_serving(self.models(), name, either_id, merged=merged)
            if found is not None:
                return found
            if deadline.remaining_seconds <= 0:
                raise _late(either_id, timeout_seconds, seen)
            time.sleep(POLL_SECONDS)


class AsyncDeviceClient(AsyncSession):
    """The same as `DeviceClient`, for asyncio.

    Example:
        >>> async with AsyncDeviceClient("http://127.0.0.1:8090") as device:
        ...     async for chunk in device.stream_chat("reviews", "Dull from start to finish."):
        ...         print(chunk.text, end="")
    """

    models = sends_async(calls.models)
    model = sends_async(calls.model)
    status = sends_async(calls.status)
    chat = sends_async(calls.chat)
    stream_chat = streams_async(calls.stream_chat)
    complete = sends_async(calls.complete)
    stream_complete = streams_async(calls.stream_complete)

    async def wait_until_serving(
        self, name: str, either_id: str, *, merged: bool = False, timeout_seconds: float = SERVING_SECONDS
    ) -> ServedModel:
        """Return when the device serves exactly this bundle under this name, as `DeviceClient` does."""
        deadline = Deadline(timeout_seconds)
        while True:
            found, seen = calls.find_serving(await self.models(), name, either_id, merged=merged)
            if found is not None:
                return found
            if deadline.remaining_seconds <= 0:
                raise _late(either_id, timeout_seconds, seen)
            await asyncio.sleep(POLL_SECONDS)


def _late(either_id: str, timeout_seconds: float, seen: str) -> WaitError:
    return WaitError(f"expected {either_id} to serve after {timeout_seconds:g} s; {seen}")
