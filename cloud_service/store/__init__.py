"""Stores: the port, and its adapters for Redis and for an embedded SQLite file."""

from cloud_service.store.fleet import (
    ChannelEvent,
    ChannelRow,
    ChannelStore,
    DeviceEntry,
    DeviceStore,
    ListedChannel,
    PinStore,
    StoredVersion,
)
from cloud_service.store.jobs import JobStore, StoredJob
from cloud_service.store.port import (
    ImportStore,
    LeaseStore,
    LoraStore,
    Store,
    StoredGeneration,
    StoredImport,
    StoredLora,
    StoredRecipe,
    StoreLimits,
)

__all__ = [
    "ChannelEvent",
    "ChannelRow",
    "ChannelStore",
    "DeviceEntry",
    "DeviceStore",
    "ImportStore",
    "JobStore",
    "LeaseStore",
    "ListedChannel",
    "LoraStore",
    "PinStore",
    "Store",
    "StoreLimits",
    "StoredGeneration",
    "StoredImport",
    "StoredJob",
    "StoredLora",
    "StoredRecipe",
    "StoredVersion",
]
