"""What both services share, and what users import: `from loragen import CloudClient, DeviceClient`.

The clients are loaded at their first use, so that `loragen.contract` alone needs no network library.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loragen.client import (
        AsyncCloudClient,
        AsyncDeviceClient,
        ClientError,
        CloudClient,
        DeviceClient,
        LocalStack,
        RemoteError,
    )

__all__ = [
    "AsyncCloudClient",
    "AsyncDeviceClient",
    "ClientError",
    "CloudClient",
    "DeviceClient",
    "LocalStack",
    "RemoteError",
]

if not TYPE_CHECKING:  # a type checker would take every name for one of this module

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from loragen import client

        return getattr(client, name)
