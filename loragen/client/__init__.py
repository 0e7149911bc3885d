"""Clients of the cloud service and of devices, sync and async, and a local stack of both services.

Each is loaded at its first use: a device takes the errors and the rules of retries from here, and no client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loragen.client.cloud import AsyncCloudClient, CloudClient
    from loragen.client.device import AsyncDeviceClient, DeviceClient
    from loragen.client.errors import ClientError, RemoteError, StackError, WaitError
    from loragen.client.stack import LocalStack, ModelPair

__all__ = [
    "AsyncCloudClient",
    "AsyncDeviceClient",
    "ClientError",
    "CloudClient",
    "DeviceClient",
    "LocalStack",
    "ModelPair",
    "RemoteError",
    "StackError",
    "WaitError",
]

_MODULES = {
    "cloud": ("AsyncCloudClient", "CloudClient"),
    "device": ("AsyncDeviceClient", "DeviceClient"),
    "errors": ("ClientError", "RemoteError", "StackError", "WaitError"),
    "stack": ("LocalStack", "ModelPair"),
}

if not TYPE_CHECKING:  # a type checker would take every name for one of this module

    def __getattr__(name: str) -> Any:
        for module, names in _MODULES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
