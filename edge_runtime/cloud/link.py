"""The port between the daemon and the cloud beside polling. `edge_runtime.cloud.rpc` implements it over gRPC.

It is a module of its own, so that a device without gRPC does not load the library, which takes 10 MB.
"""

from typing import Protocol

from loragen.device_answers import DeviceStatus


class CloudLink(Protocol):
    """What the daemon needs of the cloud beside polling."""

    async def watch(self, known_version: int) -> bool:
        """Listen until the channel has a version other than `known_version`; False when listening has failed."""
        ...

    async def report(self, status: DeviceStatus) -> None:
        """Tell the cloud what the device runs, unless it knows that; failures are ignored."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...
