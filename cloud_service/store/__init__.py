"""Stores: the port, and its adapters for Redis and for an embedded SQLite file."""

from cloud_service.store.port import (
    ChannelStore,
    DeviceStore,
    LeaseStore,
    LoraStore,
    Store,
    StoredGeneration,
    StoredLora,
    StoredReport,
    StoreLimits,
)

__all__ = [
    "ChannelStore",
    "DeviceStore",
    "LeaseStore",
    "LoraStore",
    "Store",
    "StoreLimits",
    "StoredGeneration",
    "StoredLora",
    "StoredReport",
]
