"""Stores: the port, and its adapters for Redis and for an embedded SQLite file."""

from cloud_service.store.port import (
    ChannelStore,
    DeviceStore,
    ImportStore,
    LeaseStore,
    LoraStore,
    Store,
    StoredGeneration,
    StoredImport,
    StoredLora,
    StoredReport,
    StoreLimits,
)

__all__ = [
    "ChannelStore",
    "DeviceStore",
    "ImportStore",
    "LeaseStore",
    "LoraStore",
    "Store",
    "StoreLimits",
    "StoredGeneration",
    "StoredImport",
    "StoredLora",
    "StoredReport",
]
