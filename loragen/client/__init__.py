"""Clients of the cloud service and of devices, sync and async, and a local stack of both services."""

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
