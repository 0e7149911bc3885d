"""Stores: the port, and its adapters for Redis and for an embedded SQLite file."""

from cloud_service.store.port import (
    BroughtStore,
    ChannelStore,
    DeviceStore,
    LeaseStore,
    LoraStore,
    Store,
    StoredBrought,
    StoredGeneration,
    StoredLora,
    StoredReport,
    StoreLimits,
)

__all__ = [
    "BroughtStore",
    "ChannelStore",
    "DeviceStore",
    "LeaseStore",
    "LoraStore",
    "Store",
    "StoreLimits",
    "StoredBrought",
    "StoredGeneration",
    "StoredLora",
    "StoredReport",
]
