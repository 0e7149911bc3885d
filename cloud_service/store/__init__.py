"""Stores: the port, and its adapters for Redis and for an embedded SQLite file."""

from cloud_service.store.fleet import (
    ChannelEntry,
    ChannelRow,
    ChannelStore,
    DeviceEntry,
    DeviceStore,
    PinStore,
    StoredEvent,
    StoredVersion,
)
from cloud_service.store.imports import ImportStore, StoredImport
from cloud_service.store.jobs import JobStore, StoredJob
from cloud_service.store.port import (
    LeaseStore,
    LoraStore,
    Store,
    StoredGeneration,
    StoredLora,
    StoredRecipe,
    StoreLimits,
)

__all__ = [
    "ChannelEntry",
    "ChannelRow",
    "ChannelStore",
    "DeviceEntry",
    "DeviceStore",
    "ImportStore",
    "JobStore",
    "LeaseStore",
    "LoraStore",
    "PinStore",
    "Store",
    "StoreLimits",
    "StoredEvent",
    "StoredGeneration",
    "StoredImport",
    "StoredJob",
    "StoredLora",
    "StoredRecipe",
    "StoredVersion",
]
