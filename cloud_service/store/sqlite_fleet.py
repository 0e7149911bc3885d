"""Channels and devices in the SQLite file. A change of a channel syncs the disk before it answers."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cloud_service.store.access import Share
from cloud_service.store.fleet import ChannelEntry, ChannelRow, DeviceEntry, StoredEvent, StoredVersion, places
from cloud_service.store.sqlite_file import SqliteFile
from loragen.contract.digest import sha256_hex

_NEVER_US = 2**62
"""A time, in microseconds since 1970, that no report is stored at."""

# Short columns come before the blobs, so that a scan does not read these.
FLEET_SCHEMA = """
CREATE TABLE channels (
    name TEXT PRIMARY KEY, revision INTEGER NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL,
    changed INTEGER NOT NULL, rolling INTEGER NOT NULL, rollout BLOB NOT NULL, document BLOB NOT NULL
);
CREATE INDEX channels_rolling ON channels (name, revision) WHERE rolling;
CREATE TABLE channel_versions (
    channel TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL, action TEXT NOT NULL, detail TEXT NOT NULL,
    stored INTEGER NOT NULL, bytes INTEGER NOT NULL, document BLOB NOT NULL,
    PRIMARY KEY (channel, version)
);
CREATE INDEX versions_bytes ON channel_versions (channel, bytes);
CREATE TABLE channel_events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, action TEXT NOT NULL, detail TEXT NOT NULL,
    version INTEGER NOT NULL, at INTEGER NOT NULL
);
CREATE INDEX events_of_channel ON channel_events (channel, number);
CREATE TABLE devices (
    channel TEXT NOT NULL, device_id TEXT NOT NULL, reported INTEGER NOT NULL, version INTEGER NOT NULL,
    failed TEXT NOT NULL, labels TEXT NOT NULL, slower TEXT NOT NULL, places INTEGER NOT NULL, report BLOB NOT NULL,
    PRIMARY KEY (channel, device_id)
);
CREATE INDEX devices_reported ON devices (reported);
CREATE INDEX devices_of_channel ON devices (channel, reported, places);
CREATE INDEX devices_of_tenant ON devices (substr(channel, 1, instr(channel, '.')), reported);
"""


class SqliteChannels:
    """`ChannelStore` in a file."""

    def __init__(
        self,
        file: SqliteFile,
        most_versions: int,
        most_events: int,
        most_of_tenant: int,
        most_events_of_tenant: int,
        most_bytes: int,
    ) -> None:
        self._most_of_tenant, self._most_bytes = most_of_tenant, most_bytes
        self._most_events_of_tenant = most_events_of_tenant
        self._file = file
        self._db = file.db
        self._most_versions = most_versions
        self._most_events = most_events

    async def load(self, name: str) -> bytes | None:
        row = await self._one("SELECT document FROM channels WHERE name = ? AND digest <> ''", name)
        return None if row is None else bytes(row[0])

    async def load_digest(self, name: str) -> str | None:
        row = await self._one("SELECT digest FROM channels WHERE name = ? AND digest <> ''", name)
        return None if row is None else str(row[0])

    async def load_version(self, name: str) -> int | None:
        row = await self._one("SELECT version FROM channels WHERE name = ? AND digest <> ''", name)
        return None if row is None else int(row[0])

    async def load_row(self, name: str) -> ChannelRow:
        row = await self._one("SELECT revision, version, document, rollout, rolling FROM channels WHERE name = ?", name)
        if row is None:
            return ChannelRow()
        revision, version, document, rollout, rolling = row
        return ChannelRow(revision, version, document, rollout, bool(rolling))

    async def write(self, name: str, row: ChannelRow, event: StoredEvent, tenant: str = "") -> bool:
        def write() -> bool:
            if row.document and not self._is_listed(name) and self._is_full(tenant):
                return False
            now = time.time_ns() // 1_000
            digest = sha256_hex(row.document) if row.document else ""
            values = (row.revision, row.version, digest, now, row.rolling, row.rollout, row.document, name)
            fields = ("revision", "version", "digest", "changed", "rolling", "rollout", "document")
            if row.revision == 1:
                statement = (
                    f"INSERT OR IGNORE INTO channels ({', '.join(fields)}, name) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                )
            else:
                settings = ", ".join(f"{field} = ?" for field in fields)
                statement = f"UPDATE channels SET {settings} WHERE name = ? AND revision = {row.revision - 1:d}"
            if self._db.execute(statement, values).rowcount != 1:
                return False
            self._keep(name, row, digest, event, now)
            if tenant and self._most_bytes and row.document:
                self._forget_versions_beyond_bytes(name, row.version, tenant)
            if tenant and self._most_events_of_tenant:
                self._forget_events_beyond(name, tenant)
            if tenant and self._most_of_tenant and not row.document:
                self._forget_oldest_deleted(tenant)
            return True

        return await self._file.change(write, durable=True)

    async def share(self, tenant: str) -> Share:
        return Share(await self._file.run(lambda: self._count(tenant)), self._most_of_tenant)

    async def list_channels(self, limit: int, after: str = "") -> list[ChannelEntry]:
        statement = (
            "SELECT name, version, digest, changed, rolling FROM channels WHERE name > ? AND digest <> ''"
            " ORDER BY name LIMIT ?"
        )
        rows = await self._file.run(lambda: self._db.execute(statement, (after, limit)).fetchall())
        return [
            ChannelEntry(name, version, digest, changed_at, bool(rolling))
            for name, version, digest, changed_at, rolling in rows
        ]

    async def list_rolling(self) -> Mapping[str, int]:
        statement = "SELECT name, revision FROM channels WHERE rolling"
        return dict(await self._file.run(lambda: self._db.execute(statement).fetchall()))

    async def list_versions(self, name: str) -> list[StoredVersion]:
        statement = (
            "SELECT version, digest, action, detail, stored FROM channel_versions WHERE channel = ?"
            " ORDER BY version DESC"
        )
        rows = await self._file.run(lambda: self._db.execute(statement, (name,)).fetchall())
        return [
            StoredVersion(version, digest, StoredEvent(action, detail, version, stored))
            for version, digest, action, detail, stored in rows
        ]

    async def load_kept(self, name: str, version: int) -> bytes | None:
        row = await self._one("SELECT document FROM channel_versions WHERE channel = ? AND version = ?", name, version)
        return None if row is None else bytes(row[0])

    async def list_events(self, name: str) -> list[StoredEvent]:
        statement = "SELECT action, detail, version, at FROM channel_events WHERE channel = ? ORDER BY number DESC"
        rows = await self._file.run(lambda: self._db.execute(statement, (name,)).fetchall())
        return [StoredEvent(*row) for row in rows]

    async def list_deleted(self, before: int) -> list[str]:
        statement = "SELECT name FROM channels WHERE digest = '' AND changed < ? ORDER BY name"
        rows = await self._file.run(lambda: self._db.execute(statement, (before,)).fetchall())
        return [str(name) for (name,) in rows]

    async def forget(self, name: str, before: int) -> bool:
        def forget() -> bool:
            statement = "DELETE FROM channels WHERE name = ? AND digest = '' AND changed < ?"
            if self._db.execute(statement, (name, before)).rowcount != 1:
                return False
            self._db.execute("DELETE FROM channel_events WHERE channel = ?", (name,))
            return True

        return await self._file.change(forget, durable=True)

    def _forget_oldest_deleted(self, tenant: str) -> None:
        deleted = (
            "SELECT name FROM channels WHERE name > ? AND name < ? AND digest = '' ORDER BY changed DESC"
            " LIMIT -1 OFFSET ?"
        )
        for (name,) in self._db.execute(deleted, (*_names_of(tenant), self._most_of_tenant)).fetchall():
            self._db.execute("DELETE FROM channels WHERE name = ?", (name,))
            self._db.execute("DELETE FROM channel_events WHERE channel = ?", (name,))

    def _is_full(self, tenant: str) -> bool:
        return bool(tenant and self._most_of_tenant) and self._count(tenant) >= self._most_of_tenant

    def _is_listed(self, name: str) -> bool:
        statement = "SELECT 1 FROM channels WHERE name = ? AND digest <> ''"
        return self._db.execute(statement, (name,)).fetchone() is not None

    def _count(self, tenant: str) -> int:
        statement = "SELECT count(*) FROM channels WHERE name > ? AND name < ? AND digest <> ''"
        return int(self._db.execute(statement, _names_of(tenant)).fetchone()[0])

    def _keep(self, name: str, row: ChannelRow, digest: str, event: StoredEvent, now: int) -> None:
        self._db.execute(
            "INSERT INTO channel_events (channel, action, detail, version, at) VALUES (?, ?, ?, ?, ?)",
            (name, event.action, event.detail, event.version, now),
        )
        self._db.execute(
            "DELETE FROM channel_events WHERE channel = ? AND number <= (SELECT number FROM channel_events"
            " WHERE channel = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (name, name, self._most_events),
        )
        if not row.document:
            self._db.execute("DELETE FROM channel_versions WHERE channel = ?", (name,))
            return
        self._db.execute(
            "INSERT OR IGNORE INTO channel_versions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (name, row.version, digest, event.action, event.detail, now, len(row.document), row.document),
        )
        self._db.execute(
            "DELETE FROM channel_versions WHERE channel = ? AND version <= (SELECT version FROM channel_versions"
            " WHERE channel = ? ORDER BY version DESC LIMIT 1 OFFSET ?)",
            (name, name, self._most_versions),
        )

    def _forget_versions_beyond_bytes(self, name: str, version: int, tenant: str) -> None:
        kept = "SELECT coalesce(sum(bytes), 0) FROM channel_versions WHERE channel > ? AND channel < ?"
        excess = int(self._db.execute(kept, _names_of(tenant)).fetchone()[0]) - self._most_bytes
        if excess <= 0:
            return
        older = "SELECT version, bytes FROM channel_versions WHERE channel = ? AND version < ? ORDER BY version"
        for oldest, size in self._db.execute(older, (name, version)).fetchall():
            self._db.execute("DELETE FROM channel_versions WHERE channel = ? AND version = ?", (name, oldest))
            excess -= size
            if excess <= 0:
                return

    def _forget_events_beyond(self, name: str, tenant: str) -> None:
        statement = "SELECT count(*) FROM channel_events WHERE channel > ? AND channel < ?"
        excess = int(self._db.execute(statement, _names_of(tenant)).fetchone()[0]) - self._most_events_of_tenant
        if excess > 0:
            self._db.execute(
                "DELETE FROM channel_events WHERE number IN (SELECT number FROM channel_events WHERE channel = ?"
                " AND number < (SELECT max(number) FROM channel_events WHERE channel = ?) ORDER BY number LIMIT ?)",
                (name, name, excess),
            )

    async def _one(self, statement: str, *values: object) -> Any:
        return await self._file.run(lambda: self._db.execute(statement, values).fetchone())


class SqliteDevices:
    """`DeviceStore` in a file."""

    def __init__(self, file: SqliteFile, ttl_seconds: float, most_devices: int, most_of_tenant: int) -> None:
        self._most_of_tenant = most_of_tenant
        self._file = file
        self._db = file.db
        self._ttl_us = round(ttl_seconds * 1e6)
        self._most_devices = most_devices

    async def store(self, entry: DeviceEntry, report: bytes, tenant: str = "") -> bool:
        def store() -> bool:
            now = time.time_ns() // 1_000
            about = (json.dumps(entry.failed), json.dumps(dict(entry.labels)), json.dumps(entry.slower))
            self._db.execute("DELETE FROM devices WHERE reported <= ?", (now - self._ttl_us,))
            # In this order: a report of a device that is known, and no longer than the last one, counts no others.
            more = places(report) - self._places_of(entry)
            if more > 0 and tenant and Share(self._count(tenant), self._most_of_tenant).lacks(more):
                return False
            self._db.execute(
                "INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (entry.channel, entry.device_id, now, entry.version, *about, places(report), report),
            )
            self._db.execute(
                "DELETE FROM devices WHERE channel = ? AND reported <="
                " (SELECT reported FROM devices WHERE channel = ? ORDER BY reported DESC LIMIT 1 OFFSET ?)",
                (entry.channel, entry.channel, self._most_devices),
            )
            return True

        return await self._file.change(store)

    async def share(self, tenant: str) -> Share:
        return Share(await self._file.run(lambda: self._count(tenant)), self._most_of_tenant)

    async def scan(
        self, channel: str | None, limit: int, before: int | None = None, tenant: str = ""
    ) -> list[DeviceEntry]:
        def scan() -> list[DeviceEntry]:
            oldest, newest = time.time_ns() // 1_000 - self._ttl_us, _NEVER_US if before is None else before
            condition, values = ("", ()) if channel is None else ("channel = ? AND ", (channel,))
            if channel is None and tenant:
                condition, values = "substr(channel, 1, instr(channel, '.')) = ? AND ", (f"{tenant}.",)
            rows = self._db.execute(
                f"SELECT channel, device_id, version, failed, labels, slower, reported FROM devices WHERE {condition}"
                "reported > ? AND reported < ? ORDER BY reported DESC LIMIT ?",
                (*values, oldest, newest, limit),
            )
            return [_entry(*row) for row in rows]

        return await self._file.run(scan)

    async def load_reports(self, entries: Sequence[DeviceEntry]) -> list[bytes]:
        def load() -> list[bytes]:
            statement = "SELECT report FROM devices WHERE channel = ? AND device_id = ?"
            rows = (self._db.execute(statement, (each.channel, each.device_id)).fetchone() for each in entries)
            return [b"" if row is None else bytes(row[0]) for row in rows]

        return await self._file.run(load)

    async def delete(self, channel: str, device_id: str) -> bool:
        def delete() -> bool:
            statement = "DELETE FROM devices WHERE channel = ? AND device_id = ?"
            return self._db.execute(statement, (channel, device_id)).rowcount == 1

        return await self._file.change(delete)

    async def prune(self) -> None:
        """Take away the devices that went silent."""
        oldest = time.time_ns() // 1_000 - self._ttl_us
        await self._file.change(lambda: self._db.execute("DELETE FROM devices WHERE reported <= ?", (oldest,)))

    def _places_of(self, entry: DeviceEntry) -> int:
        statement = "SELECT coalesce(sum(places), 0) FROM devices WHERE channel = ? AND device_id = ?"
        return int(self._db.execute(statement, (entry.channel, entry.device_id)).fetchone()[0])

    def _count(self, tenant: str) -> int:
        statement = "SELECT coalesce(sum(places), 0) FROM devices WHERE channel > ? AND channel < ? AND reported > ?"
        values = (*_names_of(tenant), time.time_ns() // 1_000 - self._ttl_us)
        return int(self._db.execute(statement, values).fetchone()[0])


def _names_of(tenant: str) -> tuple[str, str]:
    """Between which names the channels of a tenant are: `/` comes after the dot."""
    return f"{tenant}.", f"{tenant}/"


def _entry(
    channel: str, device_id: str, version: int, failed: str, labels: str, slower: str, seen_at: int
) -> DeviceEntry:
    lists = tuple(json.loads(failed)), json.loads(labels), tuple(json.loads(slower))
    return DeviceEntry(channel, device_id, version, *lists, seen_at)
